//! RFC 8785 JSON: one value, one sequence of bytes.
//!
//! Two routes lead to the same bytes, and property tests hold them to `serde_json_canonicalizer`.
//! Free JSON (arguments, answers, definitions) is sorted here. A record's own types declare their
//! members in canonical order, so that plain serialisation is already canonical and nothing has to
//! be sorted on the path of a call.
//!
//! This module must never let two different values have the same bytes: an integer that a double
//! cannot hold exactly is refused, as RFC 8785 Appendix D asks, and not rounded.

use std::cmp::Ordering;

use serde::Serialize;
use serde_json::{Map, Number, Value};

use crate::digest::Digest;

/// The largest integer that every double around it can tell apart: 2⁵³ − 1.
pub const MAX_SAFE_INTEGER: u64 = 9_007_199_254_740_991;

/// Why a value has no canonical form.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// An integer beyond ±(2⁵³ − 1), or a number that would be written as one.
    #[error(
        "an integer beyond 9007199254740991 has no canonical JSON form (RFC 8785); write it as a \
         string"
    )]
    UnsafeInteger,
    /// The value cannot be written as JSON at all.
    #[error("the value cannot be written as canonical JSON")]
    Encode(#[from] serde_json::Error),
}

/// Bytes that are the RFC 8785 form of some value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Canonical(Vec<u8>);

impl Canonical {
    /// What `serde_json` writes of a type whose members stand in canonical order.
    pub(crate) fn of_sorted<T: Serialize>(value: &T) -> Result<Self, CanonicalError> {
        let mut bytes = Vec::with_capacity(2048);
        serde_json::to_writer(&mut bytes, value)?;
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, taken out.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Their SHA-256 digest.
    pub fn sha256(&self) -> Digest {
        Digest::of(&self.0)
    }
}

/// The RFC 8785 form of a value. A floating-point number that is no number is written as `null`, as
/// `serde_json` does.
///
/// # Errors
/// Refuses integers beyond ±(2⁵³ − 1), and what is not JSON.
pub fn canonical_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Canonical, CanonicalError> {
    of_value(&serde_json::to_value(value)?)
}

/// SHA-256 of the RFC 8785 form: the hash of tool definitions, policies and idempotent requests.
///
/// # Errors
/// Refuses integers beyond ±(2⁵³ − 1).
pub fn canonical_sha256(value: &Value) -> Result<Digest, CanonicalError> {
    of_value(value).map(|canonical| canonical.sha256())
}

/// The RFC 8785 form of a value that is JSON already.
///
/// # Errors
/// Refuses integers beyond ±(2⁵³ − 1).
pub fn of_value(value: &Value) -> Result<Canonical, CanonicalError> {
    let mut bytes = Vec::with_capacity(1024);
    write_value(value, &mut bytes)?;
    Ok(Canonical(bytes))
}

fn write_value(value: &Value, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(number, out)?,
        Value::String(text) => write_string(text, out)?,
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => write_object(members, out)?,
    }
    Ok(())
}

fn write_object(members: &Map<String, Value>, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    let in_order = members
        .keys()
        .is_sorted_by(|first, second| member_order(first, second).is_lt());
    if in_order {
        return write_members(members.iter(), out);
    }
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_unstable_by(|(first, _), (second, _)| member_order(first, second));
    write_members(sorted.into_iter(), out)
}

fn write_members<'a>(
    members: impl Iterator<Item = (&'a String, &'a Value)>,
    out: &mut Vec<u8>,
) -> Result<(), CanonicalError> {
    out.push(b'{');
    for (index, (name, value)) in members.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(name, out)?;
        out.push(b':');
        write_value(value, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// The order of RFC 8785 §3.2.3, by UTF-16 code units. It differs from the order of bytes only
/// where characters beyond the basic plane are compared with some of the last ones in it.
pub(crate) fn member_order(first: &str, second: &str) -> Ordering {
    if first.is_ascii() && second.is_ascii() {
        first.cmp(second)
    } else {
        first.encode_utf16().cmp(second.encode_utf16())
    }
}

/// `serde_json` escapes exactly what RFC 8785 §3.2.2.2 asks for, in its spelling.
fn write_string(text: &str, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    serde_json::to_writer(out, text)?;
    Ok(())
}

fn write_number(number: &Number, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    let magnitude = number
        .as_u64()
        .or_else(|| number.as_i64().map(i64::unsigned_abs));
    match magnitude {
        Some(magnitude) if magnitude > MAX_SAFE_INTEGER => Err(CanonicalError::UnsafeInteger),
        Some(_) => {
            serde_json::to_writer(out, number)?;
            Ok(())
        }
        None if number.as_f64().is_some_and(reads_as_unsafe_integer) => {
            Err(CanonicalError::UnsafeInteger)
        }
        None => {
            // ECMAScript's own way to write a double (RFC 8785 §3.2.2.3).
            serde_json_canonicalizer::to_writer(number, out)?;
            Ok(())
        }
    }
}

/// Whether ECMAScript writes a double as plain digits that a reader would take for an integer beyond
/// the safe ones: from 2⁵³ up to 10²¹, where it begins to write exponents.
fn reads_as_unsafe_integer(double: f64) -> bool {
    (9_007_199_254_740_992.0..1e21).contains(&double.abs())
}

#[cfg(test)]
pub(crate) mod tests;
