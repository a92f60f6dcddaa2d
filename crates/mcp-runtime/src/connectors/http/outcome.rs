//! What a try came to, whether another may follow, and what a call came to in the end.
//!
//! It must never call an effect absent that an earlier try of the same call may have had.

use std::time::Duration;

use portcullis_egress::{EgressError, Response};
use serde_json::{Map, Value};

use super::tool::HttpTool;
use crate::connectors::ToolError;
use crate::connectors::destination::{Asking, refused};

/// No wait between tries is longer.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// What one try came to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It succeeded.
    Answered(Value),
    /// The server refused it and did nothing.
    Refused(u16),
    /// The server could not be reached, or may not be: nothing was sent.
    Unsent(EgressError),
    /// The request could not even be written.
    Unsendable,
    /// It was sent, and no whole answer came back.
    Broken(EgressError),
    /// The server answered with a status that leaves open what it did.
    Unclear(u16),
    /// The server said that it succeeded, and what it returned is no JSON.
    Malformed,
}

/// Why the outcome of a call cannot be known. Names no value.
#[derive(Debug, thiserror::Error)]
pub(super) enum Doubt {
    #[error("the upstream answered with the status {0}")]
    Status(u16),
    #[error("the upstream's answer is no JSON")]
    Malformed,
    #[error("an earlier try may have had an effect; the last one was refused with the status {0}")]
    RefusedLater(u16),
    #[error("an earlier try may have had an effect; the last one could not be sent")]
    UnsentLater(#[source] EgressError),
    #[error("the request cannot be written")]
    Unsendable,
}

impl Outcome {
    /// Reads an answer.
    pub(super) fn of(tool: &HttpTool, response: Response) -> Self {
        let status = response.status.as_u16();
        if tool.success.contains(&status) {
            return if response.body.is_empty() {
                Self::Answered(Value::Object(Map::new()))
            } else {
                serde_json::from_slice(&response.body).map_or(Self::Malformed, Self::Answered)
            };
        }
        match status {
            // The server gave up waiting for the request; whether it used a part, it does not say.
            408 => Self::Unclear(status),
            400..=499 => Self::Refused(status),
            // Also a redirect: `303` is how a server says that it is done.
            _ => Self::Unclear(status),
        }
    }

    /// Whether the same request can succeed a moment later.
    const fn is_passing(&self) -> bool {
        match self {
            Self::Refused(status) => *status == 429,
            Self::Unclear(status) => *status >= 500 || *status == 408,
            Self::Unsent(error) | Self::Broken(error) => !matches!(
                error,
                EgressError::Refused(_)
                    | EgressError::Request(_)
                    | EgressError::SetUp(_)
                    | EgressError::TooLarge { .. }
                    | EgressError::Encoded
                    | EgressError::Bomb { .. }
            ),
            Self::Answered(_) | Self::Unsendable | Self::Malformed => false,
        }
    }
}

/// The tries of one call.
#[derive(Debug)]
pub(super) struct Tries {
    left: u8,
    next_wait: Duration,
    repeatable: bool,
    /// Whether a try before this one may have had an effect.
    doubtful: bool,
    /// For the words of a refusal.
    tenant: String,
    tool: String,
}

impl Tries {
    pub(super) fn new(tool: &HttpTool) -> Self {
        Self {
            tenant: tool.tenant.clone(),
            tool: tool.name.clone(),
            left: tool.retries,
            next_wait: tool.backoff,
            repeatable: tool.repeatable,
            doubtful: false,
        }
    }

    /// The result of the call, or none yet: then another try follows after [`Self::wait`].
    pub(super) fn judge(&mut self, outcome: Outcome) -> Result<Value, Option<ToolError>> {
        let unsent = matches!(outcome, Outcome::Unsent(_));
        if self.left > 0 && outcome.is_passing() && (unsent || self.repeatable) {
            self.left = self.left.saturating_sub(1);
            self.doubtful |= matches!(outcome, Outcome::Broken(_) | Outcome::Unclear(_));
            return Err(None);
        }
        self.end(outcome).map_err(Some)
    }

    /// How long to wait before the next try.
    pub(super) fn wait(&mut self) -> Duration {
        let wait = self.next_wait.min(MAX_WAIT);
        self.next_wait = wait.saturating_mul(2);
        wait
    }

    fn end(&self, outcome: Outcome) -> Result<Value, ToolError> {
        let uncertain = |doubt: Doubt| ToolError::OutcomeUncertain(Box::new(doubt));
        Err(match outcome {
            Outcome::Answered(value) => return Ok(value),
            Outcome::Refused(status) if self.doubtful => uncertain(Doubt::RefusedLater(status)),
            Outcome::Refused(status) => ToolError::UpstreamRefused { status },
            Outcome::Unsent(error) if self.doubtful => uncertain(Doubt::UnsentLater(error)),
            Outcome::Unsent(EgressError::Refused(refusal)) => {
                let asking = Asking {
                    tenant: &self.tenant,
                    tool: &self.tool,
                    host: None,
                };
                ToolError::Refused(Box::new(refused(refusal, asking)))
            }
            Outcome::Unsent(error) => ToolError::UpstreamUnreachable(Box::new(error)),
            Outcome::Unsendable => ToolError::UpstreamUnreachable(Box::new(Doubt::Unsendable)),
            Outcome::Broken(error) => ToolError::OutcomeUncertain(Box::new(error)),
            Outcome::Unclear(status) => uncertain(Doubt::Status(status)),
            Outcome::Malformed => uncertain(Doubt::Malformed),
        })
    }
}

/// What the output schema declares of an answer. Servers add members as they like; what nobody
/// declared, nobody classified, so it goes no further.
pub(super) fn shown(schema: &Map<String, Value>, value: Value) -> Value {
    match value {
        Value::Object(members) => match schema.get("properties").and_then(Value::as_object) {
            None => Value::Object(members),
            Some(declared) => Value::Object(
                members
                    .into_iter()
                    .filter_map(|(name, member)| {
                        let schema = declared.get(&name)?;
                        Some((name, shown_by(schema, member)))
                    })
                    .collect(),
            ),
        },
        Value::Array(items) => match schema.get("items") {
            None => Value::Array(items),
            Some(schema) => Value::Array(
                items
                    .into_iter()
                    .map(|item| shown_by(schema, item))
                    .collect(),
            ),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn shown_by(schema: &Value, value: Value) -> Value {
    match schema.as_object() {
        Some(schema) => shown(schema, value),
        None => value,
    }
}
