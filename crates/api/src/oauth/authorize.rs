//! `/oauth/authorize`: there is nobody to sign in yet, so it refuses, in words for whoever was led here.
//!
//! Clients in wide use read no metadata without an authorization endpoint, even where
//! `response_types_supported` is empty. It must never redirect: no address to go back to is registered.

use axum::response::{IntoResponse, Response};
use http::StatusCode;

const WORDS: &str = "\
unsupported_response_type: nobody signs in here; programs get their tokens with client credentials.
Connect an MCP host with `portcullis connect HOST --tenant TENANT --principal NAME`: it starts a bridge
that gets tokens and renews them. A program asks at the token endpoint that
/.well-known/oauth-authorization-server names.
";

/// `GET` and `POST /oauth/authorize` (RFC 6749 §4.1.2.1: without a known address, the person is told).
pub(super) async fn refuse() -> Response {
    (StatusCode::BAD_REQUEST, WORDS).into_response()
}
