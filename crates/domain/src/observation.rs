//! What an operator may see of a call: who, what, how it was decided, how long each part took.
//!
//! A closed list, so that no argument, result, key, token or name that a caller wrote can come into a
//! span or a metric: there is no field for it.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;

use crate::id::{Id, Principal, Record, Tenant};
use crate::money::MicroUsd;
use crate::principal::PrincipalType;
use crate::region::Pool;
use crate::scope::Scope;
use crate::trace::{SpanId, TraceId, TraceParent};

/// What policy said of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyDecision {
    /// It was not asked, or could not say.
    None,
    /// It allowed the call.
    Allow,
    /// It denied it.
    Deny,
    /// It wants a person's approval first.
    RequireApproval,
}

impl PolicyDecision {
    /// Every decision.
    pub const ALL: [Self; 4] = [Self::None, Self::Allow, Self::Deny, Self::RequireApproval];

    /// The name in spans and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => crate::attribute::NONE,
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::RequireApproval => "require_approval",
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallEnd {
    /// The tool's result was answered.
    Answered,
    /// The stored answer of an earlier call with the same key was answered.
    Replayed,
    /// A room refused it.
    Refused,
    /// The tool failed, or was cut off.
    Failed,
    /// It could not be recorded, and so was not answered.
    Unrecorded,
}

impl CallEnd {
    /// Every ending.
    pub const ALL: [Self; 5] = [
        Self::Answered,
        Self::Replayed,
        Self::Refused,
        Self::Failed,
        Self::Unrecorded,
    ];

    /// The name in spans and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Replayed => "replayed",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unrecorded => "unrecorded",
        }
    }

    /// Whether the caller got what it asked for.
    pub const fn is_good(self) -> bool {
        match self {
            Self::Answered | Self::Replayed => true,
            Self::Refused | Self::Failed | Self::Unrecorded => false,
        }
    }
}

/// A part of a call's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// From the call's arrival to the part's start.
    pub after: Duration,
    /// How long the part took.
    pub took: Duration,
}

/// A place in the caller's plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanStep {
    /// How deeply plans are nested.
    pub depth: u32,
    /// How often the step was tried before.
    pub attempt: u32,
}

/// Whose call it is.
#[derive(Debug, Clone, Copy)]
pub struct ActorSeen<'a> {
    /// The tenant.
    pub tenant: Id<Tenant>,
    /// The principal.
    pub principal: Id<Principal>,
    /// What kind of actor it is.
    pub kind: PrincipalType,
    /// The scopes of its token.
    pub scopes: &'a BTreeSet<Scope>,
}

/// Where a call stands in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TracePlace {
    /// The caller's trace, else a new one.
    pub trace: TraceId,
    /// The caller's span, where it sent one.
    pub parent: Option<SpanId>,
    /// Whether the caller says that it keeps its own span.
    pub sampled: bool,
}

impl TracePlace {
    /// The beginning of a trace of our own.
    pub const fn new(trace: TraceId) -> Self {
        Self {
            trace,
            parent: None,
            sampled: false,
        }
    }
}

impl From<TraceParent> for TracePlace {
    fn from(sent: TraceParent) -> Self {
        Self {
            trace: sent.trace,
            parent: Some(sent.span),
            sampled: sent.sampled,
        }
    }
}

/// Money of a call. No replica knows what others spent: this is what the call's own record says, and what
/// was allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// What the record says that the call cost, where it ran.
    pub settled: Option<MicroUsd>,
    /// What the principal's day may cost.
    pub daily: MicroUsd,
}

/// A call that passed room 2, when it was over.
#[derive(Debug, Clone, Copy)]
pub struct CallSeen<'a> {
    /// Whose it is.
    pub actor: ActorSeen<'a>,
    /// Its place in the trace.
    pub place: TracePlace,
    /// The id of the span of the tool's work, which an upstream was told. Those of the other spans are
    /// made of it.
    pub span: SpanId,
    /// When it arrived.
    pub arrived_at: OffsetDateTime,
    /// From its arrival to its end.
    pub took: Duration,
    /// Its place in the caller's plan.
    pub plan: Option<PlanStep>,
    /// The tool, where the tenant's catalog has it.
    pub tool: Option<&'a str>,
    /// What policy said.
    pub decision: PolicyDecision,
    /// How it ended.
    pub end: CallEnd,
    /// The problem that ended it: a slug of the closed list.
    pub problem: Option<&'static str>,
    /// How many values were taken out of the answer.
    pub pii_count: Option<u32>,
    /// A keyed hash of the idempotency key.
    pub key_hash: Option<[u8; 8]>,
    /// Where it was placed.
    pub pool: Option<Pool>,
    /// Money.
    pub budget: Budget,
    /// Its record.
    pub record: Option<Id<Record>>,
    /// The policy's decision.
    pub policy: Option<Stage>,
    /// The tool's own work.
    pub service: Option<Stage>,
    /// Redaction.
    pub redaction: Option<Stage>,
    /// The record: signed, committed.
    pub recording: Option<Stage>,
}

/// A request that rooms 1 or 2, or the reading of it, turned away.
#[derive(Debug, Clone, Copy)]
pub struct TurnedAway {
    /// The tenant, where the caller proved that it may speak to it.
    pub tenant: Option<Id<Tenant>>,
    /// Its place in the trace.
    pub place: TracePlace,
    /// When it arrived.
    pub arrived_at: OffsetDateTime,
    /// How long it took to say no.
    pub took: Duration,
    /// The problem: a slug of the closed list.
    pub problem: &'static str,
}

/// Sees calls when they are over. It must be quick and must never wait: it is called on the way of
/// each call.
pub trait Observer: Send + Sync + fmt::Debug {
    /// A call that passed room 2 is over.
    fn call(&self, seen: &CallSeen<'_>);

    /// A request was turned away at the door.
    fn turned_away(&self, seen: &TurnedAway);
}

/// Sees nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn call(&self, _seen: &CallSeen<'_>) {}

    fn turned_away(&self, _seen: &TurnedAway) {}
}
