//! Versions of a tenant's policy. Their text is immutable; at most one is published.

use std::str::FromStr;

use portcullis_domain::Id;
use portcullis_domain::id::PolicyVersion;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::control::ControlTx;
use crate::error::{StoreError, sort};
use crate::row::{fixed, parse};

/// Where a version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyStatus {
    /// Written, never in force.
    Draft,
    /// In force.
    Published,
    /// Was in force.
    Superseded,
}

impl PolicyStatus {
    /// The name used in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Superseded => "superseded",
        }
    }
}

/// A text that is no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a policy version is draft, published or superseded")]
pub struct PolicyStatusError;

impl FromStr for PolicyStatus {
    type Err = PolicyStatusError;

    fn from_str(text: &str) -> Result<Self, PolicyStatusError> {
        [Self::Draft, Self::Published, Self::Superseded]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(PolicyStatusError)
    }
}

/// A version of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRow {
    /// Its id.
    pub id: Id<PolicyVersion>,
    /// Its number, from one.
    pub number: i64,
    /// The text.
    pub source: String,
    /// The SHA-256 of the text.
    pub sha256: [u8; 32],
    /// Where it stands.
    pub status: PolicyStatus,
    /// Who wrote it.
    pub created_by: String,
    /// When it was written.
    pub created_at: OffsetDateTime,
    /// Who published it last, if anybody did.
    pub published_by: Option<String>,
    /// When it was published last, if it was.
    pub published_at: Option<OffsetDateTime>,
    /// When it was superseded, if it is.
    pub superseded_at: Option<OffsetDateTime>,
}

/// A version to be drafted.
#[derive(Debug, Clone)]
pub struct NewPolicy<'a> {
    /// Its id.
    pub id: Id<PolicyVersion>,
    /// The text.
    pub source: &'a str,
    /// The SHA-256 of the text.
    pub sha256: [u8; 32],
    /// Who writes it.
    pub created_by: &'a str,
}

pub(crate) struct Raw {
    pub(crate) id: Uuid,
    pub(crate) number: i64,
    pub(crate) source: String,
    pub(crate) sha256: Vec<u8>,
    pub(crate) status: String,
    pub(crate) created_by: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) published_by: Option<String>,
    pub(crate) published_at: Option<OffsetDateTime>,
    pub(crate) superseded_at: Option<OffsetDateTime>,
}

impl Raw {
    pub(crate) fn read(self, operation: &'static str) -> Result<PolicyRow, StoreError> {
        Ok(PolicyRow {
            id: Id::from_row(self.id),
            number: self.number,
            source: self.source,
            sha256: fixed(operation, "sha256", self.sha256)?,
            status: parse(operation, "status", &self.status)?,
            created_by: self.created_by,
            created_at: self.created_at,
            published_by: self.published_by,
            published_at: self.published_at,
            superseded_at: self.superseded_at,
        })
    }
}

/// Writes a draft under the next number.
///
/// # Errors
/// `NotFound` where the tenant does not exist; `Conflict` where another draft took the number at the
/// same moment.
pub async fn draft(
    tx: &mut ControlTx,
    new: &NewPolicy<'_>,
    now: OffsetDateTime,
) -> Result<PolicyRow, StoreError> {
    let operation = "draft policy";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "insert into policy_versions (tenant_id, id, number, source, sha256, status, created_by,
                                      created_at)
         values ($1, $2, (select coalesce(max(number), 0) + 1 from policy_versions
                          where tenant_id = $1), $3, $4, 'draft', $5, $6)
         returning id, number, source, sha256, status, created_by, created_at, published_by,
                   published_at, superseded_at",
        tenant,
        new.id.as_uuid(),
        new.source,
        &new.sha256,
        new.created_by,
        now
    )
    .fetch_one(tx.connection())
    .await
    .map_err(sort(operation))?
    .read(operation)
}

/// Puts a version in force and supersedes the one that was. Publishing an older one again is a
/// rollback; publishing the one in force changes nothing.
///
/// # Errors
/// `NotFound` where there is no such version; `Conflict` where another was published at the same
/// moment.
pub async fn publish(
    tx: &mut ControlTx,
    number: i64,
    published_by: &str,
    now: OffsetDateTime,
) -> Result<PolicyRow, StoreError> {
    let operation = "publish policy";
    let tenant = tx.tenant().as_uuid();
    let asked = get(tx, number)
        .await?
        .ok_or(StoreError::NotFound { operation })?;
    if asked.status == PolicyStatus::Published {
        return Ok(asked);
    }
    sqlx::query!(
        "update policy_versions set status = 'superseded', superseded_at = $2
         where tenant_id = $1 and status = 'published'",
        tenant,
        now
    )
    .execute(tx.connection())
    .await
    .map_err(sort(operation))?;
    sqlx::query_as!(
        Raw,
        "update policy_versions set status = 'published', published_by = $3, published_at = $4,
                                    superseded_at = null
         where tenant_id = $1 and number = $2
         returning id, number, source, sha256, status, created_by, created_at, published_by,
                   published_at, superseded_at",
        tenant,
        number,
        published_by,
        now
    )
    .fetch_one(tx.connection())
    .await
    .map_err(sort(operation))?
    .read(operation)
}

/// The version in force, if any is.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn published(tx: &mut ControlTx) -> Result<Option<PolicyRow>, StoreError> {
    let operation = "read the published policy";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "select id, number, source, sha256, status, created_by, created_at, published_by,
                published_at, superseded_at
         from policy_versions where tenant_id = $1 and status = 'published'",
        tenant
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort(operation))?
    .map(|raw| raw.read(operation))
    .transpose()
}

/// As [`published`], and keeps every other publication waiting until the transaction ends: what it
/// gives is still in force when the transaction publishes. One that was superseded while it waited
/// counts as none.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn published_locked(tx: &mut ControlTx) -> Result<Option<PolicyRow>, StoreError> {
    let operation = "lock the published policy";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "select id, number, source, sha256, status, created_by, created_at, published_by,
                published_at, superseded_at
         from policy_versions where tenant_id = $1 and status = 'published' for update",
        tenant
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort(operation))?
    .map(|raw| raw.read(operation))
    .transpose()
}

/// A version by its number.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn get(tx: &mut ControlTx, number: i64) -> Result<Option<PolicyRow>, StoreError> {
    let operation = "read policy version";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "select id, number, source, sha256, status, created_by, created_at, published_by,
                published_at, superseded_at
         from policy_versions where tenant_id = $1 and number = $2",
        tenant,
        number
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort(operation))?
    .map(|raw| raw.read(operation))
    .transpose()
}

/// The versions below number `before`, newest first; without it, from the newest. At most 1,000.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list(
    tx: &mut ControlTx,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<PolicyRow>, StoreError> {
    let operation = "list policy versions";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "select id, number, source, sha256, status, created_by, created_at, published_by,
                published_at, superseded_at
         from policy_versions where tenant_id = $1 and ($2::bigint is null or number < $2)
         order by number desc limit $3",
        tenant,
        before,
        i64::from(limit.clamp(1, 1_000))
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort(operation))?
    .into_iter()
    .map(|raw| raw.read(operation))
    .collect()
}
