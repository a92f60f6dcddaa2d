//! The documents by which clients find their way: the key set, the authorization server's metadata
//! (RFC 8414) and a tenant's resource metadata (RFC 9728). They name what is served, and never
//! say which tenants there are.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use portcullis_domain::TenantSlug;
use portcullis_mcp_runtime::token::Algorithm;
use portcullis_wire::{Problem, Slug};
use serde::Serialize;

use super::OAuth;

/// RFC 7517 §5.
#[derive(Serialize)]
struct KeySet {
    keys: Vec<Key>,
}

/// An Ed25519 key as a JWK (RFC 8037 §2).
#[derive(Serialize)]
struct Key {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    kid: String,
    x: String,
}

/// RFC 8414 §2.
#[derive(Serialize)]
struct AuthorizationServer<'a> {
    issuer: &'a str,
    /// Wanted by clients that never use it; it refuses.
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    grant_types_supported: [&'static str; 1],
    token_endpoint_auth_methods_supported: [&'static str; 3],
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    /// None: nobody signs in.
    response_types_supported: [&'static str; 0],
}

/// RFC 9728 §2.
#[derive(Serialize)]
struct ProtectedResource<'a> {
    resource: String,
    authorization_servers: [&'a str; 1],
    bearer_methods_supported: [&'static str; 1],
}

/// `GET /oauth/jwks.json`
pub(super) async fn key_set(State(oauth): State<Arc<OAuth>>) -> Response {
    let keys = oauth
        .keys
        .issuer_keys(oauth.clock.now())
        .map(|key| Key {
            kty: "OKP",
            crv: "Ed25519",
            alg: "EdDSA",
            usage: "sig",
            kid: key.kid().to_owned(),
            x: URL_SAFE_NO_PAD.encode(key.public()),
        })
        .collect();
    Json(KeySet { keys }).into_response()
}

/// `GET /.well-known/oauth-authorization-server`
pub(super) async fn authorization_server(State(oauth): State<Arc<OAuth>>) -> Response {
    let issuer = oauth.settings.public_url.as_str();
    Json(AuthorizationServer {
        issuer,
        authorization_endpoint: format!("{issuer}/oauth/authorize"),
        token_endpoint: oauth.token_endpoint(),
        jwks_uri: format!("{issuer}/oauth/jwks.json"),
        grant_types_supported: ["client_credentials"],
        token_endpoint_auth_methods_supported: [
            "client_secret_basic",
            "client_secret_post",
            "private_key_jwt",
        ],
        token_endpoint_auth_signing_alg_values_supported: Algorithm::ALL.map(Algorithm::as_str),
        response_types_supported: [],
    })
    .into_response()
}

/// `GET /.well-known/oauth-protected-resource/t/{slug}/mcp`
///
/// The document follows from the name alone, so it does not say whether there is such a tenant.
pub(super) async fn protected_resource(
    State(oauth): State<Arc<OAuth>>,
    Path(slug): Path<String>,
) -> Response {
    if slug.parse::<TenantSlug>().is_err() {
        return absent();
    }
    Json(ProtectedResource {
        resource: oauth.resource(&slug),
        authorization_servers: [&oauth.settings.public_url],
        bearer_methods_supported: ["header"],
    })
    .into_response()
}

fn absent() -> Response {
    let problem = Problem::new(Slug::NotFound, "There is no such resource.");
    let mut response = (StatusCode::NOT_FOUND, Json(problem)).into_response();
    let json = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
