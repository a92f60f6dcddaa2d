//! Tool definitions: what a tool is called, what it takes, what it needs, what it may touch.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::region::Jurisdiction;
use crate::scope::ScopeTemplate;

/// How bad a wrong call can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// Reads, or writes that are easily undone.
    Low,
    /// Writes that take work to undo.
    Medium,
    /// What cannot be undone, or moves money or access.
    High,
}

impl Risk {
    /// The name used in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// The data that a tool touches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataDeclaration {
    /// Data classes, e.g. `email`, `phone`, `name`.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Whose personal data it may be.
    #[serde(default)]
    pub jurisdictions: Vec<Jurisdiction>,
}

/// What a call costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// The ordinary cost of a call, in micro-USD.
    pub micro_usd: u64,
    /// The most that a call can cost, in micro-USD.
    pub max_micro_usd: u64,
}

/// An example call that the tool's own schema accepts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// What the example shows.
    pub title: String,
    /// The arguments.
    pub arguments: Map<String, Value>,
}

/// One version of a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ToolDefinition {
    /// 1 to 128 characters of `[A-Za-z0-9_.-]`.
    pub name: String,
    /// A short name for people.
    pub title: String,
    /// What it does, for people and models.
    pub description: String,
    /// Closed JSON Schema 2020-12 of the arguments.
    pub input_schema: Map<String, Value>,
    /// Closed JSON Schema 2020-12 of the structured result.
    pub output_schema: Map<String, Value>,
    /// At least one.
    pub examples: Vec<Example>,
    /// What the caller must hold.
    pub scope: ScopeTemplate,
    /// Whether a call changes anything.
    pub mutating: bool,
    /// How bad a wrong call can be.
    pub risk: Risk,
    /// What data it touches.
    pub data: DataDeclaration,
    /// What a call costs.
    pub cost: Cost,
    /// Whether repeating a call changes nothing more.
    pub idempotent: bool,
    /// Hosts that the tool calls on the caller's behalf.
    #[serde(default)]
    pub egress: Vec<String>,
}
