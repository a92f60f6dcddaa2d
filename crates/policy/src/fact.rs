//! What is known of a call: the values that rules are held against.

use std::borrow::Cow;

use serde_json::{Number, Value};

use crate::attribute::Attribute;

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum FactValue<'a> {
    /// A boolean.
    Flag(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(Cow<'a, str>),
    /// A list of texts.
    Texts(Vec<Cow<'a, str>>),
    /// An argument as it came, defaults filled in.
    Json(&'a Value),
}

impl FactValue<'_> {
    /// The text, if it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Json(value) => value.as_str(),
            Self::Flag(_) | Self::Number(_) | Self::Texts(_) => None,
        }
    }
}

/// What is known of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact<'a> {
    /// Its value.
    Value(FactValue<'a>),
    /// It does not apply to this call, or is an argument that was not given.
    Absent,
    /// It applies, but could not be computed.
    Unknown,
}

impl<'a> Fact<'a> {
    /// A boolean.
    pub const fn flag(value: bool) -> Self {
        Self::Value(FactValue::Flag(value))
    }

    /// A whole number.
    pub fn number(value: impl Into<Number>) -> Self {
        Self::Value(FactValue::Number(value.into()))
    }

    /// A fraction. What is not finite is unknown.
    pub fn ratio(value: f64) -> Self {
        Number::from_f64(value).map_or(Self::Unknown, |number| {
            Self::Value(FactValue::Number(number))
        })
    }

    /// A text.
    pub fn text(value: impl Into<Cow<'a, str>>) -> Self {
        Self::Value(FactValue::Text(value.into()))
    }

    /// A list of texts.
    pub fn texts<T: Into<Cow<'a, str>>>(values: impl IntoIterator<Item = T>) -> Self {
        Self::Value(FactValue::Texts(
            values.into_iter().map(Into::into).collect(),
        ))
    }

    /// An argument. A null is as good as none.
    pub const fn argument(value: Option<&'a Value>) -> Self {
        match value {
            None | Some(Value::Null) => Self::Absent,
            Some(value) => Self::Value(FactValue::Json(value)),
        }
    }
}

/// Knows a call. Asked at most once a decision for each attribute, and only for those that a rule
/// reads, so what is dear to compute is computed only when it matters.
pub trait Facts {
    /// What is known of an attribute.
    fn fact(&self, attribute: &Attribute) -> Fact<'_>;
}
