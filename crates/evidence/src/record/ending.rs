//! What was decided about a call, the intent to have an effect, and how it ended. Each ending carries
//! exactly what is known by then: a refusal has no result, and nothing is executed without a permit.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_domain::Pool;
use portcullis_domain::id::{self, Id};
use serde::{Deserialize, Serialize};

use super::call::{Call, Payload};
use super::form::{IntentForm, OutcomeForm};
use crate::digest::Digest;
use crate::scalar::{Count, Label, MemberName, Timestamp};

/// The policy version that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyVersion {
    /// Its id.
    pub id: Id<id::PolicyVersion>,
    /// Its number within the tenant.
    pub number: Count,
    /// The digest of its source.
    pub sha256: Digest,
}

/// What a decision rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basis {
    /// The policy version.
    pub policy: PolicyVersion,
    /// The reason that the policy's author gave.
    pub reason: Option<Arc<str>>,
    /// The ids of the rules that decided, in file order; none where nothing allowed the call.
    pub rules: Vec<Arc<str>>,
}

/// Where a call runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The pool.
    pub pool: Pool,
    /// The rule that chose it; none where it is the tenant's home.
    pub rule: Option<Arc<str>>,
}

/// That policy allowed the call, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// What the decision rests on.
    pub basis: Basis,
    /// Where the call runs.
    pub route: Route,
}

/// How policy refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It denied the call.
    Deny,
    /// It asks for a person's approval.
    RequireApproval,
}

/// What policy decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The call may run.
    Allow,
    /// The call may not run.
    Deny,
    /// The call may run once a person approved it.
    RequireApproval,
}

impl Verdict {
    /// The name used in SQL, JSON and spans.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::RequireApproval => "require_approval",
        }
    }
}

impl From<Hold> for Verdict {
    fn from(hold: Hold) -> Self {
        match hold {
            Hold::Deny => Self::Deny,
            Hold::RequireApproval => Self::RequireApproval,
        }
    }
}

/// What a call cost, in micro-USD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// What was reserved before the call ran.
    pub reserved: Count,
    /// What was spent; never more.
    pub settled: Count,
}

/// How a field of an answer was hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The field was left out.
    Drop,
    /// Its value was replaced by a keyed hash.
    Hash,
    /// Its value was masked.
    Mask,
    /// Its value was replaced by a token.
    Tokenize,
}

/// What redaction found and hid in an answer. Counts and names only, never values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redaction {
    /// How many values of each kind of personal data were hidden.
    pub by_kind: BTreeMap<Label, Count>,
    /// The fields that policy hid, and how.
    pub fields: BTreeMap<MemberName, Mode>,
    /// How many values were hidden in all.
    pub pii_count: Count,
}

/// What the caller was answered, after redaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What redaction found and hid.
    pub redaction: Redaction,
    /// The answer.
    pub result: Payload,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The tool did its work and the caller was answered.
    Ok(Answer),
    /// The tool failed.
    Failed {
        /// What the caller was told of it, where something was.
        answer: Option<Answer>,
        /// The problem's slug.
        problem: Label,
    },
    /// The caller, the deadline or an operator stopped it.
    Cancelled {
        /// The problem's slug.
        problem: Label,
    },
    /// The replica died before any effect could begin.
    Abandoned,
    /// The replica died, or the answer was lost, when an effect may have begun.
    Unknown,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Refused before policy was asked: no such tool, a missing scope, unfit arguments, a switch.
    Rejected {
        /// The problem's slug.
        problem: Label,
    },
    /// Refused by policy.
    Denied {
        /// What the decision rests on.
        basis: Basis,
        /// How policy refused.
        hold: Hold,
        /// The problem's slug.
        problem: Label,
    },
    /// Allowed by policy, then refused before any effect: budget, idempotency, audit.
    Withheld {
        /// The intent, where one was recorded.
        intent: Option<Id<id::Record>>,
        /// What policy allowed.
        permit: Permit,
        /// The problem's slug.
        problem: Label,
    },
    /// Answered from the stored answer of an earlier call with the same idempotency key.
    Replayed {
        /// What the caller was answered.
        answer: Answer,
        /// The outcome of the earlier call.
        original: Id<id::Record>,
        /// What policy allowed.
        permit: Permit,
    },
    /// Executed.
    Executed {
        /// What it cost.
        cost: Cost,
        /// How the execution ended.
        effect: Effect,
        /// The intent, which a mutating call always has.
        intent: Option<Id<id::Record>>,
        /// What policy allowed.
        permit: Permit,
    },
}

/// How a call ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The replica died before any effect could begin.
    Abandoned,
    /// The caller, the deadline or an operator stopped it.
    Cancelled,
    /// The tool failed.
    Failed,
    /// The caller has its answer.
    Ok,
    /// Refused before any effect.
    Refused,
    /// An effect may have begun; nobody knows.
    Unknown,
}

impl Status {
    /// The name used in SQL, JSON and spans.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Abandoned => "abandoned",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// A call that policy allowed is about to have an effect.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "IntentForm<'static>")]
pub struct CallIntent {
    /// The call.
    pub call: Call,
    /// What policy allowed.
    pub permit: Permit,
    /// What was reserved, in micro-USD.
    pub reserved: Count,
}

/// A call is over. Each call that passed room 2 leaves exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "OutcomeForm<'static>")]
pub struct CallOutcome {
    /// The call.
    pub call: Call,
    /// How long it took, in microseconds, by a clock that never goes back.
    pub duration_us: Count,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How it ended.
    pub ending: Ending,
}

impl CallOutcome {
    /// What policy decided, where it was asked.
    pub fn verdict(&self) -> Option<Verdict> {
        match &self.ending {
            Ending::Rejected { .. } => None,
            Ending::Denied { hold, .. } => Some((*hold).into()),
            Ending::Withheld { .. } | Ending::Replayed { .. } | Ending::Executed { .. } => {
                Some(Verdict::Allow)
            }
        }
    }

    /// How the call ended, in one word.
    pub const fn status(&self) -> Status {
        match &self.ending {
            Ending::Rejected { .. } | Ending::Denied { .. } | Ending::Withheld { .. } => {
                Status::Refused
            }
            Ending::Replayed { .. } => Status::Ok,
            Ending::Executed { effect, .. } => match effect {
                Effect::Ok(_) => Status::Ok,
                Effect::Failed { .. } => Status::Failed,
                Effect::Cancelled { .. } => Status::Cancelled,
                Effect::Abandoned => Status::Abandoned,
                Effect::Unknown => Status::Unknown,
            },
        }
    }
}
