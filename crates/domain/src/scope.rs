//! Purpose scopes: `resource.verb[:qualifier]`. There are no wildcards.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A concrete scope, `orders.read` or `flags.write:staging`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(String);

/// A text that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is not a scope: write resource.verb or resource.verb:qualifier in lower-case \
     letters, digits, - and _ (wildcards are refused)"
)]
pub struct ScopeError {
    given: String,
}

fn word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
}

impl Scope {
    /// The scope as it stands in a token.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a token's `scope` claim: scopes with one space between (RFC 6749 §3.3).
    ///
    /// # Errors
    /// Names the first entry that is no scope.
    pub fn parse_list(text: &str) -> Result<BTreeSet<Self>, ScopeError> {
        text.split_ascii_whitespace().map(str::parse).collect()
    }

    /// Writes scopes as a token's `scope` claim.
    pub fn join<'a>(scopes: impl IntoIterator<Item = &'a Self>) -> String {
        scopes
            .into_iter()
            .map(Self::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let (name, qualifier) = match text.split_once(':') {
            Some((name, qualifier)) => (name, Some(qualifier)),
            None => (text, None),
        };
        let named = name
            .split_once('.')
            .is_some_and(|(resource, verb)| word(resource) && word(verb));
        if named && qualifier.is_none_or(word) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ScopeError {
                given: text.chars().take(80).collect(),
            })
        }
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The scope that a tool needs, where a qualifier may name an argument: `flags.write:{env}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ScopeTemplate {
    text: String,
    argument: Option<String>,
}

impl ScopeTemplate {
    /// The template as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The argument that fills the qualifier, if any.
    pub fn argument(&self) -> Option<&str> {
        self.argument.as_deref()
    }

    /// The scope of one call. An argument that is absent, no string, or no qualifier gives `None`:
    /// such a call needs a scope that nobody can hold.
    pub fn fill(&self, arguments: &serde_json::Map<String, Value>) -> Option<Scope> {
        match &self.argument {
            None => self.text.parse().ok(),
            Some(name) => {
                let value = arguments.get(name)?.as_str()?;
                let prefix = self.text.split_once(':')?.0;
                format!("{prefix}:{value}").parse().ok()
            }
        }
    }

    /// Whether a scope could be what this template asks for with some arguments.
    pub fn admits(&self, scope: &Scope) -> bool {
        match &self.argument {
            None => scope.as_str() == self.text,
            Some(_) => {
                scope.as_str().split_once(':').map(|(name, _)| name)
                    == self.text.split_once(':').map(|(name, _)| name)
            }
        }
    }
}

impl FromStr for ScopeTemplate {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let bracketed = text
            .split_once(":{")
            .and_then(|(name, rest)| rest.strip_suffix('}').map(|argument| (name, argument)));
        if let Some((name, argument)) = bracketed {
            // The name must be a scope of its own, the argument a property name.
            name.parse::<Scope>()?;
            let plain = !argument.is_empty()
                && argument
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if plain && !name.contains(':') {
                return Ok(Self {
                    text: text.to_owned(),
                    argument: Some(argument.to_owned()),
                });
            }
            return Err(ScopeError {
                given: text.to_owned(),
            });
        }
        text.parse::<Scope>().map(|scope| Self {
            text: scope.0,
            argument: None,
        })
    }
}

impl Serialize for ScopeTemplate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ScopeTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn wildcards_and_nonsense_are_refused() {
        for text in [
            "*",
            "orders.*",
            "orders",
            "orders.read:",
            "Orders.read",
            "a.b:*",
            "a.b:c:d",
            "",
        ] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_template_is_filled_from_the_arguments() {
        let template: ScopeTemplate = "flags.write:{env}".parse().unwrap();
        let arguments = json!({"env": "staging"});
        let scope = template.fill(arguments.as_object().unwrap()).unwrap();
        assert_eq!(scope.as_str(), "flags.write:staging");
        assert!(template.admits(&scope));
        assert!(!template.admits(&"orders.read".parse().unwrap()));
    }

    #[test]
    fn an_argument_cannot_smuggle_a_second_scope() {
        let template: ScopeTemplate = "flags.write:{env}".parse().unwrap();
        for value in ["dev flags.write:prod", "*", "", "dev:prod"] {
            let arguments = json!({"env": value});
            assert_eq!(
                template.fill(arguments.as_object().unwrap()),
                None,
                "{value}"
            );
        }
    }
}
