//! What a tool's input schema says of an argument that a policy names.
//!
//! Reads generously where a schema is intricate (alternatives are joined): a literal that might be
//! right is not refused. The schema itself is enforced elsewhere.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::attribute::ArgumentPath;

/// How far references and alternatives are followed.
const MAX_DEPTH: usize = 16;

/// The most schemas that are looked at for one name.
const MAX_STEPS: usize = 512;

/// A type of JSON values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Type {
    Flag,
    Number,
    Text,
    List,
    Object,
}

impl Type {
    const ALL: [Self; 5] = [
        Self::Flag,
        Self::Number,
        Self::Text,
        Self::List,
        Self::Object,
    ];

    /// The type's name in JSON Schema.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "boolean",
            Self::Number => "number",
            Self::Text => "string",
            Self::List => "array",
            Self::Object => "object",
        }
    }

    /// The type of a value; null has none.
    pub(crate) const fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Null => None,
            Value::Bool(_) => Some(Self::Flag),
            Value::Number(_) => Some(Self::Number),
            Value::String(_) => Some(Self::Text),
            Value::Array(_) => Some(Self::List),
            Value::Object(_) => Some(Self::Object),
        }
    }
}

/// What a schema says of one argument.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// The types that it may have.
    pub(crate) types: BTreeSet<Type>,
    /// The only values that it may have, where they are listed.
    pub(crate) choices: Option<Vec<Value>>,
    /// What its items are, where it may be a list.
    pub(crate) items: Option<Box<Self>>,
    /// Whether every accepted call has it: it is required, or has a default.
    pub(crate) always_given: bool,
    /// What is filled in where it is not given.
    pub(crate) default: Option<Value>,
}

/// Where a path leads in a schema.
pub(crate) enum Lookup {
    /// To an argument.
    Found(Shape),
    /// Nowhere: the names that stand at the last place that exists.
    Missing { known: Vec<String> },
}

/// Follows a path through a tool's input schema.
pub(crate) fn lookup(root: &Map<String, Value>, path: &ArgumentPath) -> Lookup {
    let mut views = gather(root, [root]);
    let mut always_given = true;
    let mut default = None;
    for name in path.names() {
        let declared = property(&views, name);
        if declared.is_empty() {
            return Lookup::Missing {
                known: property_names(&views),
            };
        }
        default = declared.iter().find_map(|schema| schema.get("default"));
        always_given = always_given && (default.is_some() || is_required(&views, name));
        views = gather(root, declared);
    }
    let mut shape = describe(root, &views, 0);
    shape.always_given = always_given;
    shape.default = default.cloned();
    Lookup::Found(shape)
}

/// Gathers the plain schemas that a schema is made of, following references and alternatives.
struct Gathering<'s> {
    root: &'s Map<String, Value>,
    views: Vec<&'s Map<String, Value>>,
    /// Circular schemas may branch at each turn, so the steps are counted, not only the depth.
    steps_left: usize,
}

fn gather<'s>(
    root: &'s Map<String, Value>,
    schemas: impl IntoIterator<Item = &'s Map<String, Value>>,
) -> Vec<&'s Map<String, Value>> {
    let mut gathering = Gathering {
        root,
        views: Vec::new(),
        steps_left: MAX_STEPS,
    };
    for schema in schemas {
        gathering.visit(schema, 0);
    }
    gathering.views
}

impl<'s> Gathering<'s> {
    fn visit(&mut self, schema: &'s Map<String, Value>, depth: usize) {
        const OWN: [&str; 5] = ["type", "enum", "const", "properties", "items"];
        if depth > MAX_DEPTH || self.steps_left == 0 {
            return;
        }
        self.steps_left = self.steps_left.saturating_sub(1);
        let below = depth.saturating_add(1);
        let mut composed = false;
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            composed = true;
            if let Some(target) = local_target(self.root, target) {
                self.visit(target, below);
            }
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            let members = schema.get(keyword).and_then(Value::as_array);
            for member in members.into_iter().flatten().filter_map(Value::as_object) {
                composed = true;
                self.visit(member, below);
            }
        }
        for keyword in ["then", "else"] {
            if let Some(member) = schema.get(keyword).and_then(Value::as_object) {
                self.visit(member, below);
            }
        }
        if !composed || OWN.iter().any(|keyword| schema.contains_key(*keyword)) {
            self.views.push(schema);
        }
    }
}

fn local_target<'s>(root: &'s Map<String, Value>, target: &str) -> Option<&'s Map<String, Value>> {
    let pointer = target.strip_prefix('#')?;
    if pointer.is_empty() {
        return Some(root);
    }
    pointer
        .strip_prefix('/')?
        .split('/')
        .map(|name| name.replace("~1", "/").replace("~0", "~"))
        .try_fold(None, |at: Option<&'s Map<String, Value>>, name| {
            at.unwrap_or(root).get(&name)?.as_object().map(Some)
        })
        .flatten()
}

fn property<'s>(views: &[&'s Map<String, Value>], name: &str) -> Vec<&'s Map<String, Value>> {
    views
        .iter()
        .filter_map(|view| view.get("properties")?.as_object()?.get(name)?.as_object())
        .collect()
}

fn property_names(views: &[&Map<String, Value>]) -> Vec<String> {
    let names: BTreeSet<&String> = views
        .iter()
        .filter_map(|view| view.get("properties")?.as_object())
        .flat_map(Map::keys)
        .collect();
    names.into_iter().cloned().collect()
}

fn is_required(views: &[&Map<String, Value>], name: &str) -> bool {
    views
        .iter()
        .filter(|view| {
            view.get("properties")
                .and_then(|properties| properties.get(name))
                .is_some()
        })
        .all(|view| {
            let required = view.get("required").and_then(Value::as_array);
            required
                .into_iter()
                .flatten()
                .any(|entry| entry.as_str() == Some(name))
        })
}

fn describe(root: &Map<String, Value>, views: &[&Map<String, Value>], depth: usize) -> Shape {
    let types: BTreeSet<Type> = if views.is_empty() {
        Type::ALL.into_iter().collect()
    } else {
        views.iter().flat_map(|view| types_of(view)).collect()
    };
    let listed: Option<Vec<Vec<Value>>> = views.iter().map(|view| choices_of(view)).collect();
    let choices = listed
        .filter(|listed| !listed.is_empty())
        .map(|listed| listed.into_iter().flatten().collect());
    let item_schemas = views
        .iter()
        .filter_map(|view| view.get("items")?.as_object());
    let item_views = gather(root, item_schemas);
    let items = (!item_views.is_empty() && depth < MAX_DEPTH)
        .then(|| Box::new(describe(root, &item_views, depth.saturating_add(1))));
    Shape {
        types,
        choices,
        items,
        always_given: false,
        default: None,
    }
}

fn types_of(view: &Map<String, Value>) -> BTreeSet<Type> {
    let type_of = |name: &str| -> Option<Type> {
        match name {
            "boolean" => Some(Type::Flag),
            "number" | "integer" => Some(Type::Number),
            "string" => Some(Type::Text),
            "array" => Some(Type::List),
            "object" => Some(Type::Object),
            _ => None,
        }
    };
    match view.get("type") {
        Some(Value::String(name)) => type_of(name).into_iter().collect(),
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .filter_map(type_of)
            .collect(),
        Some(_) | None => match choices_of(view) {
            Some(choices) => choices.iter().filter_map(Type::of).collect(),
            None => Type::ALL.into_iter().collect(),
        },
    }
}

fn choices_of(view: &Map<String, Value>) -> Option<Vec<Value>> {
    if let Some(only) = view.get("const") {
        return Some(vec![only.clone()]);
    }
    if let Some(choices) = view.get("enum").and_then(Value::as_array) {
        return Some(choices.clone());
    }
    match view.get("type").and_then(Value::as_str) {
        Some("null") => Some(vec![Value::Null]),
        Some("boolean") => Some(vec![Value::Bool(false), Value::Bool(true)]),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::Attribute;
    use serde_json::json;

    fn look(schema: &Value, name: &str) -> Lookup {
        let Ok(Attribute::Args(path)) = Attribute::parse(name) else {
            panic!("a path");
        };
        lookup(schema.as_object().unwrap(), &path)
    }

    fn found(schema: &Value, name: &str) -> Shape {
        match look(schema, name) {
            Lookup::Found(shape) => shape,
            Lookup::Missing { known } => panic!("not found among {known:?}"),
        }
    }

    #[test]
    fn references_and_alternatives_are_followed() {
        let schema = json!({
            "type": "object",
            "properties": {
                "env": {"$ref": "#/$defs/env"},
                "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "customer": {"allOf": [{"$ref": "#/$defs/customer"}]}
            },
            "required": ["env"],
            "$defs": {
                "env": {"enum": ["dev", "prod"]},
                "customer": {"type": "object", "properties": {"tags": {"type": "array", "items": {"type": "string"}}}}
            }
        });
        let env = found(&schema, "args.env");
        assert_eq!(env.types, BTreeSet::from([Type::Text]));
        assert_eq!(env.choices, Some(vec![json!("dev"), json!("prod")]));
        assert!(env.always_given);
        let limit = found(&schema, "args.limit");
        assert_eq!(limit.types, BTreeSet::from([Type::Number]));
        assert!(limit.choices.is_none() && !limit.always_given);
        let tags = found(&schema, "args.customer.tags");
        assert_eq!(tags.items.unwrap().types, BTreeSet::from([Type::Text]));
    }

    #[test]
    fn a_free_text_beside_an_enumeration_is_not_closed() {
        let schema = json!({"type": "object", "properties": {
            "env": {"anyOf": [{"enum": ["dev"]}, {"type": "string"}]}
        }});
        assert_eq!(found(&schema, "args.env").choices, None);
    }

    #[test]
    fn circular_schemas_come_to_an_end() {
        let schema = json!({"$ref": "#", "anyOf": [{"$ref": "#"}, {"$ref": "#"}], "properties": {"a": {"$ref": "#/properties/a"}}});
        assert!(matches!(look(&schema, "args.b"), Lookup::Missing { .. }));
        assert!(matches!(look(&schema, "args.a"), Lookup::Found(_)));
    }

    #[test]
    fn a_path_that_leads_nowhere_names_what_is_there() {
        let schema = json!({"type": "object", "properties": {"env": {"type": "string"}, "name": {"type": "string"}}});
        let Lookup::Missing { known } = look(&schema, "args.enw") else {
            panic!("found");
        };
        assert_eq!(known, ["env", "name"]);
    }
}
