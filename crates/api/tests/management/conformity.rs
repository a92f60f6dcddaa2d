//! Every answer that any test of this suite gets is held against the API's own description: the
//! status is one that the operation names, the body fits its schema, and no member is undocumented.

use std::sync::LazyLock;

use http::Method;
use http::header::CONTENT_TYPE;
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::platform::Reply;

static API: LazyLock<Value> = LazyLock::new(|| {
    let text = portcullis_api::v1::openapi_json().unwrap();
    serde_json::from_str(&text).unwrap()
});

/// The components, closed: what a schema does not name is not there.
static COMPONENTS: LazyLock<Value> = LazyLock::new(|| {
    let mut components = API["components"].clone();
    for schema in components["schemas"].as_object_mut().unwrap().values_mut() {
        if schema.get("properties").is_some() {
            schema["additionalProperties"] = json!(false);
        }
    }
    components
});

/// Holds an answer against the operation that gave it.
pub(crate) fn hold(method: &Method, path: &str, reply: &Reply) {
    let path = path.split('?').next().unwrap_or_default();
    let operation = operation(method, path);
    let Some(operation) = operation else {
        // What is not described is refused, but for the description itself.
        assert!(
            reply.status.is_client_error() || path == "/openapi.json",
            "{path}"
        );
        return;
    };
    let responses = &operation["responses"];
    let status = reply.status.as_str();
    let named = responses.get(status);
    assert!(
        named.is_some() || reply.status.as_u16() >= 400,
        "{method} {path}: {status}"
    );
    let response = named.unwrap_or(&responses["default"]);
    let Some(content) = response.get("content") else {
        assert!(reply.bytes.is_empty(), "{method} {path}: {status}");
        return;
    };
    let kind = reply.headers[CONTENT_TYPE].to_str().unwrap();
    let schema = &content[kind]["schema"];
    assert!(schema.is_object(), "{method} {path}: {status} {kind}");
    let body: Value = serde_json::from_slice(&reply.bytes).unwrap();
    if let Err(error) = validator(schema).validate(&body) {
        panic!(
            "{method} {path}: {status}: {error} at {}",
            error.instance_path()
        );
    }
}

fn validator(schema: &Value) -> Validator {
    let mut whole = schema.clone();
    whole["components"] = COMPONENTS.clone();
    jsonschema::draft202012::new(&whole).unwrap()
}

/// The operation of a request, by the path's template.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let parts: Vec<_> = path.split('/').collect();
    let paths = API["paths"].as_object().unwrap();
    let (_, item) = paths.iter().find(|(template, _)| {
        let template: Vec<_> = template.split('/').collect();
        template.len() == parts.len()
            && template
                .iter()
                .zip(&parts)
                .all(|(of, part)| of.starts_with('{') && !part.is_empty() || of == part)
    })?;
    item.get(method.as_str().to_lowercase())
}

#[test]
#[should_panic(expected = "GET /tenants: 200: ")]
fn an_undocumented_member_would_be_noticed() {
    let reply = Reply {
        status: http::StatusCode::OK,
        headers: [(CONTENT_TYPE, "application/json".parse().unwrap())]
            .into_iter()
            .collect(),
        bytes: br#"{"items":[],"total":0}"#.to_vec(),
    };
    hold(&Method::GET, "/tenants", &reply);
}
