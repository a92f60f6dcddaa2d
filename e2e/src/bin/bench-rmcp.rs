//! The measure: a server on rmcp as its documentation builds one, stateless with JSON replies and
//! without Nagle's delay, with two tools. No token, no policy, no record. For `cargo xtask bench`
//! alone.

use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::serve::ListenerExt;
use clap::Parser;
use portcullis_e2e::bench::bare::{self, Arguments, Tools};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServerHandler};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<()> {
    let server = Server(Arc::new(Tools::connect(&Arguments::parse()).await?));
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true);
    let sessions = Arc::new(NeverSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(server.clone()), sessions, config);
    let router = Router::new().route_service("/mcp", service);
    let listener = bare::listen().await?.tap_io(|stream| {
        // A client that is gone already needs no setting.
        let _gone = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, router).await?)
}

#[derive(Debug, Clone)]
struct Server(Arc<Tools>);

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = |name| Tool::new_with_raw(name, None, Arc::default());
        let tools = vec![tool("orders.get"), tool("flag.set")];
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        match self.0.call(&request.name, &arguments).await {
            Ok(result) => Ok(CallToolResponse::Complete(CallToolResult::structured(
                result,
            ))),
            Err(error) => Err(ErrorData::internal_error(error.to_string(), None)),
        }
    }
}
