//! Rules that every schema of a tool keeps: closed at each depth, self-contained, bounded.

use serde_json::{Map, Value};

/// The deepest nesting that a schema may have.
const MAX_DEPTH: usize = 32;

/// Why a schema was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaFault {
    /// An object that admits properties nobody declared.
    #[error(
        "{pointer}: an object schema must say `additionalProperties: false`, so that unknown \
         fields are refused"
    )]
    Open {
        /// JSON pointer of the object schema.
        pointer: String,
    },
    /// A reference that leaves the document.
    #[error("{pointer}: `$ref` may only be `#` or `#/$defs/…`")]
    RemoteReference {
        /// JSON pointer of the schema that refers.
        pointer: String,
    },
    /// A nesting deeper than is read.
    #[error("{pointer}: schemas may be nested at most {MAX_DEPTH} deep")]
    TooDeep {
        /// JSON pointer of the schema that is too deep.
        pointer: String,
    },
    /// A keyword that is not read here, and so not checked.
    #[error("{pointer}: the keyword `{keyword}` is not supported")]
    Keyword {
        /// JSON pointer of the schema.
        pointer: String,
        /// The keyword.
        keyword: String,
    },
    /// An array that does not say what its items are.
    #[error("{pointer}: an array schema must say what its `items` are")]
    Items {
        /// JSON pointer of the array schema.
        pointer: String,
    },
    /// A change ticket that is declared wrongly, or not on an argument.
    #[error("{pointer}: `x-ticket`: {rule}")]
    Ticket {
        /// JSON pointer of the schema.
        pointer: String,
        /// The rule that it breaks.
        rule: String,
    },
    /// A schema that accepts anything.
    #[error("{pointer}: `true` and `{{}}` accept anything; state the type")]
    Anything {
        /// JSON pointer of the empty schema.
        pointer: String,
    },
}

/// Checks a whole schema.
///
/// # Errors
/// Returns the first fault, with its JSON pointer.
pub(super) fn check(schema: &Map<String, Value>) -> Result<(), SchemaFault> {
    check_map(schema, "", 0)
}

/// Keywords that say something about a value or about the schema itself.
const PLAIN: [&str; 30] = [
    "$schema",
    "$id",
    "$ref",
    "$comment",
    "type",
    "enum",
    "const",
    "title",
    "description",
    "default",
    "examples",
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "required",
    "additionalProperties",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "deprecated",
    "x-data-class",
    "x-ticket",
];
/// Keywords that hold schemas by name.
const NAMED: [&str; 2] = ["properties", "$defs"];
/// Keywords that hold a list of schemas.
const LISTED: [&str; 4] = ["prefixItems", "anyOf", "oneOf", "allOf"];

fn check_map(schema: &Map<String, Value>, at: &str, depth: usize) -> Result<(), SchemaFault> {
    let pointer = || at.to_owned();
    if depth > MAX_DEPTH {
        return Err(SchemaFault::TooDeep { pointer: pointer() });
    }
    let read = |keyword: &&String| {
        let keyword = keyword.as_str();
        PLAIN.contains(&keyword)
            || NAMED.contains(&keyword)
            || LISTED.contains(&keyword)
            || keyword == "items"
    };
    if let Some(keyword) = schema.keys().find(|keyword| !read(keyword)) {
        let keyword = keyword.clone();
        return Err(SchemaFault::Keyword {
            pointer: pointer(),
            keyword,
        });
    }
    let target = schema.get("$ref").and_then(Value::as_str);
    if target.is_some_and(|target| target != "#" && !target.starts_with("#/$defs/")) {
        return Err(SchemaFault::RemoteReference { pointer: pointer() });
    }
    if may_be(schema, "object", "properties") && !is_closed(schema) {
        return Err(SchemaFault::Open { pointer: pointer() });
    }
    if may_be(schema, "array", "prefixItems") && !schema.contains_key("items") {
        return Err(SchemaFault::Items { pointer: pointer() });
    }
    // Only an argument can name a ticket; what it says is read elsewhere.
    if schema.contains_key("x-ticket") && (depth != 1 || !at.starts_with("/properties/")) {
        return Err(SchemaFault::Ticket {
            pointer: pointer(),
            rule: "only an argument of a tool can name a ticket".to_owned(),
        });
    }
    if accepts_anything(schema) {
        return Err(SchemaFault::Anything { pointer: pointer() });
    }
    check_members(schema, at, depth)
}

fn check_members(schema: &Map<String, Value>, at: &str, depth: usize) -> Result<(), SchemaFault> {
    for keyword in NAMED {
        if let Some(Value::Object(members)) = schema.get(keyword) {
            for (name, member) in members {
                check_value(member, &format!("{at}/{keyword}/{}", escape(name)), depth)?;
            }
        }
    }
    if let Some(member) = schema.get("items") {
        check_value(member, &format!("{at}/items"), depth)?;
    }
    for keyword in LISTED {
        if let Some(Value::Array(members)) = schema.get(keyword) {
            for (index, member) in members.iter().enumerate() {
                check_value(member, &format!("{at}/{keyword}/{index}"), depth)?;
            }
        }
    }
    Ok(())
}

fn check_value(schema: &Value, at: &str, depth: usize) -> Result<(), SchemaFault> {
    match schema {
        Value::Object(map) => check_map(map, at, depth.saturating_add(1)),
        Value::Bool(false) => Ok(()),
        Value::Bool(true) | Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(SchemaFault::Anything {
                pointer: at.to_owned(),
            })
        }
    }
}

fn may_be(schema: &Map<String, Value>, kind: &str, telltale: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(name)) => name == kind,
        Some(Value::Array(names)) => names.iter().any(|name| name == kind),
        _ => schema.contains_key(telltale),
    }
}

fn is_closed(schema: &Map<String, Value>) -> bool {
    schema.get("additionalProperties") == Some(&Value::Bool(false))
}

fn accepts_anything(schema: &Map<String, Value>) -> bool {
    const RESTRICTING: [&str; 7] = ["type", "enum", "const", "$ref", "anyOf", "oneOf", "allOf"];
    !RESTRICTING
        .iter()
        .any(|keyword| schema.contains_key(*keyword))
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Whether a keyword stands anywhere within a schema.
pub(super) fn mentions(schema: &Value, keyword: &str) -> bool {
    match schema {
        Value::Object(members) => {
            members.contains_key(keyword)
                || members.values().any(|member| mentions(member, keyword))
        }
        Value::Array(items) => items.iter().any(|item| mentions(item, keyword)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Writes the defaults of absent properties into an object, at every depth that is present.
pub(super) fn fill_defaults(schema: &Map<String, Value>, object: &mut Map<String, Value>) {
    let Some(Value::Object(properties)) = schema.get("properties") else {
        return;
    };
    for (name, property) in properties {
        let Value::Object(property) = property else {
            continue;
        };
        match object.get_mut(name) {
            Some(Value::Object(inner)) => fill_defaults(property, inner),
            Some(_) => {}
            None => {
                if let Some(default) = property.get("default") {
                    object.insert(name.clone(), default.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fault(schema: &Value) -> String {
        check(schema.as_object().unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn an_open_object_is_refused_at_any_depth() {
        let schema = json!({
            "type": "object", "additionalProperties": false,
            "properties": {"a": {"type": "array", "items": {"type": "object", "properties": {}}}}
        });
        assert!(fault(&schema).starts_with("/properties/a/items: an object schema must"));
    }

    #[test]
    fn what_would_let_undeclared_members_in_is_refused() {
        for (member, words) in [
            (json!({"type": "array"}), "must say what its `items` are"),
            (
                json!({"type": "object", "unevaluatedProperties": false}),
                "unevaluatedProperties",
            ),
            (
                json!({"type": "object", "additionalProperties": false,
                       "patternProperties": {".*": {"type": "string"}}}),
                "patternProperties",
            ),
            (
                json!({"type": "object", "additionalProperties": {"type": "string"}}),
                "must say",
            ),
            (json!({"$ref": "#/x-open"}), "`$ref`"),
            (json!({"type": "string", "if": {"const": "a"}}), "`if`"),
        ] {
            let schema = json!({
                "type": "object", "additionalProperties": false, "properties": {"a": member}
            });
            assert!(
                fault(&schema).contains(words),
                "{member}: {}",
                fault(&schema)
            );
        }
    }

    #[test]
    fn a_reference_to_elsewhere_is_refused() {
        let schema = json!({
            "type": "object", "additionalProperties": false,
            "properties": {"a": {"$ref": "https://example.com/schema.json"}}
        });
        assert!(fault(&schema).contains("/properties/a: `$ref`"));
    }

    #[test]
    fn a_schema_that_accepts_anything_is_refused() {
        for anything in [json!(true), json!({})] {
            let schema = json!({
                "type": "object", "additionalProperties": false, "properties": {"a": anything}
            });
            assert!(fault(&schema).contains("accept anything"));
        }
    }

    #[test]
    fn defaults_are_filled_at_depth_and_never_overwrite() {
        let schema = json!({"properties": {
            "a": {"default": 1}, "b": {"default": 2},
            "c": {"properties": {"d": {"default": [3]}}}
        }});
        let mut object = json!({"b": 7, "c": {}}).as_object().cloned().unwrap();
        fill_defaults(schema.as_object().unwrap(), &mut object);
        assert_eq!(
            Value::Object(object),
            json!({"a": 1, "b": 7, "c": {"d": [3]}})
        );
    }
}
