//! What reads and updates answer: a thing with its version, a page, or nothing.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::ETAG;
use portcullis_wire::api::Page;
use serde::Serialize;

use super::etag::ETag;

/// A thing and its version.
#[derive(Debug)]
pub struct Versioned<T>(pub T, pub ETag);

impl<T: Serialize> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.0).into_response();
        if let Some(value) = self.1.header() {
            response.headers_mut().insert(ETAG, value);
        }
        response
    }
}

/// One page of a list.
#[derive(Debug)]
pub struct Listed<T>(pub Page<T>);

impl<T: Serialize> IntoResponse for Listed<T> {
    fn into_response(self) -> Response {
        Json(self.0).into_response()
    }
}

/// It is done, and there is nothing to say.
#[derive(Debug)]
pub struct Done;

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}
