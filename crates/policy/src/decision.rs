//! What a policy decided, and why.

use std::sync::Arc;

use portcullis_domain::Pool;
use serde_json::{Map, Value};

use crate::rule::{RedactionMode, Verdict};

/// What a policy says of one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Whether it may run.
    pub verdict: Verdict,
    /// The rules that determined the verdict, in the order of the file. None where no rule allows.
    pub rules: Vec<Arc<str>>,
    /// Why, in words that may stand in a refusal.
    pub reason: String,
    /// What the deciding rules read. Texts of arguments and personal values are left out.
    pub facts: Map<String, Value>,
    /// What would lift a refusal.
    pub remedy: Option<String>,
    /// What has to be redacted from the result.
    pub redactions: Vec<Redaction>,
    /// Where it has to run, if a rule says so.
    pub route: Option<Route>,
}

/// A field that has to be redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redaction {
    /// A property's name or a dotted path.
    pub field: String,
    /// How.
    pub mode: RedactionMode,
    /// The rule that asks for it.
    pub rule: Arc<str>,
}

/// A field that a rule may have redacted, and where the rule stands in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedRedaction {
    /// The field, how, and the rule.
    pub redaction: Redaction,
    /// The rule's line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
}

/// Where a call has to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The pool.
    pub pool: Pool,
    /// The rule that says so.
    pub rule: Arc<str>,
}
