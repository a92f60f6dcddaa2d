//! What the bridge reads of a host's message, and the messages it makes by itself. A message is passed
//! on as its bytes: nothing in it is written anew.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// JSON-RPC 2.0 §5.1: no JSON.
pub(super) const PARSE_ERROR: i32 = -32700;
/// JSON-RPC 2.0 §5.1: JSON, but no request.
pub(super) const INVALID_REQUEST: i32 = -32600;
/// JSON-RPC 2.0 §5.1: of the range that is left to servers.
const SERVER_ERROR: i32 = -32000;

const REVISION: &str = "/_meta/io.modelcontextprotocol~1protocolVersion";
const KEYS: [&str; 2] = [
    "/arguments/idemKey",
    "/_meta/dev.portcullis~1idempotency-key",
];

/// A host's message.
#[derive(Debug)]
pub(super) struct Message {
    /// The line, without its end.
    pub(super) line: Vec<u8>,
    /// The request's id as JSON; `None` for a notification.
    pub(super) id: Option<Box<RawValue>>,
    /// The method.
    pub(super) method: String,
    params: Option<Value>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    params: Option<Value>,
}

/// What a line is.
#[derive(Debug)]
pub(super) enum Read {
    /// A request or a notification.
    Message(Message),
    /// An answer to a question that the platform never asks.
    Answer,
    /// Neither: the error that answers it.
    Wrong(String),
}

/// Reads a line.
pub(super) fn read(line: Vec<u8>) -> Read {
    let envelope: Envelope<'_> = match serde_json::from_slice(&line) {
        Ok(envelope) => envelope,
        Err(error) if error.is_data() => {
            return Read::Wrong(failure(
                None,
                INVALID_REQUEST,
                "a message is one JSON-RPC 2.0 object; batches are no part of MCP",
                None,
            ));
        }
        Err(_) => return Read::Wrong(failure(None, PARSE_ERROR, "the line is no JSON", None)),
    };
    let Some(method) = envelope.method else {
        return Read::Answer;
    };
    let method = method.into_owned();
    let (id, params) = (envelope.id.map(RawValue::to_owned), envelope.params);
    Read::Message(Message {
        line,
        id,
        method,
        params,
    })
}

impl Message {
    /// The request's id as JSON.
    pub(super) fn id_as_json(&self) -> Option<&str> {
        self.id.as_deref().map(RawValue::get)
    }

    /// The revision that the message itself names (2026-07-28 and newer).
    pub(super) fn revision(&self) -> Option<&str> {
        self.param(REVISION)
    }

    /// What `Mcp-Name` has to say of it, encoded as a header can hold it.
    pub(super) fn name(&self) -> Option<HeaderValue> {
        let pointer = match self.method.as_str() {
            "tools/call" | "prompts/get" => "/name",
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => "/uri",
            "tasks/get" | "tasks/update" | "tasks/cancel" => "/taskId",
            _ => return None,
        };
        header(self.param(pointer)?)
    }

    /// The id of the request that this notification takes back, as JSON.
    pub(super) fn cancels(&self) -> Option<String> {
        let cancelled = self.id.is_none() && self.method == "notifications/cancelled";
        let id = self.params.as_ref()?.get("requestId")?;
        cancelled.then(|| id.to_string())
    }

    /// Whether a second sending has no second effect: it only reads, or a key makes it one.
    pub(super) fn repeats_safely(&self) -> bool {
        self.method != "tools/call" || KEYS.iter().any(|key| self.param(key).is_some())
    }

    fn param(&self, pointer: &str) -> Option<&str> {
        self.params.as_ref()?.pointer(pointer)?.as_str()
    }

    /// An error that answers this message; nothing answers a notification.
    pub(super) fn failure(&self, message: &str, data: Option<Value>) -> Option<String> {
        let id = self.id.as_deref()?;
        Some(failure(Some(id), SERVER_ERROR, message, data))
    }
}

/// A value as a header can hold it: as it is, or in base64 where it could not travel so (MCP
/// 2026-07-28, "Header encoding").
fn header(value: &str) -> Option<HeaderValue> {
    let plain = value.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
        && value.trim_matches([' ', '\t']) == value
        && !(value.starts_with("=?base64?") && value.ends_with("?="));
    let text = if plain {
        Cow::Borrowed(value)
    } else {
        Cow::Owned(format!("=?base64?{}?=", STANDARD.encode(value)))
    };
    HeaderValue::from_str(&text).ok()
}

/// A JSON-RPC error.
pub(super) fn failure(
    id: Option<&RawValue>,
    code: i32,
    message: &str,
    data: Option<Value>,
) -> String {
    let mut error = json!({"code": code, "message": message});
    if let (Some(data), Some(error)) = (data, error.as_object_mut()) {
        error.insert("data".to_owned(), data);
    }
    let id = id.map_or("null", RawValue::get);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(line: &str) -> Message {
        match read(line.as_bytes().to_vec()) {
            Read::Message(message) => message,
            Read::Answer | Read::Wrong(_) => panic!("{line} is no message"),
        }
    }

    #[test]
    fn a_call_is_described_by_its_headers() {
        let call = message(
            r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"orders.get",
            "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
        );
        assert_eq!(call.revision(), Some("2026-07-28"));
        assert_eq!(call.name().unwrap(), "orders.get");
        assert_eq!(call.id.as_deref().unwrap().get(), r#""a""#);
    }

    #[test]
    fn a_name_that_no_header_holds_travels_in_base64() {
        for (name, held) in [
            ("größe", "=?base64?Z3LDtsOfZQ==?="),
            (" x", "=?base64?IHg=?="),
            ("=?base64?eA==?=", "=?base64?PT9iYXNlNjQ/ZUE9PT89?="),
        ] {
            assert_eq!(header(name).unwrap(), held, "{name}");
        }
    }

    #[test]
    fn only_reads_and_keyed_calls_repeat_safely() {
        let call = |rest: &str| {
            let line =
                format!(r#"{{"id":1,"method":"tools/call","params":{{"name":"flag.set"{rest}}}}}"#);
            message(&line).repeats_safely()
        };
        assert!(!call(""));
        assert!(!call(r#","arguments":{"idemKey":7}"#));
        assert!(call(r#","arguments":{"idemKey":"k"}"#));
        assert!(call(r#","_meta":{"dev.portcullis/idempotency-key":"k"}"#));
        assert!(message(r#"{"id":1,"method":"tools/list"}"#).repeats_safely());
    }

    #[test]
    fn what_is_no_message_is_answered_in_words() {
        for (line, code) in [
            ("{", PARSE_ERROR),
            ("nonsense", PARSE_ERROR),
            (r#"[{"id":1,"method":"ping"}]"#, INVALID_REQUEST),
            ("7", INVALID_REQUEST),
        ] {
            let Read::Wrong(answer) = read(line.as_bytes().to_vec()) else {
                panic!("{line}");
            };
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(answer["error"]["code"], code, "{line}");
            assert!(answer["id"].is_null());
        }
        assert!(matches!(
            read(br#"{"id":1,"result":{}}"#.to_vec()),
            Read::Answer
        ));
    }

    #[test]
    fn only_a_notification_takes_a_request_back() {
        let text = r#"{"method":"notifications/cancelled","params":{"requestId":"a"}}"#;
        assert_eq!(message(text).cancels().as_deref(), Some(r#""a""#));
        let request = text.replacen('{', r#"{"id":1,"#, 1);
        assert_eq!(message(&request).cancels(), None);
    }
}
