//! Tools of other systems, called by HTTP with a method, a path, a query and a JSON body.
//!
//! It reaches nobody but through `egress`. It repeats a request only where that cannot double an
//! effect, says honestly when the outcome cannot be known, and returns only what the output schema
//! declares.

mod outcome;
mod template;
#[cfg(test)]
mod tests;
mod tool;

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use portcullis_domain::{Jurisdiction, Pool, TraceState};
use portcullis_egress::{Client, Destination, InternalNetworks, Request, Watch};
use portcullis_redaction::FieldRule;
use serde_json::{Map, Value};
use tokio::time::Instant;

pub use tool::{ConfigFault, HttpTool};

use super::{
    Connector, EffectMark, Effects, Invocation, SideEffect, ToolError, ToolFuture, ToolOutput,
    ToolRef,
};
use crate::catalog::Violation;
use outcome::{Outcome, Tries, shown};
use tool::Call;

/// The connector's name in catalogs.
pub const HTTP: &str = "http";

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Runs the tools of other systems.
#[derive(Debug)]
pub struct HttpConnector {
    client: Arc<Client>,
    networks: Arc<InternalNetworks>,
}

impl HttpConnector {
    /// A connector that calls by this client, inside only what the operator opened.
    pub const fn new(client: Arc<Client>, networks: Arc<InternalNetworks>) -> Self {
        Self { client, networks }
    }

    async fn run(&self, asked: Asked<'_>) -> Result<ToolOutput, ToolError> {
        let tool = asked.tool.ok_or(ToolError::NoConnector)?;
        let empty = Map::new();
        let arguments = asked.arguments.as_object().unwrap_or(&empty);
        let call = tool
            .call(asked.pool, arguments)
            .ok_or(ToolError::NoConnector)?;
        let mut tries = Tries::new(tool);
        loop {
            let outcome = self.once(tool, &call, &asked).await;
            match tries.judge(outcome) {
                Ok(value) => {
                    let effect = if tool.mutating {
                        SideEffect::Done
                    } else {
                        SideEffect::None
                    };
                    let value = shown(&tool.output, value);
                    return Ok(ToolOutput { value, effect });
                }
                Err(Some(error)) => return Err(error),
                Err(None) => tokio::time::sleep(tries.wait()).await,
            }
        }
    }

    /// One try. What it came to says whether anything can have happened.
    async fn once(&self, tool: &HttpTool, call: &Call, asked: &Asked<'_>) -> Outcome {
        let deadline = Instant::now() + tool.timeout;
        let allowance = tool.allowance(&self.networks);
        let destination = Destination {
            target: &call.target,
            ports: &call.ports,
            allowance: &allowance,
            watch: asked.watch,
        };
        let Some(request) = request(tool, call, asked) else {
            return Outcome::Unsendable;
        };
        let connection = match self.client.open(destination, deadline).await {
            Ok(connection) => connection,
            Err(error) => return Outcome::Unsent(error),
        };
        asked.mark.set();
        match connection.send(request, deadline).await {
            Ok(response) => Outcome::of(tool, response),
            Err(error) if error.is_certainly_unsent() => Outcome::Unsent(error),
            Err(error) => Outcome::Broken(error),
        }
    }
}

/// What the connector needs of an invocation.
#[derive(Debug)]
struct Asked<'a> {
    tool: Option<&'a HttpTool>,
    arguments: &'a Value,
    pool: Pool,
    upstream_key: Option<&'a str>,
    traceparent: String,
    tracestate: Option<&'a TraceState>,
    mark: &'a EffectMark,
    watch: &'a dyn Watch,
}

impl<'a> Asked<'a> {
    fn of(invocation: Invocation<'a>) -> Self {
        Self {
            tool: invocation.tool.config,
            arguments: invocation.arguments,
            pool: invocation.region.pool(),
            upstream_key: invocation.upstream_key,
            traceparent: invocation.traceparent(),
            tracestate: invocation.trace_state,
            mark: invocation.mark,
            watch: invocation.watch,
        }
    }
}

fn request(tool: &HttpTool, call: &Call, asked: &Asked<'_>) -> Option<Request> {
    let json = HeaderValue::from_static("application/json");
    let trace = HeaderValue::from_str(&asked.traceparent).ok()?;
    let mut headers = tool
        .headers
        .clone()
        .with(TRACEPARENT, trace)
        .with(ACCEPT, json.clone());
    if let Some(state) = asked.tracestate {
        headers = headers.with(TRACESTATE, HeaderValue::from_str(state.as_str()).ok()?);
    }
    if let Some(key) = asked.upstream_key {
        headers = headers.with(IDEMPOTENCY_KEY, HeaderValue::from_str(key).ok()?);
    }
    let body = match &call.body {
        None => Bytes::new(),
        Some(body) => {
            headers = headers.with(CONTENT_TYPE, json);
            Bytes::from(serde_json::to_vec(body).ok()?)
        }
    };
    Some(Request {
        method: Method::from_bytes(tool.method.as_str().as_bytes()).ok()?,
        headers,
        body,
    })
}

impl Connector for HttpConnector {
    fn tools(&self) -> Vec<String> {
        Vec::new()
    }

    fn effects(&self) -> Effects {
        Effects::External
    }

    fn server<'a>(&self, tool: ToolRef<'a>) -> &'a str {
        tool.config.map_or(HTTP, HttpTool::server)
    }

    fn serves(&self, tool: ToolRef<'_>, pool: Pool) -> bool {
        tool.config.is_some_and(|config| config.serves(pool))
    }

    fn host(&self, tool: ToolRef<'_>, pool: Pool, _arguments: &Value) -> Option<String> {
        tool.config?.host(pool)
    }

    fn check(&self, tool: ToolRef<'_>, arguments: &Map<String, Value>) -> Result<(), Violation> {
        tool.config.map_or(Ok(()), |config| config.check(arguments))
    }

    fn obligations(&self, _tool: ToolRef<'_>, _arguments: &Value) -> Vec<FieldRule> {
        Vec::new()
    }

    fn region(&self, _tool: ToolRef<'_>, _arguments: &Value) -> Option<Jurisdiction> {
        None
    }

    fn invoke<'a>(&'a self, invocation: Invocation<'a>) -> ToolFuture<'a> {
        Box::pin(self.run(Asked::of(invocation)))
    }
}
