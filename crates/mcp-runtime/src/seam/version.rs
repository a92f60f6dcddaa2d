//! Which revision of MCP a `tools/call` speaks, and whether its headers say what its body says
//! (2026-07-28, Streamable HTTP, Server Validation).

use std::borrow::Cow;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::ProtocolVersion;
use serde_json::{Map, Value, json};

use super::jsonrpc::{HEADER_MISMATCH, INVALID_PARAMS, ProtocolFault, UNSUPPORTED_VERSION};

const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// Which rules a request follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Era {
    /// 2025-11-25 and older.
    Legacy,
    /// 2026-07-28: everything about a request is in its own headers and `_meta`.
    Modern,
}

/// Checks the headers of a `tools/call` against its body.
pub(super) fn check(
    headers: &HeaderMap,
    tool: &str,
    meta: Option<&Map<String, Value>>,
) -> Result<Era, ProtocolFault> {
    let header = single(headers, "mcp-protocol-version")?;
    let body = match meta.and_then(|meta| meta.get(META_VERSION)) {
        None => None,
        Some(Value::String(version)) => Some(version.as_str()),
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_),
        ) => {
            return Err(ProtocolFault::new(
                INVALID_PARAMS,
                format!("`_meta[\"{META_VERSION}\"]` must be a string"),
            ));
        }
    };
    let era = match (header.as_deref(), body) {
        (None, Some(_)) => {
            return Err(mismatch(
                "`_meta` names a protocol version, `MCP-Protocol-Version` does not",
            ));
        }
        (Some(header), Some(body)) if header != body => {
            return Err(mismatch(
                "`MCP-Protocol-Version` does not equal the version in `_meta`",
            ));
        }
        (Some(version), in_body) => era_of(version, in_body.is_some())?,
        (None, None) => Era::Legacy,
    };
    if era == Era::Modern && meta.is_none_or(|meta| !meta.contains_key(META_CAPABILITIES)) {
        return Err(ProtocolFault::new(
            INVALID_PARAMS,
            format!("`_meta[\"{META_CAPABILITIES}\"]` is required"),
        ));
    }
    standard_header(headers, "mcp-method", "tools/call", era)?;
    standard_header(headers, "mcp-name", tool, era)?;
    Ok(era)
}

fn era_of(version: &str, in_body: bool) -> Result<Era, ProtocolFault> {
    let known = ProtocolVersion::KNOWN_VERSIONS
        .iter()
        .any(|one| one.as_str() == version);
    if !known {
        let supported: Vec<_> = ProtocolVersion::KNOWN_VERSIONS
            .iter()
            .map(ProtocolVersion::as_str)
            .collect();
        let mut fault = ProtocolFault::new(
            UNSUPPORTED_VERSION,
            "this protocol version is not served; see `data.supported`",
        );
        let requested: String = version.chars().take(32).collect();
        fault.data = Some(json!({ "supported": supported, "requested": requested }));
        return Err(fault);
    }
    let modern = version >= ProtocolVersion::STANDARD_HEADERS.as_str();
    match (modern, in_body) {
        (true, true) => Ok(Era::Modern),
        (true, false) => Err(ProtocolFault::new(
            INVALID_PARAMS,
            format!("`_meta[\"{META_VERSION}\"]` is required by {version}"),
        )),
        // A client may name an older version per request; it still follows the older rules.
        (false, _) => Ok(Era::Legacy),
    }
}

/// A header that repeats a part of the body: required by the modern era, checked wherever it is.
fn standard_header(
    headers: &HeaderMap,
    name: &str,
    expected: &str,
    era: Era,
) -> Result<(), ProtocolFault> {
    match (single(headers, name)?, era) {
        (None, Era::Legacy) => Ok(()),
        (None, Era::Modern) => Err(mismatch(&format!("the header `{name}` is required"))),
        (Some(value), _) => match decode(&value) {
            Some(value) if value == expected => Ok(()),
            Some(_) | None => Err(mismatch(&format!(
                "the header `{name}` does not equal the body"
            ))),
        },
    }
}

fn single(headers: &HeaderMap, name: &str) -> Result<Option<String>, ProtocolFault> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(mismatch(&format!(
            "the header `{name}` is there more than once"
        )));
    }
    match first.to_str() {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(_not_text) => Err(mismatch(&format!(
            "the header `{name}` is not visible ASCII"
        ))),
    }
}

/// Undoes `=?base64?…?=` (SEP-2243).
fn decode(value: &str) -> Option<Cow<'_, str>> {
    let coded = value
        .strip_prefix("=?base64?")
        .and_then(|rest| rest.strip_suffix("?="));
    match coded {
        None => Some(Cow::Borrowed(value)),
        Some(coded) => {
            let bytes = STANDARD.decode(coded).ok()?;
            String::from_utf8(bytes).ok().map(Cow::Owned)
        }
    }
}

fn mismatch(message: &str) -> ProtocolFault {
    ProtocolFault::new(HEADER_MISMATCH, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODERN: &str = "2026-07-28";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn meta(version: &str) -> Map<String, Value> {
        let meta = json!({META_VERSION: version, META_CAPABILITIES: {}});
        meta.as_object().cloned().unwrap()
    }

    fn full() -> HeaderMap {
        headers(&[
            ("mcp-protocol-version", MODERN),
            ("mcp-method", "tools/call"),
            ("mcp-name", "orders.get"),
        ])
    }

    #[test]
    fn a_modern_call_states_everything_twice() {
        assert_eq!(
            check(&full(), "orders.get", Some(&meta(MODERN))),
            Ok(Era::Modern)
        );
        let mut encoded = full();
        let name = format!("=?base64?{}?=", STANDARD.encode("orders.get"));
        encoded.insert("mcp-name", name.parse().unwrap());
        assert_eq!(
            check(&encoded, "orders.get", Some(&meta(MODERN))),
            Ok(Era::Modern)
        );
    }

    #[test]
    fn a_header_that_contradicts_the_body_is_refused() {
        let code = |headers: &HeaderMap, tool, meta: &Map<String, Value>| {
            check(headers, tool, Some(meta)).unwrap_err().code
        };
        assert_eq!(
            code(&full(), "orders.export", &meta(MODERN)),
            HEADER_MISMATCH
        );
        assert_eq!(
            code(&full(), "orders.get", &meta("2025-11-25")),
            HEADER_MISMATCH
        );
        for missing in ["mcp-method", "mcp-name", "mcp-protocol-version"] {
            let mut headers = full();
            headers.remove(missing);
            assert_eq!(
                code(&headers, "orders.get", &meta(MODERN)),
                HEADER_MISMATCH,
                "{missing}"
            );
        }
        let mut twice = full();
        twice.append("mcp-name", "orders.get".parse().unwrap());
        assert_eq!(code(&twice, "orders.get", &meta(MODERN)), HEADER_MISMATCH);
    }

    #[test]
    fn an_unknown_version_is_answered_with_the_known_ones() {
        let headers = headers(&[("mcp-protocol-version", "2027-01-01")]);
        let fault = check(&headers, "orders.get", None).unwrap_err();
        assert_eq!((fault.status, fault.code), (400, UNSUPPORTED_VERSION));
        assert!(fault.data.unwrap()["supported"].as_array().unwrap().len() > 3);
    }

    #[test]
    fn a_modern_header_without_its_meta_is_refused() {
        let fault = check(&full(), "orders.get", None).unwrap_err();
        assert_eq!(fault.code, INVALID_PARAMS);
    }

    #[test]
    fn an_old_client_needs_no_headers_but_may_not_lie_in_them() {
        assert_eq!(
            check(&HeaderMap::new(), "orders.get", None),
            Ok(Era::Legacy)
        );
        let old = headers(&[
            ("mcp-protocol-version", "2025-11-25"),
            ("mcp-name", "flag.set"),
        ]);
        assert_eq!(
            check(&old, "orders.get", None).unwrap_err().code,
            HEADER_MISMATCH
        );
    }
}
