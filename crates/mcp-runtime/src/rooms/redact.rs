//! Room 7: what leaves is redacted: policy's fields, and personal data or secrets in everything that
//! the tool did not declare. Errors and refusals too.
//!
//! This is the only place that makes a [`Redacted`], and the rooms after it take nothing else.

use portcullis_domain::Pool;
use portcullis_domain::id::{Id, Record};
use portcullis_evidence::Canonical;
use portcullis_redaction::{FieldRule, HashKey, Report, redact_json, redact_text};
use portcullis_wire::{Problem, Slug};
use serde_json::Value;

use super::claim::{Kept, Lease, Seal};
use super::decide::Decided;
use super::execute::{Caused, Outcome, Ran};
use super::refusal::Refusal;
use super::validate::{KnownTool, Passage};
use crate::connectors::ToolError;
use crate::gate::Gate;
use crate::switchboard::UnderWay;

/// A call whose answer may be shown.
#[derive(Debug)]
pub struct Redacted {
    pub(in crate::rooms) passage: Passage,
    pub(in crate::rooms) seal: Seal,
    pub(in crate::rooms) decided: Option<Decided>,
    pub(in crate::rooms) pool: Option<Pool>,
    /// What policy and the arguments asked to be redacted.
    pub(in crate::rooms) obligations: Vec<FieldRule>,
    pub(in crate::rooms) lease: Option<Box<Lease>>,
    pub(in crate::rooms) caused: Caused,
    pub(in crate::rooms) under_way: Option<UnderWay>,
    pub(in crate::rooms) report: Report,
    pub(in crate::rooms) shown: Shown,
}

/// What the caller will see.
#[derive(Debug)]
pub(in crate::rooms) enum Shown {
    /// The tool's result.
    Output(Told),
    /// What an earlier call with the same key was answered, by its record.
    Replayed(Canonical, Id<Record>),
    /// A refusal.
    Refused(Refusal),
    /// A refusal of a call that policy allowed.
    Withheld(Refusal),
    /// A failure of the tool.
    Failed(Slug, Problem),
}

/// A result that may be shown.
#[derive(Debug)]
pub(in crate::rooms) struct Told {
    /// In canonical JSON, as it is committed to and as it is sent.
    pub(in crate::rooms) json: Canonical,
    /// A sentence for people, made of what is shown and nothing else.
    pub(in crate::rooms) summary: Option<String>,
}

/// Enters the room.
pub fn enter(gate: &Gate, outcome: Outcome) -> Redacted {
    let Outcome {
        passage,
        seal,
        decided,
        pool,
        obligations,
        lease,
        caused,
        under_way,
        result,
    } = outcome;
    let (shown, report) = match result {
        Ran::Output(tool, output) => shown(gate, &passage, &tool, output, &obligations)
            .map(|(told, report)| (Shown::Output(told), report)),
        Ran::Replayed(tool, kept) => Ok(replayed(gate, &passage, &tool, *kept, &obligations)),
        Ran::Refused(refusal) => Ok(refused(refusal, Shown::Refused)),
        Ran::Withheld(refusal) => Ok(refused(refusal, Shown::Withheld)),
        Ran::Failed(error) => Err(error),
    }
    .unwrap_or_else(|error| (failed(&error, &caused, &passage), Report::default()));
    Redacted {
        passage,
        seal,
        decided,
        pool,
        obligations,
        lease,
        caused,
        under_way,
        report,
        shown,
    }
}

/// Takes an answer back whose effect is not committed yet, where a switch stopped the call since: the
/// effect is rolled back.
pub(in crate::rooms) fn stop_pending(redacted: &mut Redacted) {
    let Caused::Pending(_) = redacted.caused else {
        return;
    };
    let stop = redacted.under_way.as_ref().and_then(UnderWay::stop);
    if let Some(stop) = stop {
        redacted.caused = Caused::Nothing;
        let error = ToolError::Stopped(stop);
        redacted.shown = failed(&error, &redacted.caused, &redacted.passage);
        redacted.report = Report::default();
    }
}

/// Redacts a result, and checks what is really sent against the output schema.
fn shown(
    gate: &Gate,
    passage: &Passage,
    tool: &KnownTool,
    mut output: Value,
    obligations: &[FieldRule],
) -> Result<(Told, Report), ToolError> {
    let key = hash_key(gate, passage);
    let declared = &tool.compiled.declared_output;
    let report = redact_json(&mut output, obligations, declared, &key);
    let told = Told {
        json: finish(tool, &output)?,
        summary: gate.connectors.summary(tool.to_ref(), &output),
    };
    Ok((told, report))
}

/// Redacts a stored answer further, where today's policy or arguments ask for more than was done. What
/// was done stays done: a pseudonym is not made of a pseudonym.
fn replayed(
    gate: &Gate,
    passage: &Passage,
    tool: &KnownTool,
    kept: Kept,
    obligations: &[FieldRule],
) -> (Shown, Report) {
    let more: Vec<_> = obligations
        .iter()
        .filter(|rule| !kept.redacted.contains(rule))
        .cloned()
        .collect();
    match shown(gate, passage, tool, kept.answer, &more) {
        Ok((told, report)) => (Shown::Replayed(told.json, kept.original), report),
        Err(error) => {
            tracing::warn!(trace_id = %passage.trace_id, error = %crate::chain(&error), "a stored answer cannot be shown");
            refused(unfit(), Shown::Withheld)
        }
    }
}

fn unfit() -> Refusal {
    Refusal::new(
        Slug::AnswerLost,
        "the call with this idempotency key took effect, and its answer may not be shown any more",
        "Read the present state with a tool that reads; use a new key only for a new call.",
    )
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

fn refused(mut refusal: Refusal, shown: fn(Refusal) -> Shown) -> (Shown, Report) {
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
    (shown(refusal), report)
}

fn failed(error: &ToolError, caused: &Caused, passage: &Passage) -> Shown {
    tracing::warn!(trace_id = %passage.trace_id, error = %crate::chain(error), "a tool failed");
    let (slug, words, remedy) = match caused {
        Caused::Unknown => (
            Slug::OutcomeUnknown,
            "the call broke off when it may already have taken effect",
            Some(
                "An operator of the tenant finds out and resolves the claim; do not repeat the call \
                 with another key before.",
            ),
        ),
        Caused::Nothing | Caused::Pending(_) | Caused::Done => (error.slug(), error.words(), None),
    };
    let (detail, _) = redact_text(words);
    let mut problem = Problem::new(slug, detail).with_trace(passage.trace_id);
    problem.remedy = remedy.map(str::to_owned);
    Shown::Failed(slug, problem)
}
