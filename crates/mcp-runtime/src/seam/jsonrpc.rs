//! JSON-RPC 2.0 as MCP uses it: one message a body, ids that are strings or integers.

use std::borrow::Cow;

use portcullis_wire::{Problem, Slug};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::arguments::{DUPLICATE, Distinct};

/// Malformed JSON.
pub(super) const PARSE_ERROR: i64 = -32_700;
/// JSON that is no request.
pub(super) const INVALID_REQUEST: i64 = -32_600;
/// Parameters that do not fit the method; an unknown tool among them.
pub(super) const INVALID_PARAMS: i64 = -32_602;
/// A header that contradicts the body (MCP 2026-07-28).
pub(super) const HEADER_MISMATCH: i64 = -32_020;
/// A protocol version that is not served (MCP 2026-07-28).
pub(super) const UNSUPPORTED_VERSION: i64 = -32_022;

/// A message, its parts unread.
#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    #[serde(default, borrow, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub(super) method: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "present")]
    pub(super) params: Option<&'a RawValue>,
}

/// Keeps a `null` that is there apart from nothing.
fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(d).map(Some)
}

/// What is wrong with a message, before any method runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProtocolFault {
    pub(super) status: u16,
    pub(super) code: i64,
    pub(super) message: String,
    pub(super) data: Option<Value>,
}

impl ProtocolFault {
    /// The reason that it is counted under.
    pub(super) const fn slug(&self) -> Slug {
        match self.code {
            HEADER_MISMATCH | UNSUPPORTED_VERSION => Slug::HeaderMismatch,
            _ => Slug::MalformedRequest,
        }
    }

    pub(super) fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            status: 400,
            code,
            message: message.into(),
            data: None,
        }
    }
}

impl<'a> Message<'a> {
    /// Reads the frame of a message.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, ProtocolFault> {
        let first = body.iter().find(|b| !b.is_ascii_whitespace());
        if first == Some(&b'[') {
            return Err(ProtocolFault::new(
                INVALID_REQUEST,
                "batches are not part of this protocol; send one message a request",
            ));
        }
        let message: Self = serde_json::from_slice(body).map_err(|error| {
            if error.is_data() && first == Some(&b'{') {
                ProtocolFault::new(INVALID_REQUEST, "the body is not a JSON-RPC 2.0 message")
            } else if error.is_data() {
                ProtocolFault::new(INVALID_REQUEST, "a JSON-RPC message is an object")
            } else {
                let (line, column) = (error.line(), error.column());
                let text = format!("the body is not JSON (line {line}, column {column})");
                ProtocolFault::new(PARSE_ERROR, text)
            }
        })?;
        if message.jsonrpc != "2.0" {
            return Err(ProtocolFault::new(
                INVALID_REQUEST,
                "`jsonrpc` must be \"2.0\"",
            ));
        }
        if message.id.is_some_and(|id| !is_request_id(id)) {
            return Err(ProtocolFault::new(
                INVALID_REQUEST,
                "`id` must be a string of at most 256 bytes or an integer",
            ));
        }
        Ok(message)
    }

    /// The id as it was sent, or `null` for a notification.
    pub(super) fn id_text(&self) -> &str {
        self.id.map_or("null", RawValue::get)
    }

    /// Whether an answer is expected.
    pub(super) const fn is_request(&self) -> bool {
        self.id.is_some() && self.method.is_some()
    }
}

fn is_request_id(id: &RawValue) -> bool {
    let text = id.get();
    let integer = |text: &str| text.parse::<i64>().is_ok();
    text.len() <= 256 && (text.starts_with('"') || integer(text))
}

/// The parameters of `tools/call`.
#[derive(Debug, Deserialize)]
pub(super) struct CallParams {
    pub(super) name: String,
    #[serde(default)]
    pub(super) arguments: Option<Distinct>,
    #[serde(default, rename = "_meta")]
    pub(super) meta: Option<Map<String, Value>>,
}

/// Reads the parameters of `tools/call`.
pub(super) fn call_params(params: Option<&RawValue>) -> Result<CallParams, ProtocolFault> {
    let text = params.map_or("{}", RawValue::get);
    serde_json::from_str(text).map_err(|error| {
        // serde's words name fields and types, and may name values: none of them is passed on.
        let words = if error.to_string().starts_with(DUPLICATE) {
            DUPLICATE
        } else {
            "the parameters do not fit `tools/call`: `name` is a string, `arguments` and `_meta` are \
             objects"
        };
        ProtocolFault::new(INVALID_PARAMS, words)
    })
}

/// A response with a result that is JSON already.
pub(super) fn result_body(id: &str, result: &RawValue) -> Vec<u8> {
    let result = result.get();
    let mut body = Vec::with_capacity(result.len() + id.len() + 40);
    body.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    body.extend_from_slice(id.as_bytes());
    body.extend_from_slice(br#","result":"#);
    body.extend_from_slice(result.as_bytes());
    body.push(b'}');
    body
}

/// A response with an error.
pub(super) fn error_body(id: &str, code: i64, message: &str, data: Option<&Value>) -> Vec<u8> {
    let mut error = json!({ "code": code, "message": message });
    if let (Value::Object(members), Some(data)) = (&mut error, data) {
        members.insert("data".to_owned(), data.clone());
    }
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).into_bytes()
}

/// A response with a problem document: its HTTP status is the code (outside JSON-RPC's own range).
pub(super) fn problem_body(id: &str, problem: &Problem) -> Vec<u8> {
    let message = if problem.detail.is_empty() {
        problem.title.clone()
    } else {
        format!("{}: {}", problem.title, problem.detail)
    };
    error_body(
        id,
        i64::from(problem.status),
        &message,
        Some(&json!(problem)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(body: &str) -> i64 {
        Message::read(body.as_bytes()).unwrap_err().code
    }

    #[test]
    fn malformed_json_is_a_parse_error() {
        for body in ["", "{", "nonsense", r#"{"jsonrpc":"2.0","#] {
            assert_eq!(fault(body), PARSE_ERROR, "{body}");
        }
    }

    #[test]
    fn batches_and_other_json_are_invalid_requests() {
        for body in [
            "[]",
            r#" [{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            "3",
            r#""text""#,
            "{}",
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
        ] {
            assert_eq!(fault(body), INVALID_REQUEST, "{body}");
        }
    }

    #[test]
    fn an_id_comes_back_as_it_was_sent() {
        for id in ["1", "-7", r#""a\u0041""#] {
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            let message = Message::read(body.as_bytes()).unwrap();
            assert!(message.is_request());
            assert_eq!(message.id_text(), id);
        }
    }

    #[test]
    fn parameters_of_the_wrong_type_are_refused_without_their_values() {
        let raw = RawValue::from_string(r#"{"name":"x","arguments":"secret-value"}"#.to_owned());
        let fault = call_params(Some(&raw.unwrap())).unwrap_err();
        assert_eq!(fault.code, INVALID_PARAMS);
        assert!(!fault.message.contains("secret-value"));
    }
}
