//! The JSON of intents and outcomes: flat, with what is not known left out, and back to the one
//! ending that the members fit.

use std::borrow::Cow;
use std::sync::Arc;

use portcullis_domain::id::{self, Id};
use portcullis_domain::{Jurisdiction, Pool};
use serde::{Deserialize, Serialize, Serializer};

use super::call::{Call, Payload};
use super::ending::{
    Answer, Basis, CallIntent, CallOutcome, Cost, Effect, Ending, Hold, Permit, PolicyVersion,
    Redaction, Route, Status, Verdict,
};
use crate::scalar::{Count, Label, Timestamp};

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
pub(super) struct IntentForm<'a> {
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
pub(super) struct OutcomeForm<'a> {
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
