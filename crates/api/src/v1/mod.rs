//! The management API, `/api/v1`: what the command line and the console use, and nothing else.
//!
//! Every handler first proves who calls and that the role allows it, then opens one tenant's
//! transaction. A change, its outbox entry and the new epoch are one transaction. Nothing here shows
//! a stored secret or a payload, and another tenant's things answer as absent ones.

pub mod access;
pub mod error;
pub mod etag;
mod frame;
pub mod input;
pub mod page;

pub use error::ApiError;

use axum::Router;

/// The API in its frame, with answers for paths and methods that it does not serve.
pub fn framed(routes: Router) -> Router {
    let api = routes
        .fallback(|| async { ApiError::NotFound })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(axum::extract::DefaultBodyLimit::max(input::MAX_BODY_BYTES))
        .layer(axum::middleware::from_fn(frame::frame));
    Router::new().nest(PATH, api)
}

/// Where the API lies on the server.
pub const PATH: &str = "/api/v1";
