//! Requests to an MCP endpoint, spelled out, so that each part of them can be made wrong.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::RequestBuilder;
use serde_json::{Map, Value, json};

use crate::http::{Http, Reply};

/// The revision that `Era::Modern` speaks.
pub const MODERN: &str = "2026-07-28";
/// The revision that `Era::Legacy` speaks.
pub const LEGACY: &str = "2025-11-25";

/// The key of a result's receipt.
pub const RECEIPT: &str = "dev.portcullis/receipt";
/// The key of a refusal's problem document.
pub const PROBLEM: &str = "dev.portcullis/problem";

/// Which rules a client follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// 2026-07-28: no sessions; headers repeat the body.
    Modern,
    /// 2025-11-25 and older.
    Legacy,
}

/// A caller of one MCP endpoint with one token.
#[derive(Debug, Clone)]
pub struct McpClient {
    http: Http,
    url: String,
    token: String,
    era: Era,
}

impl McpClient {
    /// A modern client.
    pub fn new(http: &Http, url: String, token: String) -> Self {
        Self {
            http: http.clone(),
            url,
            token,
            era: Era::Modern,
        }
    }

    /// The same caller in another era.
    #[must_use]
    pub fn speaking(mut self, era: Era) -> Self {
        self.era = era;
        self
    }

    /// The same caller with another token.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        token.clone_into(&mut self.token);
        self
    }

    /// The same caller at another address of the platform.
    #[must_use]
    pub fn at(mut self, address: SocketAddr) -> Self {
        let path = self.url.splitn(4, '/').nth(3).unwrap_or_default();
        self.url = format!("http://{address}/{path}");
        self
    }

    /// The caller's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Its endpoint.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The body of a request of this era.
    pub fn body(&self, method: &str, params: Value) -> Value {
        let mut params = match params {
            Value::Object(members) => members,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Map::new(),
        };
        if self.era == Era::Modern {
            let meta = params
                .entry("_meta")
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(meta) = meta {
                let key = |name: &str| format!("io.modelcontextprotocol/{name}");
                meta.insert(key("protocolVersion"), json!(MODERN));
                meta.insert(key("clientCapabilities"), json!({}));
                meta.insert(key("clientInfo"), json!({"name": "e2e", "version": "1"}));
            }
        }
        json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    }

    /// A request whose headers say what its body says.
    pub fn request(&self, body: &Value) -> RequestBuilder {
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
        let mut request = self
            .http
            .post(&self.url)
            .bearer_auth(&self.token)
            .header("accept", "application/json, text/event-stream");
        if self.era == Era::Modern {
            request = request
                .header("mcp-protocol-version", MODERN)
                .header("mcp-method", text("/method").unwrap_or_default());
            if let Some(name) = text("/params/name") {
                request = request.header("mcp-name", header_text(name));
            }
        } else if text("/method") != Some("initialize") {
            request = request.header("mcp-protocol-version", LEGACY);
        }
        request.json(body)
    }

    /// Sends any method.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn send(&self, method: &str, params: Value) -> Result<Reply> {
        Reply::to(self.request(&self.body(method, params))).await
    }

    /// Calls a tool.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn call(&self, tool: &str, arguments: Value) -> Result<Reply> {
        let params = json!({"name": tool, "arguments": arguments});
        self.send("tools/call", params).await
    }

    /// Calls a tool within a trace.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn call_traced(&self, tool: &str, arguments: Value, trace: &str) -> Result<Reply> {
        let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
        let meta = json!({"traceparent": traceparent});
        let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
        self.send("tools/call", params).await
    }

    /// The names of the tools that the caller sees.
    ///
    /// # Errors
    /// The answer is no list.
    pub async fn list(&self) -> Result<Vec<String>> {
        let reply = self.send("tools/list", json!({})).await?;
        let answer = reply.json();
        let tools = answer
            .pointer("/result/tools")
            .and_then(Value::as_array)
            .with_context(|| format!("tools/list: {}", reply.told()))?;
        Ok(tools
            .iter()
            .filter_map(|tool| tool.pointer("/name"))
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect())
    }
}

/// A name as a header can hold it (SEP-2243).
fn header_text(name: &str) -> String {
    if name.bytes().all(|byte| byte.is_ascii_graphic()) {
        name.to_owned()
    } else {
        format!("=?base64?{}?=", STANDARD.encode(name))
    }
}

/// Looking into the answer of a tool call.
impl Reply {
    /// The structured result.
    pub fn structured(&self) -> Value {
        self.at("/result/structuredContent")
    }

    /// The first text block.
    pub fn words(&self) -> String {
        self.at("/result/content/0/text")
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Whether the result says that it is an error.
    pub fn is_tool_error(&self) -> bool {
        self.at("/result/isError") == Value::Bool(true)
    }

    /// A member of the result's `_meta`.
    pub fn meta(&self, key: &str) -> Value {
        self.at("/result/_meta")
            .get(key)
            .cloned()
            .unwrap_or_default()
    }

    /// The JSON-RPC error's code.
    pub fn error_code(&self) -> Option<i64> {
        self.at("/error/code").as_i64()
    }

    /// What a JSON pointer finds in the body.
    pub fn at(&self, pointer: &str) -> Value {
        self.json().pointer(pointer).cloned().unwrap_or_default()
    }
}
