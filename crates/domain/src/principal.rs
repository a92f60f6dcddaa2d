//! Who acts: `agent:copilot`, `user:dana`, `service:billing`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What kind of actor a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalType {
    /// A program that decides by itself what to call.
    Agent,
    /// A person.
    User,
    /// A program that does what it was written to do.
    Service,
}

impl PrincipalType {
    /// The name used before the colon, in SQL, JSON and spans.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::User => "user",
            Self::Service => "service",
        }
    }
}

/// A principal's name within its tenant, with its type: 1 to 128 characters in all; after the
/// colon, ASCII letters, digits and `._-@`, beginning with a letter or a digit.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrincipalName {
    text: String,
}

impl PrincipalName {
    /// The whole name, `agent:copilot`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The type before the colon.
    pub fn principal_type(&self) -> PrincipalType {
        match self.text.split(':').next() {
            Some("agent") => PrincipalType::Agent,
            Some("user") => PrincipalType::User,
            _ => PrincipalType::Service,
        }
    }
}

impl fmt::Display for PrincipalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PrincipalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text that is no principal's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a principal is written agent:, user: or service: and then letters, digits and ._-@ \
     beginning with a letter or a digit, at most 128 characters in all"
)]
pub struct PrincipalNameError;

impl FromStr for PrincipalName {
    type Err = PrincipalNameError;

    fn from_str(text: &str) -> Result<Self, PrincipalNameError> {
        let (kind, name) = text.split_once(':').ok_or(PrincipalNameError)?;
        let known = matches!(kind, "agent" | "user" | "service");
        let starts_well = name
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
        if !known || !starts_well || text.len() > 128 || !name.bytes().all(allowed) {
            return Err(PrincipalNameError);
        }
        Ok(Self {
            text: text.to_owned(),
        })
    }
}

impl Serialize for PrincipalName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for PrincipalName {
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
    fn names_keep_their_type() {
        let name: PrincipalName = "agent:copilot".parse().unwrap();
        assert_eq!(name.principal_type(), PrincipalType::Agent);
        assert_eq!(name.as_str(), "agent:copilot");
    }

    #[test]
    fn names_outside_the_rule_are_refused() {
        let long = format!("agent:{}", "x".repeat(123));
        for text in [
            "copilot",
            "robot:x",
            "agent:",
            "agent:-x",
            "agent:a b",
            "agent:é",
            &long,
        ] {
            assert!(text.parse::<PrincipalName>().is_err(), "{text}");
        }
    }
}
