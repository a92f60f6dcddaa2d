//! What an operator may see of a call, gathered on its way through the rooms and told once it is over.
//!
//! It holds ids, the names that the tenant's catalog and policy give, and times. It must never hold an
//! argument, a result or anything else that the caller wrote.

use std::sync::Arc;

use portcullis_domain::id::{Id, Principal, Record, Tenant};
use portcullis_domain::observation::{
    ActorSeen, Budget, CallEnd, CallSeen, PlanStep, PolicyDecision, Stage, TracePlace,
};
use portcullis_domain::{Pool, PrincipalType, SpanId};
use portcullis_wire::Slug;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::admit::Admitted;
use super::claim::{Claimed, RecordFault, Step};
use super::decide::Fate;
use super::execute::{Outcome, span_of};
use super::record::{Recorded, SETTLED};
use super::redact::{Redacted, Shown};
use super::validate::{KnownTool, Passage};
use crate::catalog::CompiledTool;
use crate::gate::Gate;
use crate::token::VerifiedToken;

/// What was seen of a call so far.
#[derive(Debug)]
pub(super) struct Sight {
    tenant: Id<Tenant>,
    principal: Id<Principal>,
    kind: PrincipalType,
    token: Arc<VerifiedToken>,
    place: TracePlace,
    arrived: Instant,
    arrived_at: OffsetDateTime,
    plan: Option<PlanStep>,
    tool: Option<Arc<CompiledTool>>,
    decision: PolicyDecision,
    span: SpanId,
    record: Option<Id<Record>>,
    key_hash: Option<[u8; 8]>,
    pool: Option<Pool>,
    pii_count: Option<u32>,
    budget: Budget,
    policy: Option<Stage>,
    service: Option<Stage>,
    redaction: Option<Stage>,
    since: Instant,
}

impl Sight {
    /// An admitted call.
    pub(super) fn of(
        gate: &Gate,
        admitted: &Admitted,
        place: TracePlace,
        arrived: Instant,
    ) -> Self {
        let caller = &admitted.caller;
        let now = Instant::now();
        Self {
            tenant: caller.tenant,
            principal: caller.principal,
            kind: caller.name.principal_type(),
            token: Arc::clone(admitted.token()),
            place,
            arrived,
            arrived_at: gate.clock.now() - now.saturating_duration_since(arrived),
            plan: admitted.plan.as_ref().map(|plan| PlanStep {
                depth: plan.depth,
                attempt: plan.attempt,
            }),
            tool: None,
            decision: PolicyDecision::None,
            span: of_trace(place),
            record: None,
            key_hash: None,
            pool: None,
            pii_count: None,
            budget: Budget {
                settled: None,
                daily: admitted.snapshot().limits(caller.principal).daily_cost,
            },
            policy: None,
            service: None,
            redaction: None,
            since: now,
        }
    }

    /// Marks the beginning of the next part.
    pub(super) fn begin(&mut self) {
        self.since = Instant::now();
    }

    fn stage(&self) -> Stage {
        Stage {
            after: self.since.saturating_duration_since(self.arrived),
            took: self.since.elapsed(),
        }
    }

    /// Rooms 3 and 4 are over. Policy was asked only by a call that room 3 let through.
    pub(super) fn decided(&mut self, fate: &Fate, asked: bool) {
        if asked {
            self.policy = Some(self.stage());
        }
        let passage: &Passage = match fate {
            Fate::Permitted(permitted) => {
                self.decision = PolicyDecision::Allow;
                self.pool = Some(permitted.pool);
                &permitted.call.passage
            }
            Fate::Refused(refused, _) => {
                if asked {
                    self.decision = if refused.refusal.slug == Slug::ApprovalRequired {
                        PolicyDecision::RequireApproval
                    } else {
                        PolicyDecision::Deny
                    };
                }
                &refused.passage
            }
        };
        self.tool = passage
            .tool
            .as_ref()
            .map(|KnownTool { compiled, .. }| Arc::clone(compiled));
    }

    /// Room 5 is over.
    pub(super) fn claimed(&mut self, claimed: &Claimed) {
        self.record = Some(claimed.seal.record);
        self.key_hash = claimed.seal.key_hash;
        let lease = match &claimed.step {
            Step::Run(_, lease) => lease.as_deref(),
            Step::Replay(..) | Step::Withhold(..) | Step::Refuse(..) => None,
        };
        self.span = span_of(lease.map_or(claimed.seal.record, |lease| lease.intent));
    }

    /// Room 6 is over. Only a call that began work there has a part of it.
    pub(super) fn executed(&mut self, outcome: &Outcome) {
        if outcome.under_way.is_some() {
            self.service = Some(self.stage());
            self.budget.settled = Some(SETTLED);
        }
    }

    /// Room 7 is over.
    pub(super) fn redacted(&mut self, redacted: &Redacted) {
        self.redaction = Some(self.stage());
        self.pii_count = Some(redacted.report.pii_count);
    }

    /// The call is over: told to whoever observes.
    pub(super) fn close(self, gate: &Gate, recorded: &Result<Recorded, RecordFault>) {
        let (end, problem) = match recorded {
            Ok(recorded) => end(&recorded.shown),
            Err(fault) => (CallEnd::Unrecorded, Some(fault.slug())),
        };
        // Room 8 was entered only by a call that left room 7.
        let recording = self.redaction.is_some().then(|| self.stage());
        gate.observer.call(&CallSeen {
            actor: ActorSeen {
                tenant: self.tenant,
                principal: self.principal,
                kind: self.kind,
                scopes: self.token.scopes(),
            },
            place: self.place,
            span: self.span,
            arrived_at: self.arrived_at,
            took: self.arrived.elapsed(),
            plan: self.plan,
            tool: self.tool.as_ref().map(|tool| tool.definition.name.as_str()),
            decision: self.decision,
            end,
            problem: problem.map(Slug::as_str),
            pii_count: self.pii_count,
            key_hash: self.key_hash,
            pool: self.pool,
            budget: self.budget,
            record: self.record.filter(|_| recorded.is_ok()),
            policy: self.policy,
            service: self.service,
            redaction: self.redaction,
            recording,
        });
    }
}

fn end(shown: &Shown) -> (CallEnd, Option<Slug>) {
    match shown {
        Shown::Output(_) => (CallEnd::Answered, None),
        Shown::Replayed(..) => (CallEnd::Replayed, None),
        Shown::Refused(refusal) | Shown::Withheld(refusal) => {
            (CallEnd::Refused, Some(refusal.slug))
        }
        Shown::Failed(slug, _) => (CallEnd::Failed, Some(*slug)),
    }
}

/// The span of a call that never got a record: half of its trace's id, turned, so that it is not that
/// of another call of the trace which has one.
fn of_trace(place: TracePlace) -> SpanId {
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(place.trace.as_bytes().iter().rev()) {
        *to = *from ^ 0xa5;
    }
    SpanId::from_bytes(bytes)
}
