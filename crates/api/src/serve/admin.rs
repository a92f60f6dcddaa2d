//! The admin listener: metrics and health in detail, for the operator's own network.
//!
//! It has an address of its own and asks for no token, so it tells numbers and states alone, and it answers
//! only requests that name it by an address, by `localhost` or by a name that the operator listed: a page in
//! a browser that makes a name point here (DNS rebinding) learns nothing. It must never serve anything that
//! changes something, or that is about one call or one person.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use portcullis_telemetry::Metrics;
use tracing::error;

/// The media type of `OpenMetrics`, which Prometheus reads.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The routes: `/metrics`, and what `health` has. `names` are the hosts that requests may name besides
/// addresses and `localhost`.
pub(super) fn router(metrics: Arc<Metrics>, health: Router, names: Vec<String>) -> Router {
    let metrics = Router::new()
        .route("/metrics", get(shown))
        .with_state(metrics);
    metrics
        .merge(health)
        .layer(middleware::from_fn_with_state(Arc::new(names), guard))
}

async fn shown(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => {
            error!(%error, "the metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn guard(State(names): State<Arc<Vec<String>>>, request: Request, next: Next) -> Response {
    if named_well(request.headers(), &names) {
        return next.run(request).await;
    }
    let words =
        "name this listener by its address, by localhost, or by a host of admin.allowed_hosts\n";
    (StatusCode::FORBIDDEN, words).into_response()
}

fn named_well(headers: &HeaderMap, names: &[String]) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let Some(Ok(authority)) = host.map(str::parse::<Authority>) else {
        return false;
    };
    let host = authority.host();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_name_that_anybody_can_make_point_here_is_refused() {
        let listed = ["metrics.internal".to_owned()];
        let named = |host: &str| {
            let host = HeaderValue::from_str(host).unwrap();
            named_well(&HeaderMap::from_iter([(HOST, host)]), &listed)
        };
        for host in [
            "127.0.0.1:9464",
            "[::1]:9464",
            "10.1.2.3",
            "localhost:1",
            "METRICS.internal:9464",
        ] {
            assert!(named(host), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "x@127.0.0.1 y",
            "",
        ] {
            assert!(!named(host), "{host}");
        }
        assert!(!named_well(&HeaderMap::new(), &listed));
    }
}
