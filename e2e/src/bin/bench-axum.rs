//! The floor: one axum handler that reads a call, runs the statements and writes the result. No token, no
//! policy, no record. For `cargo xtask bench` alone.

use std::sync::Arc;

use anyhow::Result;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::serve::ListenerExt;
use axum::{Json, Router};
use clap::Parser;
use portcullis_e2e::bench::bare::{self, Arguments, Tools};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<()> {
    let tools = Arc::new(Tools::connect(&Arguments::parse()).await?);
    let router = Router::new().route("/mcp", post(call)).with_state(tools);
    let listener = bare::listen().await?.tap_io(|stream| {
        // A client that is gone already needs no setting.
        let _gone = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, router).await?)
}

async fn call(
    State(tools): State<Arc<Tools>>,
    Json(request): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    let empty = json!({});
    let arguments = request.pointer("/params/arguments").unwrap_or(&empty);
    let tool = request.pointer("/params/name").and_then(Value::as_str);
    let Ok(result) = tools.call(tool.unwrap_or_default(), arguments).await else {
        return Err(StatusCode::INTERNAL_SERVER_ERROR);
    };
    Ok(Json(json!({
        "jsonrpc": "2.0",
        "id": request.get("id"),
        "result": {
            "content": [{ "type": "text", "text": result.to_string() }],
            "isError": false,
            "resultType": "complete",
            "structuredContent": result,
        },
    })))
}
