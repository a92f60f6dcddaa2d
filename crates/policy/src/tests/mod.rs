//! Truth tables, refusals, the shipped policies, and a naive interpreter as a second opinion.

mod decisions;
mod naive;
mod refusals;
mod shipped;
mod truth;
mod visibility;

use std::collections::BTreeMap;

use portcullis_domain::tool::Risk;
use serde_json::{Map, Value, json};

use crate::{Attribute, Fact, Facts, Policy, ToolShape, load};

/// The facts of a test: what is not named is absent; the text `?` is unknown.
pub(super) struct Call(BTreeMap<String, Value>);

impl Call {
    pub(super) fn new(facts: Value) -> Self {
        let Value::Object(facts) = facts else {
            panic!("facts are an object");
        };
        Self(facts.into_iter().collect())
    }
}

impl Facts for Call {
    fn fact(&self, attribute: &Attribute) -> Fact<'_> {
        match self.0.get(attribute.name()) {
            Some(Value::String(text)) if text == "?" => Fact::Unknown,
            Some(Value::Bool(flag)) => Fact::flag(*flag),
            Some(Value::Number(number)) => Fact::number(number.clone()),
            Some(value @ Value::String(_)) if matches!(attribute, Attribute::Args(_)) => {
                Fact::argument(Some(value))
            }
            Some(Value::String(text)) => Fact::text(text.as_str()),
            given => Fact::argument(given),
        }
    }
}

/// Input schemas of a few tools.
pub(super) struct Tools(Vec<(&'static str, bool, Risk, Map<String, Value>)>);

impl Tools {
    pub(super) fn new() -> Self {
        let schema = |value: Value| value.as_object().unwrap().clone();
        Self(vec![
            (
                "orders.export",
                false,
                Risk::Low,
                schema(json!({
                    "type": "object", "additionalProperties": false, "required": ["from", "to"],
                    "properties": {
                        "from": {"type": "string"}, "to": {"type": "string"},
                        "mask": {"type": "array", "items": {"enum": ["email", "phone"]}, "default": ["email"]},
                        "region": {"enum": ["EU", "US"]}
                    }
                })),
            ),
            (
                "orders.get",
                false,
                Risk::Low,
                schema(json!({
                    "type": "object", "additionalProperties": false, "required": ["order_id"],
                    "properties": {"order_id": {"type": "string"}}
                })),
            ),
            (
                "flag.set",
                true,
                Risk::Medium,
                schema(json!({
                    "type": "object", "additionalProperties": false,
                    "required": ["name", "env", "rolloutPct"],
                    "properties": {
                        "name": {"type": "string"},
                        "env": {"enum": ["dev", "staging", "prod"]},
                        "rolloutPct": {"type": "number", "minimum": 0, "maximum": 100},
                        "ticket": {"type": "string"},
                        "labels": {"type": "array", "items": {"type": "string"}},
                        "dry_run": {"type": "boolean", "default": false},
                        "owner": {"type": "object", "additionalProperties": false,
                            "properties": {"team": {"type": "string"}, "level": {"type": "integer"}}}
                    }
                })),
            ),
        ])
    }

    pub(super) fn shapes(&self) -> Vec<ToolShape<'_>> {
        self.0
            .iter()
            .map(|(name, mutating, risk, input_schema)| ToolShape {
                name,
                mutating: *mutating,
                risk: *risk,
                input_schema,
            })
            .collect()
    }
}

/// Loads against the tools above, and must.
pub(super) fn policy(source: &str) -> Policy {
    match load(source, &Tools::new().shapes()) {
        Ok(loaded) => loaded.policy,
        Err(diagnostics) => panic!("{source}\n{diagnostics:#?}"),
    }
}
