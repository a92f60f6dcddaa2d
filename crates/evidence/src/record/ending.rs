//! What was decided about a call, the intent to have an effect, and how it ended. Each ending carries
//! exactly what is known by then: a refusal has no result, and nothing is executed without a permit.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_domain::id::{self, Id};
use portcullis_domain::{Jurisdiction, Pool};
use serde::{Deserialize, Serialize, Serializer};

use super::call::{Call, Payload};
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

/// The JSON of a decision.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DecisionForm<'a> {
    policy: PolicyVersion,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
    rules: Cow<'a, [Arc<str>]>,
    verdict: Verdict,
}

/// The JSON of a route. The jurisdiction is the pool's; it stands there for the reader.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteForm<'a> {
    jurisdiction: Jurisdiction,
    pool: Pool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rule: Option<Cow<'a, str>>,
}

/// The JSON of a cost.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CostForm {
    reserved_micro_usd: Count,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settled_micro_usd: Option<Count>,
}

/// The JSON of an intent.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IntentForm<'a> {
    call: Cow<'a, Call>,
    cost: CostForm,
    decision: DecisionForm<'a>,
    route: RouteForm<'a>,
}

/// The JSON of how a call ended.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusForm<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<Cow<'a, Label>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replay_of: Option<Id<id::Record>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<Payload>,
    status: Status,
}

/// The JSON of an outcome: flat, with what is not known left out.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutcomeForm<'a> {
    call: Cow<'a, Call>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cost: Option<CostForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decision: Option<DecisionForm<'a>>,
    duration_us: Count,
    ended_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    intent: Option<Id<id::Record>>,
    outcome: StatusForm<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redaction: Option<Cow<'a, Redaction>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    route: Option<RouteForm<'a>>,
}

impl<'a> DecisionForm<'a> {
    fn new(basis: &'a Basis, verdict: Verdict) -> Self {
        Self {
            policy: basis.policy,
            reason: basis.reason.as_deref().map(Cow::Borrowed),
            rules: Cow::Borrowed(&basis.rules),
            verdict,
        }
    }

    fn into_basis(self) -> Basis {
        Basis {
            policy: self.policy,
            reason: self.reason.as_deref().map(Arc::from),
            rules: self.rules.into_owned(),
        }
    }
}

impl<'a> RouteForm<'a> {
    fn new(route: &'a Route) -> Self {
        Self {
            jurisdiction: route.pool.jurisdiction(),
            pool: route.pool,
            rule: route.rule.as_deref().map(Cow::Borrowed),
        }
    }

    fn into_route(self) -> Route {
        Route {
            pool: self.pool,
            rule: self.rule.as_deref().map(Arc::from),
        }
    }
}

impl Serialize for CallIntent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        IntentForm {
            call: Cow::Borrowed(&self.call),
            cost: CostForm {
                reserved_micro_usd: self.reserved,
                settled_micro_usd: None,
            },
            decision: DecisionForm::new(&self.permit.basis, Verdict::Allow),
            route: RouteForm::new(&self.permit.route),
        }
        .serialize(serializer)
    }
}

// The two conversions from JSON take what they need and drop the rest. Nothing is lost by that: what
// they dropped is missing when `Record::parse` writes the record again, and so it is refused there.

impl TryFrom<IntentForm<'_>> for CallIntent {
    type Error = &'static str;

    fn try_from(form: IntentForm<'_>) -> Result<Self, Self::Error> {
        Ok(Self {
            call: form.call.into_owned(),
            permit: Permit {
                basis: form.decision.into_basis(),
                route: form.route.into_route(),
            },
            reserved: form.cost.reserved_micro_usd,
        })
    }
}

impl Serialize for CallOutcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut form = OutcomeForm {
            call: Cow::Borrowed(&self.call),
            cost: None,
            decision: None,
            duration_us: self.duration_us,
            ended_at: self.ended_at,
            intent: None,
            outcome: StatusForm {
                problem: None,
                replay_of: None,
                result: None,
                status: self.status(),
            },
            redaction: None,
            route: None,
        };
        form.fill(&self.ending);
        form.serialize(serializer)
    }
}

impl<'a> OutcomeForm<'a> {
    fn fill(&mut self, ending: &'a Ending) {
        match ending {
            Ending::Rejected { problem } => self.problem(problem),
            Ending::Denied {
                basis,
                hold,
                problem,
            } => {
                self.decision = Some(DecisionForm::new(basis, (*hold).into()));
                self.problem(problem);
            }
            Ending::Withheld {
                intent,
                permit,
                problem,
            } => {
                self.permit(permit);
                self.intent = *intent;
                self.problem(problem);
            }
            Ending::Replayed {
                answer,
                original,
                permit,
            } => {
                self.permit(permit);
                self.answer(answer);
                self.outcome.replay_of = Some(*original);
            }
            Ending::Executed {
                cost,
                effect,
                intent,
                permit,
            } => {
                self.permit(permit);
                self.intent = *intent;
                self.cost = Some(CostForm {
                    reserved_micro_usd: cost.reserved,
                    settled_micro_usd: Some(cost.settled),
                });
                self.effect(effect);
            }
        }
    }

    fn effect(&mut self, effect: &'a Effect) {
        match effect {
            Effect::Ok(answer) => self.answer(answer),
            Effect::Failed { answer, problem } => {
                self.problem(problem);
                if let Some(answer) = answer {
                    self.answer(answer);
                }
            }
            Effect::Cancelled { problem } => self.problem(problem),
            Effect::Abandoned | Effect::Unknown => {}
        }
    }

    fn permit(&mut self, permit: &'a Permit) {
        self.decision = Some(DecisionForm::new(&permit.basis, Verdict::Allow));
        self.route = Some(RouteForm::new(&permit.route));
    }

    fn problem(&mut self, problem: &'a Label) {
        self.outcome.problem = Some(Cow::Borrowed(problem));
    }

    fn answer(&mut self, answer: &'a Answer) {
        self.outcome.result = Some(answer.result);
        self.redaction = Some(Cow::Borrowed(&answer.redaction));
    }
}

impl TryFrom<OutcomeForm<'_>> for CallOutcome {
    type Error = &'static str;

    fn try_from(form: OutcomeForm<'_>) -> Result<Self, Self::Error> {
        let answer = match (form.outcome.result, form.redaction) {
            (Some(result), Some(redaction)) => Some(Answer {
                redaction: redaction.into_owned(),
                result,
            }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err("a result and its redaction stand together");
            }
        };
        let parts = Parts {
            status: form.outcome.status,
            problem: form.outcome.problem.map(Cow::into_owned),
            answer,
            cost: form.cost,
            intent: form.intent,
            original: form.outcome.replay_of,
        };
        let ending = match form.decision {
            None => Ending::Rejected {
                problem: parts.problem.ok_or(NO_PROBLEM)?,
            },
            Some(decision) => match decision.verdict {
                Verdict::Deny => parts.denied(decision, Hold::Deny)?,
                Verdict::RequireApproval => parts.denied(decision, Hold::RequireApproval)?,
                Verdict::Allow => parts.permitted(Permit {
                    basis: decision.into_basis(),
                    route: form
                        .route
                        .ok_or("an allowed call has a route")?
                        .into_route(),
                })?,
            },
        };
        Ok(Self {
            call: form.call.into_owned(),
            duration_us: form.duration_us,
            ended_at: form.ended_at,
            ending,
        })
    }
}

const NO_PROBLEM: &str = "a refusal or failure names its problem";
const NO_ANSWER: &str = "an answered call has a result";

/// The optional members of an outcome, on the way to the one ending that they fit.
struct Parts {
    status: Status,
    problem: Option<Label>,
    answer: Option<Answer>,
    cost: Option<CostForm>,
    intent: Option<Id<id::Record>>,
    original: Option<Id<id::Record>>,
}

impl Parts {
    fn denied(self, decision: DecisionForm<'_>, hold: Hold) -> Result<Ending, &'static str> {
        Ok(Ending::Denied {
            basis: decision.into_basis(),
            hold,
            problem: self.problem.ok_or(NO_PROBLEM)?,
        })
    }

    fn permitted(self, permit: Permit) -> Result<Ending, &'static str> {
        if let Some(original) = self.original {
            return Ok(Ending::Replayed {
                answer: self.answer.ok_or(NO_ANSWER)?,
                original,
                permit,
            });
        }
        let Some(cost) = self.cost else {
            return Ok(Ending::Withheld {
                intent: self.intent,
                permit,
                problem: self.problem.ok_or(NO_PROBLEM)?,
            });
        };
        let effect = match self.status {
            Status::Ok => Effect::Ok(self.answer.ok_or(NO_ANSWER)?),
            Status::Failed => Effect::Failed {
                answer: self.answer,
                problem: self.problem.ok_or(NO_PROBLEM)?,
            },
            Status::Cancelled => Effect::Cancelled {
                problem: self.problem.ok_or(NO_PROBLEM)?,
            },
            Status::Abandoned => Effect::Abandoned,
            Status::Unknown => Effect::Unknown,
            Status::Refused => return Err("a refused call has no cost"),
        };
        Ok(Ending::Executed {
            cost: Cost {
                reserved: cost.reserved_micro_usd,
                settled: cost
                    .settled_micro_usd
                    .ok_or("a call that ended is settled")?,
            },
            effect,
            intent: self.intent,
            permit,
        })
    }
}
