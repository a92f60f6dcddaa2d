//! A claim as the database holds it.

use std::fmt;
use std::str::FromStr;

use portcullis_domain::Pool;
use portcullis_domain::id::{Claim, Id, Principal, Record, Replica};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::StoreError;
use crate::row::{fixed, parse};

/// Where a claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimState {
    /// Its call is under way, or its replica died and nobody closed it yet.
    Claimed,
    /// Its call took effect.
    Done,
    /// Nobody knows whether its call took effect.
    Unknown,
}

impl ClaimState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Claimed, Self::Done, Self::Unknown];

    /// The name used in SQL and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Done => "done",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ClaimState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no claim's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a claim is claimed, done or unknown")]
pub struct ClaimStateError;

impl FromStr for ClaimState {
    type Err = ClaimStateError;

    fn from_str(text: &str) -> Result<Self, ClaimStateError> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(ClaimStateError)
    }
}

/// A claimed key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRow {
    /// The claim's id.
    pub id: Id<Claim>,
    /// Whose key it is.
    pub principal: Id<Principal>,
    /// For which tool.
    pub tool: String,
    /// A keyed hash of what the key came with.
    pub fingerprint: [u8; 32],
    /// The id of the intent's record.
    pub intent: Id<Record>,
    /// The id of the outcome's record.
    pub outcome: Id<Record>,
    /// The canonical intent, where the call runs in another pool.
    pub canonical_intent: Option<Vec<u8>>,
    /// Where the call runs.
    pub pool: Pool,
    /// Whether its effect is in a transaction of that pool.
    pub transactional: bool,
    /// Where the claim stands.
    pub state: ClaimState,
    /// Who runs the call.
    pub replica: Id<Replica>,
    /// Until when it is held.
    pub lease_until: OffsetDateTime,
    /// When the key was claimed.
    pub created_at: OffsetDateTime,
    /// When it was done, or became unknown.
    pub completed_at: Option<OffsetDateTime>,
    /// Who found out that it took effect, if somebody had to.
    pub resolved_by: Option<String>,
    /// What they said.
    pub resolved_reason: Option<String>,
}

pub(super) struct Raw {
    pub(super) id: Uuid,
    pub(super) principal_id: Uuid,
    pub(super) tool: String,
    pub(super) fingerprint: Vec<u8>,
    pub(super) intent_id: Uuid,
    pub(super) outcome_id: Uuid,
    pub(super) intent: Option<Vec<u8>>,
    pub(super) pool: String,
    pub(super) transactional: bool,
    pub(super) state: String,
    pub(super) replica_id: Uuid,
    pub(super) lease_until: OffsetDateTime,
    pub(super) created_at: OffsetDateTime,
    pub(super) completed_at: Option<OffsetDateTime>,
    pub(super) resolved_by: Option<String>,
    pub(super) resolved_reason: Option<String>,
}

impl Raw {
    pub(super) fn read(self, operation: &'static str) -> Result<ClaimRow, StoreError> {
        Ok(ClaimRow {
            id: Id::from_row(self.id),
            principal: Id::from_row(self.principal_id),
            tool: self.tool,
            fingerprint: fixed(operation, "fingerprint", self.fingerprint)?,
            intent: Id::from_row(self.intent_id),
            outcome: Id::from_row(self.outcome_id),
            canonical_intent: self.intent,
            pool: parse(operation, "pool", &self.pool)?,
            transactional: self.transactional,
            state: parse(operation, "state", &self.state)?,
            replica: Id::from_row(self.replica_id),
            lease_until: self.lease_until,
            created_at: self.created_at,
            completed_at: self.completed_at,
            resolved_by: self.resolved_by,
            resolved_reason: self.resolved_reason,
        })
    }
}
