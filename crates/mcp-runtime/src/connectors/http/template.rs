//! Paths with arguments. An argument fills exactly one segment: it can never add another, climb out of
//! its place, or begin a query.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use crate::catalog::Violation;

/// Everything but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// Longer texts do not belong into a URL.
const MAX_BYTES: usize = 512;
/// Characters that some servers read as a dot, a slash or a backslash.
const LOOKALIKES: [char; 10] = [
    '\u{2024}', '\u{2025}', '\u{2026}', '\u{2044}', '\u{2215}', '\u{29f8}', '\u{fe52}', '\u{ff0e}',
    '\u{ff0f}', '\u{ff3c}',
];

/// A path whose segments are fixed or arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathTemplate(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Fixed(String),
    Argument(String),
}

impl PathTemplate {
    /// Reads a template; says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = text.strip_prefix('/').ok_or("must begin with `/`")?;
        rest.split('/')
            .map(segment)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The arguments that it needs, in their order.
    pub(super) fn arguments(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|segment| match segment {
            Segment::Fixed(_) => None,
            Segment::Argument(name) => Some(name.as_str()),
        })
    }

    /// The path with arguments that were checked.
    pub(super) fn fill(&self, arguments: &Map<String, Value>) -> Result<String, Violation> {
        let mut path = String::new();
        for segment in &self.0 {
            path.push('/');
            match segment {
                Segment::Fixed(text) => path.push_str(text),
                Segment::Argument(name) => {
                    let text = arguments.get(name).and_then(scalar);
                    let text = text.ok_or_else(|| violation(name, "must be a single value"))?;
                    check_segment(name, &text)?;
                    path.push_str(&encode(&text));
                }
            }
        }
        Ok(path)
    }
}

fn segment(text: &str) -> Result<Segment, &'static str> {
    if let Some(name) = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
    {
        return if name.is_empty() || name.contains(['{', '}']) {
            Err("has braces without one argument's name in them")
        } else {
            Ok(Segment::Argument(name.to_owned()))
        };
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&b);
    if !text.bytes().all(plain) {
        return Err(
            "may hold letters, digits and -._~!$&'()*+,;=:@ in a segment; an argument in braces \
             takes a whole segment, and a query belongs into `query`",
        );
    }
    if text == "." || text == ".." {
        return Err("must not have dot segments");
    }
    Ok(Segment::Fixed(text.to_owned()))
}

/// The text of a value that is neither a list nor an object.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// What may fill a segment. The rules repeat nothing of the value.
fn check_segment(name: &str, text: &str) -> Result<(), Violation> {
    check_text(name, text)?;
    if text.is_empty() || text == "." || text == ".." {
        return Err(violation(name, "must not be empty, `.` or `..`"));
    }
    let divides = |c: char| matches!(c, '/' | '\\' | '%') || LOOKALIKES.contains(&c);
    if text.contains(divides) {
        return Err(violation(
            name,
            "must not hold slashes, backslashes, percent signs or characters that look like them",
        ));
    }
    Ok(())
}

/// What may stand in a URL at all.
pub(super) fn check_text(name: &str, text: &str) -> Result<(), Violation> {
    if text.len() > MAX_BYTES {
        return Err(violation(name, "must be at most 512 bytes long"));
    }
    if text.chars().any(char::is_control) {
        return Err(violation(name, "must not hold control characters"));
    }
    Ok(())
}

/// Percent-encodes whatever is not unreserved.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

fn violation(field: &str, rule: &str) -> Violation {
    Violation {
        field: field.to_owned(),
        rule: rule.to_owned(),
        keyword: "portcullis-url".to_owned(),
    }
}
