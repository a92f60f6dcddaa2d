//! The seam between HTTP and the rooms: `/t/{tenant}/mcp` and `POST /t/{tenant}/tools/{name}`.
//!
//! It runs rooms 1 and 2 for every request, answers `tools/call` itself through rooms 3 to 9, and
//! passes every other MCP method to rmcp's service. Handlers of rmcp cannot answer 401, 403 or 429,
//! and a session of rmcp is not bound to a principal: so rmcp sees only admitted, sessionless
//! requests.

mod arguments;
mod door;
mod held;
mod http;
mod jsonrpc;
mod mcp;
mod service;
mod site;
mod version;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{any, post};

pub use site::Site;

use crate::gate::Gate;

/// The routes of every tenant. Requests must carry axum's `ConnectInfo<SocketAddr>` of the peer.
pub fn router(gate: Arc<Gate>) -> Router {
    let service = service::build();
    Router::new()
        .route("/t/{tenant}/mcp", any(mcp::handle))
        .route(
            "/t/{tenant}/tools/{name}",
            post(http::handle).fallback(http::not_a_post),
        )
        .layer(middleware::from_fn_with_state(
            Arc::clone(&gate),
            watch::watch,
        ))
        .with_state(Seam { gate, service })
}

/// What the handlers share.
#[derive(Clone)]
struct Seam {
    gate: Arc<Gate>,
    service: service::RmcpService,
}
