//! Claims of idempotency keys, and what a person found out about them.

use std::str::FromStr;

use portcullis_domain::Pool;
use portcullis_domain::id::{self, Id};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::schema;

/// Where a claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClaimState {
    /// Its call is under way.
    Claimed,
    /// Its call took effect.
    Done,
    /// Nobody knows whether its call took effect.
    Unknown,
}

impl ClaimState {
    /// The name used in JSON and the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Done => "done",
            Self::Unknown => "unknown",
        }
    }
}

/// A text that names no state of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a claim is claimed, done or unknown")]
pub struct ClaimStateError;

impl FromStr for ClaimState {
    type Err = ClaimStateError;

    fn from_str(text: &str) -> Result<Self, ClaimStateError> {
        [Self::Claimed, Self::Done, Self::Unknown]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(ClaimStateError)
    }
}

/// A principal's idempotency key for a tool, claimed by one mutating call. The key itself is kept
/// nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Claim {
    /// The claim's id.
    #[schema(value_type = schema::ClaimId)]
    pub id: Id<id::Claim>,
    /// Whose key it is.
    #[schema(value_type = schema::PrincipalId)]
    pub principal: Id<id::Principal>,
    /// For which tool.
    pub tool: String,
    /// Where it stands.
    pub state: ClaimState,
    /// Where the call runs.
    #[schema(value_type = schema::Pool)]
    pub pool: Pool,
    /// The record of the intent.
    #[schema(value_type = schema::RecordId)]
    pub intent: Id<id::Record>,
    /// The record that says how the call ended, once it has.
    #[schema(value_type = schema::RecordId)]
    pub outcome: Id<id::Record>,
    /// When the key was claimed.
    #[serde(with = "time::serde::rfc3339")]
    pub claimed_at: OffsetDateTime,
    /// Until when its replica holds it, unless it says that it is still there.
    #[serde(with = "time::serde::rfc3339")]
    pub lease_until: OffsetDateTime,
    /// When it was done, or became unknown.
    #[serde(with = "time::serde::rfc3339::option")]
    pub completed_at: Option<OffsetDateTime>,
    /// Who found out that it took effect, where somebody had to.
    pub resolved_by: Option<String>,
    /// What they said.
    pub resolved_reason: Option<String>,
}

/// What a person found out about a call whose outcome was unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// It took effect: a repeat is refused, and its answer is gone.
    Executed,
    /// It took no effect: the key is free.
    NotExecuted,
}

impl Finding {
    /// The name used in JSON and the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::NotExecuted => "not-executed",
        }
    }
}

/// A text that names no finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an outcome is executed or not-executed")]
pub struct FindingError;

impl FromStr for Finding {
    type Err = FindingError;

    fn from_str(text: &str) -> Result<Self, FindingError> {
        [Self::Executed, Self::NotExecuted]
            .into_iter()
            .find(|finding| finding.as_str() == text)
            .ok_or(FindingError)
    }
}

/// What ends the uncertainty of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolveClaim {
    /// What was found out in the system that was called.
    pub outcome: Finding,
    /// How it was found out: 1 to 200 characters.
    pub reason: String,
}

/// A claim that is unknown no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResolvedClaim {
    /// The claim's id.
    #[schema(value_type = schema::ClaimId)]
    pub id: Id<id::Claim>,
    /// Whose key it is.
    #[schema(value_type = schema::PrincipalId)]
    pub principal: Id<id::Principal>,
    /// For which tool.
    pub tool: String,
    /// What was found out.
    pub outcome: Finding,
    /// By whom.
    pub resolved_by: String,
    /// How.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_findings_survive_their_texts_and_others_are_none() {
        for state in [ClaimState::Claimed, ClaimState::Done, ClaimState::Unknown] {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for finding in [Finding::Executed, Finding::NotExecuted] {
            assert_eq!(finding.as_str().parse(), Ok(finding));
            assert_eq!(serde_json::to_value(finding).unwrap(), finding.as_str());
        }
        for text in ["", "Executed", "not_executed", "released"] {
            assert_eq!(text.parse::<ClaimState>(), Err(ClaimStateError));
            assert_eq!(text.parse::<Finding>(), Err(FindingError));
        }
    }
}
