//! The policy's field rules: which property, and what happens to it.
//!
//! A rule may match too much (a suffix, any case of ASCII letters), never too little.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What happens to a field, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A keyed pseudonym of its own in each field.
    Tokenize,
    /// A keyed pseudonym that is the same in every field.
    Hash,
    /// A mask of the same JSON type.
    Mask,
    /// The property is taken out.
    Drop,
}

impl Mode {
    /// The name used in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tokenize => "tokenize",
            Self::Hash => "hash",
            Self::Mask => "mask",
            Self::Drop => "drop",
        }
    }
}

/// The text is not a mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the redaction mode: write mask, hash, tokenize or drop")]
pub struct UnknownMode;

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        match text {
            "mask" => Ok(Self::Mask),
            "hash" => Ok(Self::Hash),
            "tokenize" => Ok(Self::Tokenize),
            "drop" => Ok(Self::Drop),
            _ => Err(UnknownMode),
        }
    }
}

/// One rule of the policy: `{field: "email", mode: "mask"}`.
///
/// `field` is the name of a property at any depth, or a dotted path (`customer.email`) that matches
/// where a property's path ends with it; arrays need no mark. Where several rules match, the strongest
/// mode wins.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldRule {
    /// The name or dotted path.
    pub field: String,
    /// What happens to it.
    pub mode: Mode,
}

/// A rule taken apart once a call.
#[derive(Debug)]
pub(crate) struct Rule<'r> {
    pub(crate) field: &'r str,
    /// The names of the path, the last first.
    pub(crate) names: Vec<&'r str>,
    pub(crate) mode: Mode,
}

impl<'r> Rule<'r> {
    /// Splits the path; `rows[].email` and `rows.email` are the same.
    pub(crate) fn new(rule: &'r FieldRule) -> Self {
        let names = rule
            .field
            .rsplit('.')
            .map(|name| name.trim_end_matches("[]"))
            .collect();
        Self {
            field: &rule.field,
            names,
            mode: rule.mode,
        }
    }

    /// The name of the property that the rule speaks of.
    pub(crate) fn name(&self) -> &'r str {
        self.names.first().copied().unwrap_or(self.field)
    }
}
