//! Notes when a request arrived, and tells who observes when it was turned away before it became a call.
//!
//! Every refusal at the door passes here, whichever check it came from: the answer bears a mark. It must
//! never look at what the caller wrote.

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response};
use axum::middleware::Next;
use portcullis_domain::id::{Id, Tenant};
use portcullis_domain::observation::{TracePlace, TurnedAway};
use portcullis_domain::{TraceId, TraceParent, TraceState};
use portcullis_keys::entropy;
use portcullis_wire::Slug;
use tokio::time::Instant;

use crate::gate::Gate;

/// When a request arrived, and whose it is as soon as that is proven.
#[derive(Debug, Clone)]
struct Arrival {
    at: Instant,
    tenant: Arc<OnceLock<Id<Tenant>>>,
}

/// The mark of an answer that turns a request away.
#[derive(Debug, Clone, Copy)]
struct Away(Slug);

/// When the request arrived.
pub(super) fn arrived(parts: &Parts) -> Instant {
    let arrival = parts.extensions.get::<Arrival>();
    arrival.map_or_else(Instant::now, |arrival| arrival.at)
}

/// Says that the caller may speak to this tenant.
pub(super) fn proven(parts: &Parts, tenant: Id<Tenant>) {
    if let Some(arrival) = parts.extensions.get::<Arrival>() {
        // It is proven once a request; were it twice, the first would stand.
        let _first = arrival.tenant.set(tenant);
    }
}

/// Marks an answer that turns its request away.
pub(super) fn mark(response: &mut Response<Body>, slug: Slug) {
    response.extensions_mut().insert(Away(slug));
}

/// The trace that a header names.
pub(super) fn sent_trace(headers: &HeaderMap) -> Option<TraceParent> {
    TraceParent::read(headers.get("traceparent")?.to_str().ok()?)
}

/// What the headers say beside that trace.
pub(super) fn sent_state(headers: &HeaderMap) -> Option<TraceState> {
    let fields = headers.get_all("tracestate").iter();
    let fields: Result<Vec<_>, _> = fields.map(HeaderValue::to_str).collect();
    TraceState::read(fields.ok()?.into_iter())
}

/// Around every request.
pub(super) async fn watch(
    State(gate): State<Arc<Gate>>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let at = Instant::now();
    let tenant = Arc::new(OnceLock::new());
    let sent = sent_trace(request.headers());
    request.extensions_mut().insert(Arrival {
        at,
        tenant: Arc::clone(&tenant),
    });
    let response = next.run(request).await;
    if let Some(Away(slug)) = response.extensions().get() {
        let took = at.elapsed();
        let place = sent.map_or_else(
            || TracePlace::new(TraceId::from_bytes(entropy::random().unwrap_or_default())),
            TracePlace::from,
        );
        gate.observer.turned_away(&TurnedAway {
            tenant: tenant.get().copied(),
            place,
            arrived_at: gate.clock.now() - took,
            took,
            problem: slug.as_str(),
        });
    }
    response
}
