//! What stands around every route: the headers of every answer, and the wall that no panic passes.

use std::any::Any;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Response, StatusCode, Uri};
use axum::middleware::{self, Next};
use futures_util::{FutureExt, StreamExt, stream};
use portcullis_domain::TraceId;
use portcullis_keys::entropy;
use portcullis_mcp_runtime::seam::Site;
use portcullis_wire::{Problem, Slug};
use tokio::time::{Instant, timeout_at};
use tracing::error;

use super::http::Secured;
use crate::config::Server;

/// The longest address. Nothing here needs more: every list has cursors, and every filter is short.
const MAX_URI_BYTES: usize = 4_096;

/// When clients are told to come by https alone (RFC 6797 §7.2: never over plain HTTP).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StrictTransport {
    /// They do not come by https.
    Never,
    /// Over TLS of our own.
    OverTls,
    /// Always: a proxy before us speaks TLS.
    Always,
}

impl StrictTransport {
    pub(super) fn of(server: &Server) -> Self {
        match (server.public_url.scheme(), &server.tls) {
            ("https", Some(_)) => Self::OverTls,
            ("https", None) => Self::Always,
            _ => Self::Never,
        }
    }
}

/// Puts the edge around the routes. What no route knows answers as a problem, too. Where clients come
/// by https, they are told to come by nothing else.
pub(super) fn around(router: Router, strict: StrictTransport) -> Router {
    router
        .fallback(nowhere)
        .method_not_allowed_fallback(not_so)
        .layer(middleware::from_fn_with_state(strict, edge))
}

/// Routes that only requests of a served host, and of pages of an allowed origin, reach, and whose
/// bodies come in time.
pub(super) fn guarded(router: Router, server: &Server) -> Router {
    let guard = Arc::new(Guard {
        hosts: server.served_hosts(),
        origins: server.allowed_origins.clone(),
        body_deadline: Duration::from_secs(server.body_timeout_seconds),
    });
    router.layer(middleware::from_fn_with_state(guard, check))
}

struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
    body_deadline: Duration,
}

async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response<Body> {
    let site = Site {
        hosts: &guard.hosts,
        origins: &guard.origins,
    };
    if let Err(refusal) = site.check(request.uri(), request.headers()) {
        return answer(&refusal.problem);
    }
    let deadline = guard.body_deadline;
    next.run(request.map(|body| timely(body, deadline))).await
}

/// A body that has to end before the deadline: after it, reading fails. Whoever holds a connection
/// open by sending a byte now and then has to send a new head at least.
fn timely(body: Body, within: Duration) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let deadline = Instant::now() + within;
    let chunks = stream::unfold(Some(body.into_data_stream()), move |rest| async move {
        let mut rest = rest?;
        match timeout_at(deadline, rest.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(rest))),
            Ok(Some(Err(error))) => Some((Err(io::Error::other(error)), None)),
            Err(late) => Some((Err(late.into()), None)),
        }
    });
    Body::from_stream(chunks)
}

async fn edge(
    State(strict): State<StrictTransport>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let https = match strict {
        StrictTransport::Never => false,
        StrictTransport::OverTls => request.extensions().get::<Secured>().is_some(),
        StrictTransport::Always => true,
    };
    let trace = request
        .headers()
        .get("traceparent")
        .and_then(|value| value.to_str().ok())
        .and_then(TraceId::from_traceparent);
    if address_length(request.uri()) > MAX_URI_BYTES {
        let detail = format!("the address is longer than {MAX_URI_BYTES} bytes");
        let mut response = answer(&Problem::new(Slug::UriTooLong, detail));
        common_headers(response.headers_mut(), https);
        return response;
    }
    // What a handler broke off in is its own: whatever it shared, it shared behind locks that
    // survive, or the compiler would have asked more than this assertion.
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answer.unwrap_or_else(|payload| panicked(payload, trace));
    common_headers(response.headers_mut(), https);
    response
}

fn address_length(uri: &Uri) -> usize {
    uri.path_and_query().map_or(0, |part| part.as_str().len())
}

fn common_headers(headers: &mut HeaderMap, https: bool) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if https {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(STRICT_TRANSPORT_SECURITY, year);
    }
}

/// The answer to a call whose handler panicked. The payload may hold anything and is only dropped;
/// the panic hook has told where it was.
fn panicked(payload: Box<dyn Any + Send>, trace: Option<TraceId>) -> Response<Body> {
    drop(payload);
    let trace = trace.or_else(|| entropy::random().ok().map(TraceId::from_bytes));
    let mut problem = Problem::new(Slug::Internal, "");
    if let Some(trace) = trace {
        error!(trace_id = %trace, "a request ended in a panic");
        problem = problem.with_trace(trace);
    }
    answer(&problem)
}

async fn nowhere() -> Response<Body> {
    answer(&Problem::new(
        Slug::NotFound,
        "nothing is served at this path",
    ))
}

async fn not_so() -> Response<Body> {
    answer(&Problem::new(
        Slug::MethodNotAllowed,
        "this path is served, but not by this method",
    ))
}

fn answer(problem: &Problem) -> Response<Body> {
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
