//! Room 7: what leaves is redacted: policy's fields, and personal data or secrets in everything that
//! the tool did not declare. Errors and refusals too.
//!
//! This is the only place that makes a [`Redacted`], and the rooms after it take nothing else.

use portcullis_domain::Pool;
use portcullis_evidence::Canonical;
use portcullis_redaction::{HashKey, Report, redact_json, redact_text};
use portcullis_wire::{Problem, Slug};
use serde_json::Value;

use super::claim::Seal;
use super::decide::Decided;
use super::execute::{Outcome, Ran};
use super::refusal::Refusal;
use super::validate::{KnownTool, Passage};
use crate::connectors::ToolError;
use crate::gate::Gate;

/// A call whose answer may be shown.
#[derive(Debug)]
pub struct Redacted {
    pub(in crate::rooms) passage: Passage,
    pub(in crate::rooms) seal: Seal,
    pub(in crate::rooms) decided: Option<Decided>,
    pub(in crate::rooms) pool: Option<Pool>,
    pub(in crate::rooms) report: Report,
    pub(in crate::rooms) shown: Shown,
}

/// What the caller will see.
#[derive(Debug)]
pub(in crate::rooms) enum Shown {
    /// The tool's result in canonical JSON, as it is committed to and as it is sent.
    Output(Canonical),
    /// A refusal.
    Refused(Refusal),
    /// A failure of the tool.
    Failed(Slug, Problem),
}

/// Enters the room.
pub fn enter(gate: &Gate, outcome: Outcome) -> Redacted {
    let Outcome {
        passage,
        seal,
        decided,
        pool,
        obligations,
        result,
    } = outcome;
    let (shown, report) = match result {
        Ran::Output(tool, mut output) => {
            let key = hash_key(gate, &passage);
            let declared = &tool.compiled.declared_output;
            let report = redact_json(&mut output, &obligations, declared, &key);
            match finish(&tool, &output) {
                Ok(canonical) => (Shown::Output(canonical), report),
                Err(error) => (failed(&error, &passage), Report::default()),
            }
        }
        Ran::Refused(refusal) => refused(refusal),
        Ran::Failed(error) => (failed(&error, &passage), Report::default()),
    };
    Redacted {
        passage,
        seal,
        decided,
        pool,
        report,
        shown,
    }
}

/// The output schema is checked on what is really sent.
fn finish(tool: &KnownTool, output: &Value) -> Result<Canonical, ToolError> {
    tool.compiled
        .check_output(output)
        .map_err(ToolError::MalformedResult)?;
    portcullis_evidence::canonical::of_value(output).map_err(ToolError::Canonical)
}

/// Tokens and hashes of one tenant say nothing about another's.
fn hash_key(gate: &Gate, passage: &Passage) -> HashKey {
    let tenant = passage.admitted.caller.tenant;
    HashKey::new(
        gate.keys
            .keyed_hash("redaction", tenant.as_uuid().as_bytes()),
    )
}

fn refused(mut refusal: Refusal) -> (Shown, Report) {
    let (reason, report) = redact_text(&refusal.reason);
    refusal.reason = reason.into_owned();
    if let Some(remedy) = &refusal.remedy {
        refusal.remedy = Some(redact_text(remedy).0.into_owned());
    }
    for fact in refusal.facts.values_mut() {
        if let Value::String(text) = fact {
            *text = redact_text(text).0.into_owned();
        }
    }
    (Shown::Refused(refusal), report)
}

fn failed(error: &ToolError, passage: &Passage) -> Shown {
    tracing::warn!(trace_id = %passage.trace_id, error = %crate::chain(error), "a tool failed");
    let slug = error.slug();
    let (detail, _) = redact_text(error.words());
    let problem = Problem::new(slug, detail).with_trace(passage.trace_id);
    Shown::Failed(slug, problem)
}
