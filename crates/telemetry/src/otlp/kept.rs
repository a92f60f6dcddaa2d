//! What is kept of a call until its spans are made: the closed form, with what it borrows copied.

use std::time::Duration;

use portcullis_domain::id::{Id, Principal, Record, Tenant};
use portcullis_domain::observation::{
    Budget, CallEnd, CallSeen, PlanStep, PolicyDecision, Stage, TracePlace,
};
use portcullis_domain::{Pool, PrincipalType, SpanId};
use time::OffsetDateTime;

/// What is kept of a call.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(super) tenant: Id<Tenant>,
    pub(super) principal: Id<Principal>,
    pub(super) kind: PrincipalType,
    pub(super) scopes: String,
    pub(super) place: TracePlace,
    pub(super) span: SpanId,
    pub(super) arrived_at: OffsetDateTime,
    pub(super) took: Duration,
    pub(super) plan: Option<PlanStep>,
    pub(super) tool: Option<Box<str>>,
    pub(super) decision: PolicyDecision,
    pub(super) end: CallEnd,
    pub(super) problem: Option<&'static str>,
    pub(super) pii_count: Option<u32>,
    pub(super) key_hash: Option<[u8; 8]>,
    pub(super) pool: Option<Pool>,
    pub(super) budget: Budget,
    pub(super) record: Option<Id<Record>>,
    pub(super) policy: Option<Stage>,
    pub(super) service: Option<Stage>,
    pub(super) redaction: Option<Stage>,
}

impl Kept {
    pub(super) fn of(seen: &CallSeen<'_>) -> Self {
        let mut scopes = String::with_capacity(seen.actor.scopes.len() * 16);
        for scope in seen.actor.scopes {
            if !scopes.is_empty() {
                scopes.push(' ');
            }
            scopes.push_str(scope.as_str());
        }
        Self {
            tenant: seen.actor.tenant,
            principal: seen.actor.principal,
            kind: seen.actor.kind,
            scopes,
            place: seen.place,
            span: seen.span,
            arrived_at: seen.arrived_at,
            took: seen.took,
            plan: seen.plan,
            tool: seen.tool.map(Box::from),
            decision: seen.decision,
            end: seen.end,
            problem: seen.problem,
            pii_count: seen.pii_count,
            key_hash: seen.key_hash,
            pool: seen.pool,
            budget: seen.budget,
            record: seen.record,
            policy: seen.policy,
            service: seen.service,
            redaction: seen.redaction,
        }
    }
}
