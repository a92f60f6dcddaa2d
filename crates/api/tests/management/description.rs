//! The API's description: committed, complete, and the same as the documented routes.

use std::collections::BTreeSet;

use portcullis_api::v1::openapi_json;
use serde_json::Value;

use crate::platform::{Ask, Platform};
use crate::roles::table;

const COMMITTED: &str = include_str!("../../../../docs/openapi.json");

fn operations(api: &Value) -> BTreeSet<String> {
    let paths = api["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect()
}

#[test]
fn the_committed_description_is_what_the_code_says() {
    assert!(
        COMMITTED == openapi_json().unwrap(),
        "docs/openapi.json is not what the routes say: run \
         `cargo run -p portcullis-api -- openapi > docs/openapi.json`"
    );
}

#[test]
fn every_route_stands_in_the_table_of_roles_and_no_other() {
    let api: Value = serde_json::from_str(COMMITTED).unwrap();
    let documented: BTreeSet<_> = table()
        .iter()
        .map(|row| format!("{} {}", row.method, row.path))
        .collect();
    assert_eq!(operations(&api), documented);
}

#[test]
fn every_operation_says_how_it_refuses_and_what_it_needs() {
    let api: Value = serde_json::from_str(COMMITTED).unwrap();
    assert_eq!(api["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let what = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].to_string()), "{what}");
            let refusal = &operation["responses"]["default"]["content"];
            assert!(refusal["application/problem+json"].is_object(), "{what}");
            assert!(
                operation["security"][0]["service_token"].is_array(),
                "{what}"
            );
            let asks = operation["parameters"].to_string();
            let update = matches!(method.as_str(), "put" | "patch") || path.ends_with("/publish");
            assert_eq!(asks.contains("If-Match"), update, "{what}");
            assert_eq!(asks.contains("Idempotency-Key"), method == "post", "{what}");
        }
    }
    assert_eq!(ids.len(), table().len());
}

#[test]
fn every_reference_leads_somewhere() {
    let api: Value = serde_json::from_str(COMMITTED).unwrap();
    let mut open = vec![&api];
    let mut seen = 0;
    while let Some(value) = open.pop() {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(target)) = members.get("$ref") {
                    let pointer = target.strip_prefix('#').unwrap();
                    assert!(api.pointer(pointer).is_some(), "{target}");
                    seen += 1;
                }
                open.extend(members.values());
            }
            Value::Array(items) => open.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    assert!(seen > 50, "{seen}");
}

#[tokio::test]
async fn the_description_is_served_to_anybody() {
    let platform = Platform::start().await;
    let reply = platform.send(Ask::get("/openapi.json")).await.expect(200);
    assert_eq!(reply.bytes, COMMITTED.as_bytes());
    assert_eq!(reply.headers["content-type"], "application/json");
}
