//! The API's description, OpenAPI 3.1, made from the routes themselves. What holds for every route
//! (credentials, problems, preconditions, idempotency keys) is added here, once.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use portcullis_wire::Problem;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, InfoBuilder, Object, OpenApi, Ref, RefOr, Required, ResponseBuilder, Server,
    Type,
};
use utoipa::{PartialSchema, ToSchema};

use super::error::ApiError;

const SECURITY: &str = "service_token";

/// The description, as `docs/openapi.json` has it.
///
/// # Errors
/// It cannot be written as JSON.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    let mut text = openapi().to_pretty_json()?;
    text.push('\n');
    Ok(text)
}

/// Anybody may read it: it is part of the documentation.
pub(super) async fn serve() -> Result<Response, ApiError> {
    static TEXT: LazyLock<Result<String, serde_json::Error>> = LazyLock::new(openapi_json);
    let text = TEXT.as_deref().map_err(|error| ApiError::internal(error))?;
    let mut response = text.into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

fn openapi() -> OpenApi {
    let mut api = super::routes().into_openapi();
    api.info = InfoBuilder::new()
        .title("Portcullis management API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Tenants, principals, grants, limits, tools, policies and records. Errors are RFC 9457 \
             problem documents; docs/problems.md explains each. docs/management-api.md says which \
             role may do what.",
        ))
        .build();
    api.servers = Some(vec![Server::new(super::PATH)]);
    let components = api.components.get_or_insert_default();
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme(SECURITY, scheme);
    components
        .schemas
        .insert(Problem::name().into_owned(), Problem::schema());
    for item in api.paths.paths.values_mut() {
        complete(item);
    }
    api
}

fn complete(item: &mut PathItem) {
    for operation in [&mut item.get, &mut item.delete].into_iter().flatten() {
        common(operation);
    }
    for operation in [&mut item.put, &mut item.patch].into_iter().flatten() {
        common(operation);
        add(operation, precondition());
    }
    if let Some(operation) = &mut item.post {
        common(operation);
        add(operation, idempotency_key());
        if operation.operation_id.as_deref() == Some("publishPolicy") {
            add(operation, precondition());
        }
    }
}

fn common(operation: &mut Operation) {
    operation.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(
        SECURITY,
        [],
    )]);
    let problem = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Problem::name())))
        .build();
    let refusal = ResponseBuilder::new()
        .description("Refused or failed, and why")
        .content("application/problem+json", problem)
        .build();
    operation
        .responses
        .responses
        .insert("default".to_owned(), RefOr::T(refusal));
}

fn add(operation: &mut Operation, parameter: Parameter) {
    let parameters = operation.parameters.get_or_insert_default();
    parameters.push(RefOr::T(parameter));
}

fn header(name: &str, required: Required, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(required)
        .description(Some(description))
        .schema(Some(Object::with_type(Type::String)))
        .build()
}

fn precondition() -> Parameter {
    header(
        "If-Match",
        Required::True,
        "The `ETag` of the version that the caller has seen",
    )
}

fn idempotency_key() -> Parameter {
    header(
        "Idempotency-Key",
        Required::False,
        "Makes a repeat within a day answer what the first request answered. It belongs to the \
         service token that sends it.",
    )
}
