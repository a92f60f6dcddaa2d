//! What lies around every route: the trace id, the writing of problems, and the headers that every
//! answer carries.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{ALLOW, CACHE_CONTROL, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_domain::TraceId;
use portcullis_keys::entropy;

use super::error::ApiError;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Runs a request within its frame.
pub(super) async fn frame(mut request: Request, next: Next) -> Response {
    let trace = match trace(request.headers()) {
        Ok(trace) => trace,
        // Without random bytes nothing may be created here, so nothing is tried. The log finds this
        // answer by its zeros.
        Err(error) => return ApiError::unavailable(&error).render(TraceId::from_bytes([0; 16])),
    };
    request.extensions_mut().insert(trace);
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        let allow = response.headers_mut().remove(ALLOW);
        response = error.render(trace);
        if let Some(allow) = allow {
            response.headers_mut().insert(ALLOW, allow);
        }
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn trace(headers: &HeaderMap) -> Result<TraceId, portcullis_keys::EntropyError> {
    let sent = headers
        .get(TRACEPARENT)
        .and_then(|value| value.to_str().ok())
        .and_then(TraceId::from_traceparent);
    match sent {
        Some(trace) => Ok(trace),
        None => entropy::random().map(TraceId::from_bytes),
    }
}
