//! Room 4: policy's verdict, the pool that the call runs in, and what has to be redacted.
//!
//! Default deny: without a published policy, or without a rule that allows, nothing runs. A permit
//! carries its call and cannot be copied: a permit for one call cannot run another, nor run twice.

mod facts;
mod ticket;

use std::sync::Arc;

use portcullis_domain::Pool;
use portcullis_domain::id::{Id, Ticket};
use portcullis_policy::{Decision, RedactionMode, Verdict};
use portcullis_redaction::{FieldRule, Mode};
use portcullis_wire::Slug;
use serde_json::Value;
use time::OffsetDateTime;

use facts::CallFacts;

use super::admit::Admitted;
use super::refusal::Refusal;
use super::validate::{Passage, Refused, ToolCall};
use crate::catalog::CompiledTool;
use crate::gate::Gate;
use crate::snapshot::{CatalogEntry, TenantSnapshot};

/// A call that policy permits, in the pool that was decided. Spent by being executed.
///
/// ```
/// use portcullis_mcp_runtime::rooms::decide::Permitted;
/// fn spend(permit: Permitted) -> Permitted {
///     permit
/// }
/// ```
///
/// It cannot be spent twice:
///
/// ```compile_fail,E0599
/// use portcullis_mcp_runtime::rooms::decide::Permitted;
/// fn spend(permit: Permitted) -> (Permitted, Permitted) {
///     (permit.clone(), permit)
/// }
/// ```
#[derive(Debug)]
pub struct Permitted {
    pub(in crate::rooms) call: ToolCall,
    pub(in crate::rooms) obligations: Vec<FieldRule>,
    pub(in crate::rooms) pool: Pool,
    /// The open change ticket that the call names, if it names one.
    pub(in crate::rooms) ticket: Option<Id<Ticket>>,
    pub(in crate::rooms) verdict: Decided,
}

/// What policy said, for the record.
#[derive(Debug, Clone)]
pub struct Decided {
    pub(in crate::rooms) rules: Vec<Arc<str>>,
    pub(in crate::rooms) route_rule: Option<Arc<str>>,
}

/// What became of a call in rooms 3 and 4.
#[derive(Debug)]
pub enum Fate {
    /// It may run.
    Permitted(Box<Permitted>),
    /// It may not.
    Refused(Box<Refused>, Option<Decided>),
}

/// Enters the room.
pub fn enter(gate: &Gate, call: ToolCall) -> Fate {
    let now = gate.clock.now();
    let snapshot = Arc::clone(&call.passage.admitted.snapshot);
    let Some(published) = &snapshot.policy else {
        let refusal = Refusal::new(
            Slug::PolicyDenied,
            "no policy is published, so nothing is allowed",
            "Ask an operator of the tenant to publish a policy.",
        );
        return refused(call.passage, refusal, None);
    };
    let found = pii_of(&call.passage.arguments);
    let arguments = call.passage.arguments.as_object();
    let ticket = arguments
        .and_then(|arguments| ticket::of_call(&snapshot, &call.tool.compiled, arguments, now));
    let facts = CallFacts {
        admitted: &call.passage.admitted,
        tool: &call.tool.compiled,
        binding: &call.tool.binding,
        arguments,
        ticket,
        pii_types: pii_types(&call.tool.compiled, &found),
        now,
    };
    let decision = published.policy.decide(&facts);
    let decided = Decided {
        rules: decision.rules.clone(),
        route_rule: decision.route.as_ref().map(|route| Arc::clone(&route.rule)),
    };
    let placed = place(gate, &call.passage, &snapshot, &decision);
    match (decision.verdict, placed) {
        (Verdict::Allow, Ok(pool)) => {
            let obligations = obligations(gate, &call, &decision);
            Fate::Permitted(Box::new(Permitted {
                call,
                obligations,
                pool,
                ticket,
                verdict: decided,
            }))
        }
        (Verdict::Allow, Err(refusal)) => refused(call.passage, refusal, Some(decided)),
        (Verdict::Deny | Verdict::RequireApproval, _) => {
            refused(call.passage, denied(decision), Some(decided))
        }
    }
}

fn refused(passage: Passage, refusal: Refusal, decided: Option<Decided>) -> Fate {
    Fate::Refused(Box::new(Refused { passage, refusal }), decided)
}

/// Whether a tool could be allowed to this caller with some arguments.
pub(in crate::rooms) fn may_allow(admitted: &Admitted, entry: &CatalogEntry) -> bool {
    let snapshot = &admitted.snapshot;
    let facts = CallFacts {
        admitted,
        tool: &entry.tool,
        binding: &entry.binding,
        arguments: None,
        ticket: None,
        pii_types: pii_types(&entry.tool, &[]),
        now: OffsetDateTime::UNIX_EPOCH,
    };
    snapshot
        .policy
        .as_ref()
        .is_some_and(|published| published.policy.may_allow(&facts))
}

fn denied(decision: Decision) -> Refusal {
    let slug = match decision.verdict {
        Verdict::RequireApproval => Slug::ApprovalRequired,
        Verdict::Allow | Verdict::Deny => Slug::PolicyDenied,
    };
    Refusal {
        slug,
        reason: decision.reason,
        rule: decision.rules.first().map(|rule| Box::from(rule.as_ref())),
        facts: decision.facts,
        remedy: decision.remedy,
        needed_scope: None,
    }
}

/// The pool: policy's route, else the region that the arguments name, else the tenant's home. A
/// route that contradicts the arguments refuses: other data than was asked for is no answer.
fn place(
    gate: &Gate,
    passage: &Passage,
    snapshot: &TenantSnapshot,
    decision: &Decision,
) -> Result<Pool, Refusal> {
    let named = passage
        .tool
        .as_ref()
        .and_then(|tool| gate.connectors.region(tool.to_ref(), &passage.arguments));
    let named = named.map(Pool::of);
    let pool = match (&decision.route, named) {
        (Some(route), Some(named)) if route.pool != named => {
            let region = route.pool.jurisdiction();
            let mut refusal = Refusal::new(
                Slug::PolicyDenied,
                format!(
                    "policy routes this call to {}, the arguments name the region {}",
                    route.pool,
                    named.jurisdiction()
                ),
                format!("Leave `region` out, or name {region}."),
            );
            refusal.rule = Some(Box::from(route.rule.as_ref()));
            return Err(refusal);
        }
        (Some(route), _) => route.pool,
        (None, Some(named)) => named,
        (None, None) => snapshot.home,
    };
    if !gate.regions.contains_key(&pool) {
        return Err(Refusal::new(
            Slug::NoPoolForRegion,
            format!("no pool {pool} is served here, and no other may stand in for it"),
            "Ask the platform's operator to configure the pool.",
        ));
    }
    let tool = passage.tool.as_ref();
    if tool.is_some_and(|tool| !gate.connectors.serves(tool.to_ref(), pool)) {
        return Err(Refusal::new(
            Slug::NoPoolForRegion,
            format!("the tool has no server for the pool {pool}, and no other may stand in for it"),
            "Ask an operator of the tenant to give the tool a base URL for the pool.",
        ));
    }
    Ok(pool)
}

fn obligations(gate: &Gate, call: &ToolCall, decision: &Decision) -> Vec<FieldRule> {
    let own = decision.redactions.iter().map(|redaction| FieldRule {
        field: redaction.field.clone(),
        mode: mode(redaction.mode),
    });
    let asked = gate
        .connectors
        .obligations(call.tool.to_ref(), &call.passage.arguments);
    own.chain(asked).collect()
}

const fn mode(asked: RedactionMode) -> Mode {
    match asked {
        RedactionMode::Mask => Mode::Mask,
        RedactionMode::Hash => Mode::Hash,
        RedactionMode::Tokenize => Mode::Tokenize,
        RedactionMode::Drop => Mode::Drop,
    }
}

fn pii_of(arguments: &Value) -> Vec<&'static str> {
    portcullis_redaction::contains_pii(arguments)
        .into_iter()
        .map(portcullis_redaction::Kind::as_str)
        .collect()
}

fn pii_types(tool: &CompiledTool, found: &[&'static str]) -> Vec<String> {
    let declared = tool.definition.data.classes.iter().map(String::as_str);
    let mut types: Vec<_> = declared
        .chain(found.iter().copied())
        .map(str::to_owned)
        .collect();
    types.sort_unstable();
    types.dedup();
    types
}
