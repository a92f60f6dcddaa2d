//! A server that answers as it is told, and a tool that calls it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_domain::{HttpToolConfig, Pool, ToolDefinition, TraceState};
use portcullis_egress::{
    Allowlist, Client, InternalNetwork, InternalNetworks, Limits, SystemResolver, TcpDial, Trust,
    Unwatched,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::connectors::http::{Asked, ConfigFault, HttpConnector, HttpTool};
use crate::connectors::{EffectMark, ToolError, ToolOutput};

/// How the server treats one request.
#[derive(Debug, Clone)]
pub(super) enum Turn {
    /// A status line and a body.
    Answer(&'static str, &'static str),
    /// These bytes, and then the end of the connection.
    Raw(&'static [u8]),
    /// Nothing, for ever.
    Silence,
    /// Bytes without an end.
    Endless,
}

/// A server that takes its turns one request after the other, the last again and again.
pub(super) struct Upstream {
    pub(super) port: u16,
    received: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Upstream {
    pub(super) async fn start(turns: &[Turn]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&received);
        let mut turns: VecDeque<_> = turns.to_vec().into();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _peer)) = listener.accept().await {
                let turn = if turns.len() > 1 {
                    turns.pop_front()
                } else {
                    turns.front().cloned()
                };
                connections.spawn(talk(stream, turn.unwrap(), Arc::clone(&seen)));
            }
        });
        Self {
            port,
            received,
            _serving: serving,
        }
    }

    /// The requests, head and body.
    pub(super) fn received(&self) -> Vec<String> {
        self.received.lock().unwrap().clone()
    }

    /// A tool of this server, its configuration changed by the given members.
    pub(super) fn tool(&self, definition: &ToolDefinition, changes: &Value) -> HttpTool {
        let mut config = config(&format!("http://127.0.0.1:{}", self.port));
        for (name, value) in changes.as_object().unwrap() {
            config[name] = value.clone();
        }
        tool(definition, config).unwrap()
    }

    pub(super) fn connector(&self) -> HttpConnector {
        connector(vec![InternalNetwork {
            network: "127.0.0.1/32".parse().unwrap(),
            ports: vec![self.port],
            tenants: vec!["acme".to_owned()],
            servers: vec!["billing".to_owned()],
        }])
    }
}

async fn talk(mut stream: TcpStream, turn: Turn, seen: Arc<Mutex<Vec<String>>>) {
    let mut bytes = Vec::new();
    while !is_whole(&bytes) {
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    seen.lock().unwrap().push(String::from_utf8(bytes).unwrap());
    match turn {
        Turn::Answer(status, body) => {
            let length = body.len();
            let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
            drop(stream.write_all(text.as_bytes()).await);
        }
        Turn::Raw(bytes) => drop(stream.write_all(bytes).await),
        Turn::Silence => std::future::pending().await,
        Turn::Endless => {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await);
            while stream.write_all(&[b' '; 4096]).await.is_ok() {}
        }
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |text| text.parse().unwrap());
    body.len() >= length
}

pub(super) fn connector(networks: Vec<InternalNetwork>) -> HttpConnector {
    let limits = Limits {
        max_response_bytes: 4_096,
        connect_timeout: Duration::from_secs(1),
    };
    let client = Client::new(
        Arc::new(SystemResolver::new()),
        Arc::new(TcpDial),
        Trust::public(),
        limits,
    );
    HttpConnector::new(
        Arc::new(client.unwrap()),
        Arc::new(InternalNetworks::new(networks)),
    )
}

pub(super) fn definition() -> ToolDefinition {
    serde_json::from_value(json!({
        "name": "orders.refund",
        "title": "Refund an order",
        "description": "Refunds an order.",
        "inputSchema": {
            "type": "object", "additionalProperties": false,
            "properties": {
                "orderId": {"type": "string"},
                "amount": {"type": "integer"},
                "note": {"type": "string"},
                "idemKey": {"type": "string"},
                "ticket": {"type": "string", "x-ticket": {"binds": ["orderId"]}}
            },
            "required": ["orderId", "amount"]
        },
        "outputSchema": {
            "type": "object", "additionalProperties": false,
            "properties": {"ok": {"type": "boolean"}}
        },
        "examples": [{"title": "One", "arguments": {"orderId": "1", "amount": 1}}],
        "scope": "orders.refund",
        "mutating": true,
        "risk": "low",
        "data": {},
        "cost": {"micro_usd": 0, "max_micro_usd": 0},
        "idempotent": false,
        "egress": ["127.0.0.1"]
    }))
    .unwrap()
}

pub(super) fn config(base: &str) -> Value {
    json!({
        "server": "billing",
        "method": "POST",
        "path": "/v1/orders/{orderId}/refunds",
        "base_urls": {"eu-west": base},
        "retries": {"count": 2, "backoff_ms": 10},
        "timeout_ms": 300
    })
}

pub(super) fn tool(definition: &ToolDefinition, config: Value) -> Result<HttpTool, ConfigFault> {
    let config: HttpToolConfig = serde_json::from_value(config).unwrap();
    HttpTool::new(definition, &config, "acme", &Allowlist::default())
}

/// What a call came to, and whether it was marked as one that may have an effect.
pub(super) async fn call(
    connector: &HttpConnector,
    tool: &HttpTool,
    arguments: &Value,
) -> (Result<ToolOutput, ToolError>, bool) {
    let mark = EffectMark::default();
    let state = TraceState::read(["rojo=00f067aa0ba902b7"].into_iter());
    let asked = Asked {
        tool: Some(tool),
        arguments,
        pool: Pool::EuWest,
        upstream_key: Some("key-1"),
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
        tracestate: state.as_ref(),
        mark: &mark,
        watch: &Unwatched,
    };
    let ended = connector.run(asked).await;
    (ended, mark.is_set())
}
