//! A JSON object read member by member, each name at most once.
//!
//! `serde_json`'s maps keep the last of two equal names, and another reader of the same token may
//! keep the first. Here a second member of one name is an error, whatever the name, also when it is
//! spelled with escapes. Values stay raw until somebody asks for one by type: nothing is coerced.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of one JSON object.
#[derive(Debug)]
pub(super) struct Members<'a>(BTreeMap<String, &'a RawValue>);

/// Bytes that are no JSON object with distinct names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MembersError {
    /// Not one JSON object in UTF-8.
    NotAnObject,
    /// One name stands twice.
    Duplicate,
}

/// A member of another JSON type than asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WrongType;

const DUPLICATE: &str = "one member name stands twice";

impl<'a> Members<'a> {
    /// Reads a whole JSON text.
    pub(super) fn parse(json: &'a [u8]) -> Result<Self, MembersError> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let members = reader
            .deserialize_map(MembersVisitor)
            .map_err(|error| MembersError::of(&error))?;
        reader.end().map_err(|error| MembersError::of(&error))?;
        Ok(members)
    }

    /// Whether the member is there, with any value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The member's value, or none if it is not there. `null` is a value of its own type.
    pub(super) fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, WrongType> {
        let Some(raw) = self.0.get(name) else {
            return Ok(None);
        };
        serde_json::from_str(raw.get())
            .ok()
            .map(Some)
            .ok_or(WrongType)
    }

    /// The member's value as it stands in the text.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|raw| raw.get())
    }
}

impl MembersError {
    /// The two causes differ only in the text that the visitor below gave.
    fn of(error: &serde_json::Error) -> Self {
        if error.to_string().starts_with(DUPLICATE) {
            Self::Duplicate
        } else {
            Self::NotAnObject
        }
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members<'de>, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = access.next_entry::<String, &'de RawValue>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom(DUPLICATE));
            }
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_read_by_its_type_alone() {
        let members = Members::parse(br#" {"n": 7, "s": "x", "f": 7.0, "z": null} "#).unwrap();
        assert_eq!(members.get::<u64>("n"), Ok(Some(7)));
        assert_eq!(members.get::<String>("s"), Ok(Some("x".to_owned())));
        assert_eq!(members.get::<u64>("absent"), Ok(None));
        for name in ["s", "f", "z"] {
            assert_eq!(members.get::<u64>(name), Err(WrongType), "{name}");
        }
        assert_eq!(members.get::<String>("z"), Err(WrongType));
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_however_it_is_spelled() {
        for json in [
            r#"{"iss": 1, "iss": 1}"#,
            r#"{"iss": 1, "is\u0073": 2}"#,
            r#"{"": 1, "": 2}"#,
            r#"{"other": 1, "x": {}, "other": null}"#,
        ] {
            let error = Members::parse(json.as_bytes()).unwrap_err();
            assert_eq!(error, MembersError::Duplicate, "{json}");
        }
    }

    #[test]
    fn what_is_no_single_object_is_refused() {
        for json in [
            &b""[..],
            b"null",
            b"[]",
            b"\"x\"",
            b"{} {}",
            b"{}x",
            b"{\"a\": 01}",
            b"{\"a\": NaN}",
            b"{'a': 1}",
            b"{\"a\": 1,}",
            b"\xef\xbb\xbf{}",
            b"{\"a\": \"\xff\"}",
            b"{\"a\": \"\x01\"}",
        ] {
            let error = Members::parse(json).unwrap_err();
            assert_eq!(error, MembersError::NotAnObject, "{json:?}");
        }
    }

    #[test]
    fn a_value_nested_beyond_reason_is_no_crash() {
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(4000), "]".repeat(4000));
        let members = Members::parse(deep.as_bytes());
        assert!(members.is_err() || members.unwrap().get::<u64>("a").is_err());
    }
}
