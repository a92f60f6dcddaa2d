//! The tools that a policy is checked against.

use std::collections::BTreeMap;

use portcullis_domain::tool::Risk;
use serde_json::{Map, Value};

use crate::attribute::ArgumentPath;
use crate::schema::{self, Lookup};

/// What a policy needs to know of a tool.
#[derive(Debug, Clone, Copy)]
pub struct ToolShape<'a> {
    /// The tool's name.
    pub name: &'a str,
    /// Whether a call changes anything.
    pub mutating: bool,
    /// How bad a wrong call can be.
    pub risk: Risk,
    /// The closed JSON Schema of the arguments.
    pub input_schema: &'a Map<String, Value>,
}

/// A tenant's tools by name.
#[derive(Debug)]
pub(crate) struct Catalog<'a> {
    tools: BTreeMap<&'a str, ToolShape<'a>>,
}

impl<'a> Catalog<'a> {
    pub(crate) fn new(tools: &[ToolShape<'a>]) -> Self {
        Self {
            tools: tools.iter().map(|tool| (tool.name, *tool)).collect(),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&ToolShape<'a>> {
        self.tools.get(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> + Clone {
        self.tools.keys().copied()
    }

    pub(crate) fn tools(&self) -> impl Iterator<Item = &ToolShape<'a>> {
        self.tools.values()
    }
}

impl ToolShape<'_> {
    /// What the input schema says of an argument.
    pub(crate) fn argument(&self, path: &ArgumentPath) -> Lookup {
        schema::lookup(self.input_schema, path)
    }
}
