//! W3C trace context ids.

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
        Self::with_parent(text).map(|(trace, _)| trace)
    }

    /// Reads a `traceparent` with the span that it names. A malformed one is as none.
    pub fn with_parent(text: &str) -> Option<(Self, SpanId)> {
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
        let parent = u64::from_str_radix(parent, 16).ok().filter(|id| *id != 0)?;
        if sound {
            Some((trace.parse().ok()?, SpanId(parent.to_be_bytes())))
        } else {
            None
        }
    }
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
        let (_, parent) = TraceId::with_parent(header).unwrap();
        assert_eq!(parent.to_string(), "b7ad6b7169203331");
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
