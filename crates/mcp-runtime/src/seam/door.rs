//! What happens before a body is read: host, origin, media types, authentication, admission; and
//! then the body, within its size and time.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use portcullis_domain::TraceId;
use portcullis_evidence::record::Room;
use portcullis_keys::entropy;
use portcullis_wire::{Problem, Slug};

use super::site::Site;
use super::watch;
use crate::gate::Gate;
use crate::rooms::admit::{self, Admitted, RateFields};
use crate::rooms::{DoorRefusal, authenticate};

/// Lets a request in, or says why not. The body is not read before its sender is admitted.
pub(super) async fn enter(
    gate: &Gate,
    tenant: &str,
    peer: SocketAddr,
    parts: &Parts,
) -> Result<Admitted, DoorRefusal> {
    let site = Site {
        hosts: &gate.settings.allowed_hosts,
        origins: &gate.settings.allowed_origins,
    };
    site.check(&parts.uri, &parts.headers)?;
    let authenticated = authenticate::enter(gate, tenant, peer, &parts.headers).await?;
    let place = authenticated.tenant();
    watch::proven(parts, place.0);
    let count = |slug| gate.refusals.count(place, Room::Admit, slug);
    admit::enter(gate, authenticated).inspect_err(|refusal| count(refusal.slug))
}

/// Reads the body of an admitted request, and looks at its sender again afterwards.
pub(super) async fn read(
    gate: &Gate,
    admitted: Admitted,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Admitted, Bytes), DoorRefusal> {
    let caller = admitted.caller();
    let place = (caller.tenant, caller.home);
    let read = async {
        check_content_type(headers)?;
        let body = read_body(gate, body).await?;
        Ok((admitted.refreshed(gate).await?, body))
    };
    let count = |slug| gate.refusals.count(place, Room::Admit, slug);
    read.await
        .inspect_err(|refusal: &DoorRefusal| count(refusal.slug))
}

/// Whether the body is said to be JSON.
fn check_content_type(headers: &HeaderMap) -> Result<(), DoorRefusal> {
    let essence = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    if essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    Err(DoorRefusal::new(
        Slug::UnsupportedMediaType,
        "`Content-Type` must be application/json",
    ))
}

/// Reads a body within its size and time.
async fn read_body(gate: &Gate, body: Body) -> Result<Bytes, DoorRefusal> {
    let limited = Limited::new(body, gate.settings.max_body_bytes);
    let collected = tokio::time::timeout(gate.settings.body_deadline, limited.collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            let limit = gate.settings.max_body_bytes;
            let detail = format!("the request body may have at most {limit} bytes");
            Err(DoorRefusal::new(Slug::BodyTooLarge, detail))
        }
        Ok(Err(_broken)) => Err(DoorRefusal::new(
            Slug::MalformedRequest,
            "the request body broke off",
        )),
        Err(_elapsed) => Err(DoorRefusal::new(
            Slug::MalformedRequest,
            "the request body took too long",
        )),
    }
}

/// Starts an answer to a refusal: status, challenge, rate fields.
pub(super) fn refusal_response(
    refusal: &DoorRefusal,
    content_type: &'static str,
    body: Vec<u8>,
) -> Response<Body> {
    let mut response = response(refusal.problem.status, content_type, body);
    watch::mark(&mut response, refusal.slug);
    let headers = response.headers_mut();
    if let Some(challenge) = &refusal.challenge {
        insert(headers, WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = refusal.retry_after_seconds {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(rate) = &refusal.rate {
        insert_rate(headers, rate);
    }
    response
}

/// The problem of a refusal. One that is the platform's fault tells its trace id alone, and the log has
/// the same.
pub(super) fn problem(refusal: &DoorRefusal) -> Problem {
    let mut problem = refusal.problem.as_ref().clone();
    if problem.status >= 500 && problem.trace_id.is_none() {
        let trace_id = TraceId::from_bytes(entropy::random().unwrap_or_default());
        tracing::error!(%trace_id, problem = refusal.slug.as_str(), "a request cannot be served");
        problem = problem.with_trace(trace_id);
    }
    problem
}

/// An answer with a JSON body.
pub(super) fn response(
    status: u16,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Writes `RateLimit` and `RateLimit-Policy`.
pub(super) fn insert_rate(headers: &mut HeaderMap, rate: &RateFields) {
    insert(headers, HeaderName::from_static("ratelimit"), &rate.limit);
    insert(
        headers,
        HeaderName::from_static("ratelimit-policy"),
        &rate.policy,
    );
}

/// Writes `Retry-After`, where there is anything to wait for.
pub(super) fn insert_retry(headers: &mut HeaderMap, seconds: Option<u64>) {
    if let Some(seconds) = seconds {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
}

/// Writes a header whose value is text of ours; a value that is no header is left out.
pub(super) fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
