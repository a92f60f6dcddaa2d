//! rmcp's service for everything but `tools/call`: discover, initialize, list, ping.
//!
//! Slow to compile and rarely touched: keep it small. It sees only admitted requests, holds no
//! session and no state of its own.

use std::sync::Arc;

use axum::http::request::Parts;
use rmcp::ServerHandler;
use rmcp::model::{
    CacheScope, Implementation, ListToolsResult, PaginatedRequestParams, ServerCapabilities,
    ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use crate::catalog::CompiledTool;

/// rmcp behind the seam.
pub(super) type RmcpService = StreamableHttpService<Listing, NeverSessionManager>;

/// What the caller of one request may see; put into the request by the seam.
#[derive(Debug, Clone)]
pub(super) struct Visible(pub(super) Arc<Vec<Arc<CompiledTool>>>);

/// Builds the service: stateless, JSON replies, host and origin already checked by the door.
pub(super) fn build() -> RmcpService {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .disable_allowed_hosts()
        .disable_allowed_origins();
    StreamableHttpService::new(
        || Ok(Listing),
        Arc::new(NeverSessionManager::default()),
        config,
    )
}

/// Answers what needs no room.
#[derive(Debug, Clone)]
pub(super) struct Listing;

impl ServerHandler for Listing {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("portcullis", env!("CARGO_PKG_VERSION")))
            .with_instructions(
                "Every call is checked against policy and recorded. A result that starts with \
                 DENY: says which rule refused and what would allow the call.",
            )
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, rmcp::ErrorData> {
        let visible = context
            .extensions
            .get::<Parts>()
            .and_then(|parts| parts.extensions.get::<Visible>())
            .ok_or_else(|| rmcp::ErrorData::internal_error("the listing is not available", None))?;
        let mut result = ListToolsResult::with_all_items(visible.0.iter().map(tool).collect());
        // What one principal sees is nobody else's to cache.
        result.cache_scope = Some(CacheScope::Private);
        result.ttl_ms = Some(0);
        Ok(result)
    }
}

fn tool(compiled: &Arc<CompiledTool>) -> Tool {
    let definition = &compiled.definition;
    let mut tool = Tool::new_with_raw(
        definition.name.clone(),
        Some(definition.description.clone().into()),
        Arc::new(definition.input_schema.clone()),
    )
    .with_raw_output_schema(Arc::new(definition.output_schema.clone()));
    tool.title = Some(definition.title.clone());
    tool.annotations = Some(
        ToolAnnotations::new()
            .read_only(!definition.mutating)
            .idempotent(definition.idempotent)
            .destructive(definition.mutating)
            .open_world(!definition.egress.is_empty()),
    );
    tool
}
