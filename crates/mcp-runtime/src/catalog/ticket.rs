//! Which argument of a tool names a change ticket, and which arguments such a ticket binds.
//!
//! `"x-ticket": {"binds": ["name", "env"]}` on a property of the input schema makes it the one that
//! names a ticket. What a ticket binds is compared by the hash of its RFC 8785 form and in no other
//! way; personal data cannot be bound, since tickets lie in the control database.

use jsonschema::Validator;
use portcullis_domain::ToolDefinition;
use portcullis_evidence::{Digest, canonical};
use serde_json::{Map, Value, json};

use super::compiled::{DefinitionError, Violation, compile, violation};
use super::schema::{self, SchemaFault};

/// The keyword.
const KEYWORD: &str = "x-ticket";
/// The most arguments that a ticket binds.
const MAX_BINDS: usize = 16;

/// The argument of a tool that names a change ticket.
#[derive(Debug)]
pub struct TicketArgument {
    name: String,
    binds: Vec<String>,
    /// The input schema, cut down to what is bound.
    schema: Map<String, Value>,
    validator: Validator,
}

impl TicketArgument {
    /// Reads it from a definition, whose schemas are checked already.
    pub(super) fn read(definition: &ToolDefinition) -> Result<Option<Self>, DefinitionError> {
        let input = &definition.input_schema;
        let named = find(input).map_err(|fault| DefinitionError::Schema {
            field: "inputSchema",
            fault,
        })?;
        let Some((name, binds)) = named else {
            return Ok(None);
        };
        let schema = bound_schema(input, &binds);
        let validator = compile("inputSchema", &schema)?;
        Ok(Some(Self {
            name,
            binds,
            schema,
            validator,
        }))
    }

    /// The argument's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The arguments that a ticket binds.
    pub fn binds(&self) -> &[String] {
        &self.binds
    }

    /// The ticket that a call names, as it came.
    pub fn given<'a>(&self, arguments: &'a Map<String, Value>) -> Option<&'a str> {
        arguments.get(&self.name)?.as_str()
    }

    /// What a call, its defaults filled in, has in the bound arguments: of all of them, else nothing.
    pub fn bound(&self, arguments: &Map<String, Value>) -> Option<Map<String, Value>> {
        let pair = |name: &String| Some((name.clone(), arguments.get(name)?.clone()));
        self.binds.iter().map(pair).collect()
    }

    /// Checks the values that a ticket shall bind: all of them, no others, each as the tool's schema
    /// accepts it. Gives them as a call would have them, with the defaults of their members.
    ///
    /// # Errors
    /// Names the argument and the rule.
    pub fn check(&self, mut bound: Map<String, Value>) -> Result<Map<String, Value>, Violation> {
        let missing = self.binds.iter().find(|name| !bound.contains_key(*name));
        if let Some(name) = missing {
            return Err(Violation {
                field: name.clone(),
                rule: format!(
                    "`{name}` is required; a ticket binds {}",
                    self.binds.join(", ")
                ),
                keyword: "required".to_owned(),
            });
        }
        schema::fill_defaults(&self.schema, &mut bound);
        let bound = Value::Object(bound);
        self.validator.validate(&bound).map_err(violation)?;
        match bound {
            Value::Object(bound) => Ok(bound),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Ok(Map::new()),
        }
    }
}

/// The hash by which a tool and bound values are compared; none where they have no canonical form.
pub fn fingerprint(tool: &str, bound: &Map<String, Value>) -> Option<Digest> {
    canonical::canonical_sha256(&json!({ "arguments": bound, "tool": tool })).ok()
}

/// The property with the keyword and the arguments that it binds.
fn find(input: &Map<String, Value>) -> Result<Option<(String, Vec<String>)>, SchemaFault> {
    let Some(properties) = input.get("properties").and_then(Value::as_object) else {
        return Ok(None);
    };
    let mut marked = properties
        .iter()
        .filter_map(|(name, property)| Some((name, property, property.get(KEYWORD)?)));
    let Some((name, property, mark)) = marked.next() else {
        return Ok(None);
    };
    let fault = |rule: &str| SchemaFault::Ticket {
        pointer: format!("/properties/{name}"),
        rule: rule.to_owned(),
    };
    if marked.next().is_some() {
        return Err(fault("only one argument can name the ticket"));
    }
    if property.get("type").and_then(Value::as_str) != Some("string") {
        return Err(fault("the argument that names the ticket must be a string"));
    }
    let binds = binds(mark).ok_or_else(|| {
        fault("it must be {\"binds\": […]}, with 1 to 16 names of other arguments, each once")
    })?;
    for bound in &binds {
        let Some(property) = properties.get(bound).filter(|_| bound != name) else {
            return Err(fault("it can bind other arguments of the schema alone"));
        };
        // What a reference leads to is one of the definitions.
        let referred = schema::mentions(property, "$ref").then(|| input.get("$defs"));
        let personal = std::iter::once(property)
            .chain(referred.flatten())
            .any(|schema| schema::mentions(schema, "x-data-class"));
        if personal {
            return Err(fault("it cannot bind personal data"));
        }
    }
    Ok(Some((name.clone(), binds)))
}

fn binds(mark: &Value) -> Option<Vec<String>> {
    let mark = mark.as_object().filter(|mark| mark.len() == 1)?;
    let names = mark.get("binds")?.as_array()?;
    let mut binds: Vec<String> = names
        .iter()
        .map(|name| name.as_str().map(str::to_owned))
        .collect::<Option<_>>()?;
    binds.sort_unstable();
    binds.dedup();
    let whole = !binds.is_empty() && binds.len() == names.len() && binds.len() <= MAX_BINDS;
    whole.then_some(binds)
}

fn bound_schema(input: &Map<String, Value>, binds: &[String]) -> Map<String, Value> {
    let mut schema = input.clone();
    // Conditions on other arguments say nothing of these, and would refuse all of them.
    for keyword in [
        "anyOf",
        "oneOf",
        "allOf",
        "minProperties",
        "maxProperties",
        "examples",
        "default",
    ] {
        schema.remove(keyword);
    }
    schema.insert("type".to_owned(), Value::from("object"));
    schema.insert("additionalProperties".to_owned(), Value::from(false));
    schema.insert("required".to_owned(), binds.into());
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.retain(|name, _| binds.contains(name));
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::CompiledTool;
    use crate::connectors::native;

    fn definition(properties: Value) -> ToolDefinition {
        let mut definition = native::definitions().remove(0);
        definition.name = "things.change".to_owned();
        definition.examples.truncate(1);
        definition.examples[0].arguments = Map::new();
        let schema =
            json!({"type": "object", "additionalProperties": false, "properties": properties});
        definition.input_schema = schema.as_object().unwrap().clone();
        definition
    }

    fn tool(properties: Value) -> CompiledTool {
        CompiledTool::new(definition(properties)).unwrap()
    }

    fn refusal(properties: Value) -> String {
        CompiledTool::new(definition(properties))
            .unwrap_err()
            .to_string()
    }

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn with_ticket() -> CompiledTool {
        tool(json!({
            "count": {"type": "number", "minimum": 0},
            "place": {
                "type": "object", "additionalProperties": false,
                "properties": {"zone": {"type": "string", "default": "a"}}
            },
            "note": {"type": "string"},
            "change": {"type": "string", "x-ticket": {"binds": ["place", "count"]}},
        }))
    }

    #[test]
    fn a_schema_without_the_keyword_names_no_ticket() {
        assert!(tool(json!({"a": {"type": "string"}})).ticket.is_none());
    }

    #[test]
    fn equal_values_are_equal_however_they_are_written() {
        let tool = with_ticket();
        let ticket = tool.ticket.as_ref().unwrap();
        let opened = ticket
            .check(object(json!({"place": {}, "count": 10})))
            .unwrap();
        let mut call = object(json!({"note": "n", "count": 10.0, "place": {}, "change": "tkt_1"}));
        tool.fill_defaults(&mut call);
        assert_eq!(ticket.given(&call), Some("tkt_1"));
        let bound = ticket.bound(&call).unwrap();
        assert_eq!(bound.len(), 2);
        let of = |bound: &Map<String, Value>| fingerprint("things.change", bound).unwrap();
        assert_eq!(of(&opened), of(&bound));
        assert_ne!(
            fingerprint("things.other", &bound),
            fingerprint("things.change", &bound)
        );
    }

    #[test]
    fn other_values_and_missing_ones_are_not_bound() {
        let tool = with_ticket();
        let ticket = tool.ticket.as_ref().unwrap();
        let opened = ticket
            .check(object(json!({"place": {"zone": "a"}, "count": 10})))
            .unwrap();
        for call in [
            json!({"place": {"zone": "b"}, "count": 10}),
            json!({"place": {"zone": "a"}, "count": 10.5}),
            json!({"place": {"zone": "a"}, "count": "10"}),
        ] {
            let bound = ticket.bound(&object(call)).unwrap();
            assert_ne!(fingerprint("t", &bound), fingerprint("t", &opened));
        }
        assert_eq!(ticket.bound(&object(json!({"count": 10}))), None);
        assert_eq!(ticket.given(&object(json!({"count": 10}))), None);
    }

    #[test]
    fn a_ticket_binds_exactly_what_the_schema_says_and_accepts() {
        let tool = with_ticket();
        let ticket = tool.ticket.as_ref().unwrap();
        for (bound, words) in [
            (json!({"place": {}}), "count: `count` is required"),
            (json!({}), "is required; a ticket binds count, place"),
            (
                json!({"place": {}, "count": 1, "note": "n"}),
                "unknown field `note`",
            ),
            (
                json!({"place": {}, "count": 1, "change": "t"}),
                "unknown field `change`",
            ),
            (
                json!({"place": {}, "count": -1}),
                "count: must be at least 0",
            ),
            (
                json!({"place": {"evil": 1}, "count": 1}),
                "unknown field `evil`",
            ),
        ] {
            let told = ticket.check(object(bound.clone())).unwrap_err().to_string();
            assert!(told.contains(words), "{bound}: {told}");
        }
    }

    #[test]
    fn a_keyword_that_does_not_hold_is_refused_by_its_place() {
        let text = || json!({"type": "string"});
        let mark = |binds: Value| json!({"type": "string", "x-ticket": binds});
        for (properties, words) in [
            (json!({"a": text(), "t": mark(json!({}))}), "/properties/t"),
            (
                json!({"a": text(), "t": mark(json!({"binds": []}))}),
                "1 to 16",
            ),
            (
                json!({"a": text(), "t": mark(json!({"binds": ["a", "a"]}))}),
                "each once",
            ),
            (
                json!({"a": text(), "t": mark(json!({"binds": ["a"], "x": 1}))}),
                "it must be",
            ),
            (
                json!({"a": text(), "t": mark(json!({"binds": ["b"]}))}),
                "other arguments",
            ),
            (
                json!({"a": text(), "t": mark(json!({"binds": ["t"]}))}),
                "other arguments",
            ),
            (
                json!({"a": text(), "t": {"type": "integer", "x-ticket": {"binds": ["a"]}}}),
                "must be a string",
            ),
            (
                json!({"a": text(), "t": mark(json!({"binds": ["a"]})), "u": mark(json!({"binds": ["a"]}))}),
                "only one",
            ),
            (
                json!({"a": {"type": "string", "x-data-class": "email"}, "t": mark(json!({"binds": ["a"]}))}),
                "personal data",
            ),
            (
                json!({"a": {"type": "object", "additionalProperties": false,
                       "properties": {"t": mark(json!({"binds": ["a"]}))}}}),
                "`x-ticket`",
            ),
        ] {
            let told = refusal(properties.clone());
            assert!(told.contains(words), "{properties}: {told}");
        }
    }

    #[test]
    fn an_output_schema_names_no_ticket() {
        let mut definition = definition(json!({"a": {"type": "string"}}));
        definition.output_schema = object(json!({
            "type": "object", "additionalProperties": false,
            "properties": {"a": {"type": "string"}, "t": {"type": "string", "x-ticket": {"binds": ["a"]}}}
        }));
        let told = CompiledTool::new(definition).unwrap_err().to_string();
        assert!(told.contains("`outputSchema`"), "{told}");
    }
}
