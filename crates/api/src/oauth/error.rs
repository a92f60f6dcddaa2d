//! Refusals of the token endpoint (RFC 6749 §5.2), and the one place where they become answers.
//!
//! An answer never repeats what was sent. All ways in which a client fails to prove who it is give
//! the same bytes.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use portcullis_wire::Slug;
use serde::Serialize;
use tracing::error;

use super::directory::DirectoryError;
use super::mint::MintError;
use crate::attempts::TooMany;

/// Why no token is issued.
#[derive(Debug, thiserror::Error)]
pub(super) enum OAuthError {
    /// The request breaks the grammar.
    #[error("invalid_request: {0}")]
    InvalidRequest(&'static str),
    /// The body is too large to be a token request.
    #[error("invalid_request: the body is larger than a token request")]
    TooLarge,
    /// The client did not prove who it is, may not have tokens, or does not exist.
    #[error("invalid_client")]
    InvalidClient,
    /// Another grant type than client credentials.
    #[error("unsupported_grant_type")]
    UnsupportedGrantType,
    /// Scopes that are none, or that the client is not granted.
    #[error("invalid_scope: {0}")]
    InvalidScope(&'static str),
    /// A resource that is not the client's tenant's (RFC 8707 §2).
    #[error("invalid_target")]
    InvalidTarget,
    /// A kill switch stops everything that the client does.
    #[error("unauthorized_client: {}", .0.as_str())]
    Stopped(Slug),
    /// Too many failures, or too many tokens.
    #[error("too many requests")]
    TooMany(TooMany),
    /// The server does not say where the request comes from.
    #[error("nobody knows who asks")]
    Peerless,
    /// The directory cannot be read.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The token cannot be signed.
    #[error(transparent)]
    Mint(#[from] MintError),
}

#[derive(Serialize)]
struct Refusal {
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_description: Option<&'static str>,
}

impl OAuthError {
    const fn status(&self) -> StatusCode {
        match self {
            Self::InvalidRequest(_)
            | Self::UnsupportedGrantType
            | Self::InvalidScope(_)
            | Self::InvalidTarget
            | Self::Stopped(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::InvalidClient => StatusCode::UNAUTHORIZED,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Directory(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Peerless | Self::Mint(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn refusal(&self) -> Refusal {
        let (error, error_description) = match self {
            Self::InvalidRequest(what) => ("invalid_request", Some(*what)),
            Self::TooLarge => (
                "invalid_request",
                Some("the body is larger than a token request"),
            ),
            Self::InvalidClient => (
                "invalid_client",
                Some(
                    "the client is unknown or suspended, or its secret or assertion is wrong, \
                     expired or used before: send the client id and a current client secret, or a \
                     fresh assertion that a registered key signed",
                ),
            ),
            Self::UnsupportedGrantType => (
                "unsupported_grant_type",
                Some("the only grant type is client_credentials"),
            ),
            Self::InvalidScope(what) => ("invalid_scope", Some(*what)),
            Self::InvalidTarget => (
                "invalid_target",
                Some("the resource is the MCP URL of the client's own tenant, and only one"),
            ),
            Self::Stopped(Slug::TenantFrozen) => (
                "unauthorized_client",
                Some("the tenant is frozen by a kill switch: ask its operator to lift it"),
            ),
            Self::Stopped(_) => (
                "unauthorized_client",
                Some("the principal is suspended by a kill switch: ask its operator to lift it"),
            ),
            Self::TooMany(_) => (
                "temporarily_unavailable",
                Some("too many requests: wait as long as Retry-After says"),
            ),
            Self::Directory(_) => ("temporarily_unavailable", None),
            Self::Peerless | Self::Mint(_) => ("server_error", None),
        };
        Refusal {
            error,
            error_description,
        }
    }

    /// What went wrong on our side, for the log alone.
    fn fault(&self) -> Option<String> {
        match self {
            Self::Directory(fault) => Some(chain(fault)),
            Self::Mint(fault) => Some(chain(fault)),
            Self::Peerless => Some("nobody knows who asks".to_owned()),
            Self::InvalidRequest(_)
            | Self::TooLarge
            | Self::InvalidClient
            | Self::UnsupportedGrantType
            | Self::InvalidScope(_)
            | Self::InvalidTarget
            | Self::Stopped(_)
            | Self::TooMany(_) => None,
        }
    }
}

/// An error with all its causes.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        if let Some(fault) = self.fault() {
            error!(error = fault, "no token was issued");
        }
        let mut response = (self.status(), Json(self.refusal())).into_response();
        match self {
            Self::InvalidClient => {
                let basic = HeaderValue::from_static("Basic realm=\"portcullis\"");
                response.headers_mut().insert(WWW_AUTHENTICATE, basic);
            }
            Self::TooMany(too_many) => {
                let seconds = HeaderValue::from(too_many.retry_after_seconds);
                response.headers_mut().insert(RETRY_AFTER, seconds);
            }
            Self::InvalidRequest(_)
            | Self::TooLarge
            | Self::UnsupportedGrantType
            | Self::InvalidScope(_)
            | Self::InvalidTarget
            | Self::Stopped(_)
            | Self::Peerless
            | Self::Directory(_)
            | Self::Mint(_) => {}
        }
        response
    }
}
