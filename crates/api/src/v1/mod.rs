//! The management API, `/api/v1`: what the command line and the console use, and nothing else.
//!
//! Every handler first proves who calls and that the role allows it, then opens one tenant's
//! transaction. A change, its outbox entry and the new epoch are one transaction. Nothing here shows
//! a stored secret or a payload, and another tenant's things answer as absent ones.

pub mod access;
pub mod answer;
pub mod baseline;
pub mod caller;
pub mod change;
mod claims;
mod egress;
pub mod error;
pub mod etag;
mod frame;
mod grants;
pub mod idempotency;
pub mod input;
mod keys;
mod limits;
mod openapi;
pub mod outputs;
pub mod page;
pub mod policies;
mod principals;
mod query;
mod records;
mod registration;
mod replicas;
mod secrets;
mod service_tokens;
pub mod state;
pub mod switches;
mod tenants;
mod tickets;
mod tools;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{any, get};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use error::ApiError;
pub use openapi::openapi_json;
pub use state::{Baseline, Defaults, Parts, State};

/// Where the API lies on the server.
pub const PATH: &str = "/api/v1";

/// The API, at its place [`PATH`], to be merged into the server's router.
///
/// It carries its own frame: trace ids, problems for whatever it does not serve, body limits and the
/// headers of every answer. It does not check `Host` and `Origin`; the server does, for all of its
/// routes.
pub fn router(state: State) -> Router {
    let (api, _) = routes().split_for_parts();
    let api = api
        .route("/openapi.json", get(openapi::serve))
        .fallback(|| async { ApiError::NotFound })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(DefaultBodyLimit::max(input::MAX_BODY_BYTES))
        .layer(from_fn(frame::frame))
        .with_state(state);
    // A nested router does not see its own path with a slash at the end.
    let bare = any(|| async { ApiError::NotFound }).layer(from_fn(frame::frame));
    Router::new()
        .nest(PATH, api)
        .route(&format!("{PATH}/"), bare)
}

/// Every route that the API's description names.
fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::default()
        .merge(platform_routes())
        .merge(principal_routes())
        .merge(tool_routes())
        .merge(configuration_routes())
        .merge(ticket_routes())
        .merge(claim_routes())
        .merge(switch_routes())
}

fn platform_routes() -> OpenApiRouter<State> {
    OpenApiRouter::default()
        .routes(routes!(tenants::list, tenants::create))
        .routes(routes!(tenants::get, tenants::update))
        .routes(routes!(service_tokens::list, service_tokens::create))
        .routes(routes!(service_tokens::revoke))
}

fn principal_routes() -> OpenApiRouter<State> {
    OpenApiRouter::default()
        .routes(routes!(principals::list, principals::create))
        .routes(routes!(principals::get, principals::update))
        .routes(routes!(secrets::list, secrets::create))
        .routes(routes!(secrets::rotate))
        .routes(routes!(secrets::revoke))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::revoke))
        .routes(routes!(grants::list, grants::create))
        .routes(routes!(grants::revoke))
}

fn tool_routes() -> OpenApiRouter<State> {
    OpenApiRouter::default()
        .routes(routes!(tools::list, registration::create))
        .routes(routes!(tools::get, tools::update, registration::replace))
        .routes(routes!(egress::get, egress::put))
        .routes(routes!(egress::check))
}

fn configuration_routes() -> OpenApiRouter<State> {
    OpenApiRouter::default()
        .routes(routes!(limits::get_tenant, limits::put_tenant))
        .routes(routes!(limits::get_principal, limits::put_principal))
        .routes(routes!(policies::list, policies::draft))
        .routes(routes!(policies::get))
        .routes(routes!(policies::publish))
        .routes(routes!(records::list))
        .routes(routes!(records::list_platform))
}

fn claim_routes() -> OpenApiRouter<State> {
    OpenApiRouter::default()
        .routes(routes!(claims::list))
        .routes(routes!(claims::get))
        .routes(routes!(claims::resolve))
}

fn ticket_routes() -> OpenApiRouter<State> {
    OpenApiRouter::default()
        .routes(routes!(tickets::list, tickets::open))
        .routes(routes!(tickets::get))
        .routes(routes!(tickets::close))
}

fn switch_routes() -> OpenApiRouter<State> {
    OpenApiRouter::default()
        .routes(routes!(switches::list, switches::create))
        .routes(routes!(switches::get))
        .routes(routes!(switches::lift::lift))
        .routes(routes!(
            switches::platform::list,
            switches::platform::create
        ))
        .routes(routes!(switches::platform::get))
        .routes(routes!(switches::platform::lift))
        .routes(routes!(switches::drill::drill))
        .routes(routes!(replicas::list))
}
