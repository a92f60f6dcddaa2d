//! W3C trace context ids.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A W3C trace id: 16 bytes, not all zero, written as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// From sixteen random bytes. All zeros, which the standard forbids, becomes one.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        if u128::from_be_bytes(bytes) == 0 {
            Self(1_u128.to_be_bytes())
        } else {
            Self(bytes)
        }
    }

    /// The bytes, for a database row.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the trace id of a `traceparent` (W3C Trace Context §3.2). A malformed one is as none.
    pub fn from_traceparent(text: &str) -> Option<Self> {
        TraceParent::read(text).map(|parent| parent.trace)
    }
}

/// What a `traceparent` says (W3C Trace Context §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The span that whoever sent it is in.
    pub span: SpanId,
    /// Whether whoever sent it may have kept that span.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads one. A malformed one is as none.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = parts.next()?;
        let trace = parts.next()?;
        let parent = parts.next()?;
        let flags = parts.next()?;
        let hex = |part: &str, len: usize| {
            part.len() == len
                && part
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let extra = parts.next().is_some();
        let sound = hex(version, 2)
            && version != "ff"
            && !(version == "00" && extra)
            && hex(parent, 16)
            && hex(flags, 2);
        if !sound {
            return None;
        }
        Some(Self {
            trace: trace.parse().ok()?,
            span: parent.parse().ok()?,
            sampled: u8::from_str_radix(flags, 16).ok()? & 1 == 1,
        })
    }
}

/// The longest `tracestate` that is passed on, in bytes; the standard asks for at least 512.
const STATE_BYTES: usize = 512;
/// The most members of a `tracestate` (W3C Trace Context §3.3.1.1).
const STATE_MEMBERS: usize = 32;

/// A `tracestate` of the caller, for an upstream alone: others wrote it, so it stands in no log, span or
/// record, and `Debug` prints nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct TraceState(String);

impl TraceState {
    /// Reads one or more fields, in their order. What is malformed, too long, or names a key twice is as
    /// none (§3.3).
    pub fn read<'a>(fields: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut keys = BTreeSet::new();
        let mut state = String::new();
        for member in fields.flat_map(|field| field.split(',')) {
            let member = member.trim_matches([' ', '\t']);
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=')?;
            if !is_state_key(key) || !is_state_value(value) || !keys.insert(key) {
                return None;
            }
            if !state.is_empty() {
                state.push(',');
            }
            state.push_str(member);
            if state.len() > STATE_BYTES || keys.len() > STATE_MEMBERS {
                return None;
            }
        }
        (!state.is_empty()).then_some(Self(state))
    }

    /// As it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceState").finish_non_exhaustive()
    }
}

fn is_state_key(key: &str) -> bool {
    let part = |part: &str, most: usize| {
        let begins = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let goes_on = |b: u8| begins(b) || matches!(b, b'_' | b'-' | b'*' | b'/');
        part.len() <= most && part.bytes().next().is_some_and(begins) && part.bytes().all(goes_on)
    };
    match key.split_once('@') {
        Some((tenant, system)) => part(tenant, 241) && part(system, 14),
        None => part(key, 256),
    }
}

fn is_state_value(value: &str) -> bool {
    let allowed = |b: u8| (b' '..=b'~').contains(&b) && b != b'=' && b != b',';
    (1..=256).contains(&value.len()) && value.bytes().all(allowed) && !value.ends_with(' ')
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no trace id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a trace id is 32 lower-case hexadecimal digits, not all zero")]
pub struct TraceIdError;

impl FromStr for TraceId {
    type Err = TraceIdError;

    fn from_str(text: &str) -> Result<Self, TraceIdError> {
        let lower = text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if text.len() != 32 || !lower {
            return Err(TraceIdError);
        }
        match u128::from_str_radix(text, 16) {
            Ok(number) if number != 0 => Ok(Self(number.to_be_bytes())),
            Ok(_) | Err(_) => Err(TraceIdError),
        }
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A W3C span id (the standard's `parent-id`): 8 bytes, not all zero, written as 16 lower-case
/// hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl SpanId {
    /// From eight random bytes. All zeros, which the standard forbids, becomes one.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        if u64::from_be_bytes(bytes) == 0 {
            Self(1_u64.to_be_bytes())
        } else {
            Self(bytes)
        }
    }

    /// The bytes, for a database row.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no span id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a span id is 16 lower-case hexadecimal digits, not all zero")]
pub struct SpanIdError;

impl FromStr for SpanId {
    type Err = SpanIdError;

    fn from_str(text: &str) -> Result<Self, SpanIdError> {
        let lower = text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if text.len() != 16 || !lower {
            return Err(SpanIdError);
        }
        match u64::from_str_radix(text, 16) {
            Ok(number) if number != 0 => Ok(Self(number.to_be_bytes())),
            Ok(_) | Err(_) => Err(SpanIdError),
        }
    }
}

impl Serialize for SpanId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SpanId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_gives_its_trace_id() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let id = TraceId::from_traceparent(header).unwrap();
        assert_eq!(id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn a_span_id_has_one_spelling() {
        let id = SpanId::from_bytes(*b"12345678");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in [
            "",
            "0000000000000000",
            "00F067AA0BA902B7",
            "00f067aa0ba902b",
            "+0f067aa0ba902b7",
        ] {
            assert_eq!(text.parse::<SpanId>(), Err(SpanIdError), "{text}");
        }
    }

    #[test]
    fn a_traceparent_gives_the_span_that_it_names() {
        let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = TraceParent::read(header).unwrap();
        assert_eq!(parent.span.to_string(), "b7ad6b7169203331");
        assert!(parent.sampled);
        let unsampled = TraceParent::read(&header.replace("-01", "-fe")).unwrap();
        assert!(!unsampled.sampled);
    }

    #[test]
    fn a_trace_state_is_passed_on_in_its_order() {
        let read = |fields: &[&str]| TraceState::read(fields.iter().copied());
        let state = read(&["rojo=00f067aa0ba902b7, t61rcWkgMzE=", "congo=t61"]);
        assert_eq!(state, None, "a key in upper case and an empty value");
        let state = read(&["rojo=00f067,  , 1a-_*/@sys=x y", "congo=t61"]).unwrap();
        assert_eq!(state.as_str(), "rojo=00f067,1a-_*/@sys=x y,congo=t61");
        assert!(!format!("{state:?}").contains("rojo"));
    }

    #[test]
    fn a_malformed_trace_state_is_as_none() {
        let many: Vec<_> = (0..33).map(|n| format!("k{n}=v")).collect();
        let long = format!(
            "a={},b={},c={}",
            "x".repeat(200),
            "x".repeat(200),
            "x".repeat(200)
        );
        for text in [
            "",
            " , ",
            "a",
            "=b",
            "a=",
            "A=b",
            "a=b,a=c",
            "a=b\r\nx: y",
            "a=\u{e9}",
            "a@b@c=d",
            "@b=c",
            "a=b=c",
            &many.join(","),
            &long,
        ] {
            assert_eq!(TraceState::read([text].into_iter()), None, "{text}");
        }
    }

    #[test]
    fn a_malformed_traceparent_is_as_none() {
        for header in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(TraceId::from_traceparent(header), None, "{header}");
        }
    }
}
