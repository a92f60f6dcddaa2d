//! Principals: the agents, people and services of a tenant. Each is also an OAuth client of the same
//! id, which is how a token request finds its tenant.

use std::str::FromStr;

use portcullis_domain::id::{Id, Principal};
use portcullis_domain::{Jurisdiction, PrincipalName};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::control::ControlTx;
use crate::error::{StoreError, sort};
use crate::row::{Page, parse};

/// Whether a principal may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrincipalStatus {
    /// It may.
    Active,
    /// It may not, until it is made active again.
    Suspended,
}

impl PrincipalStatus {
    /// The name used in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

/// A text that is no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a principal's status is active or suspended")]
pub struct PrincipalStatusError;

impl FromStr for PrincipalStatus {
    type Err = PrincipalStatusError;

    fn from_str(text: &str) -> Result<Self, PrincipalStatusError> {
        [Self::Active, Self::Suspended]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(PrincipalStatusError)
    }
}

/// A principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalRow {
    /// Its id, which is also its OAuth client id.
    pub id: Id<Principal>,
    /// Its name and type.
    pub name: PrincipalName,
    /// Whose law it falls under.
    pub region: Jurisdiction,
    /// Whether it may act.
    pub status: PrincipalStatus,
    /// Changes with each update.
    pub version: i64,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    pub updated_at: OffsetDateTime,
}

pub(crate) struct Raw {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) status: String,
    pub(crate) version: i64,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) updated_at: OffsetDateTime,
}

impl Raw {
    pub(crate) fn read(self, operation: &'static str) -> Result<PrincipalRow, StoreError> {
        Ok(PrincipalRow {
            id: Id::from_row(self.id),
            name: parse(operation, "name", &self.name)?,
            region: parse(operation, "region", &self.region)?,
            status: parse(operation, "status", &self.status)?,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

/// Makes a principal and the OAuth client of the same id.
///
/// # Errors
/// `Conflict` where the name is taken, `NotFound` where the tenant does not exist.
pub async fn create(
    tx: &mut ControlTx,
    id: Id<Principal>,
    name: &PrincipalName,
    region: Jurisdiction,
    now: OffsetDateTime,
) -> Result<PrincipalRow, StoreError> {
    let operation = "create principal";
    let tenant = tx.tenant().as_uuid();
    let raw = sqlx::query_as!(
        Raw,
        "insert into principals (tenant_id, id, name, type, region, status, created_at, updated_at)
         values ($1, $2, $3, $4, $5, 'active', $6, $6)
         returning id, name, region, status, version, created_at, updated_at",
        tenant,
        id.as_uuid(),
        name.as_str(),
        name.principal_type().as_str(),
        region.as_str(),
        now
    )
    .fetch_one(tx.connection())
    .await
    .map_err(sort(operation))?;
    sqlx::query!(
        "insert into oauth_clients (client_id, tenant_id) values ($1, $2)",
        id.as_uuid(),
        tenant
    )
    .execute(tx.connection())
    .await
    .map_err(sort(operation))?;
    raw.read(operation)
}

/// A principal by its id.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn get(
    tx: &mut ControlTx,
    id: Id<Principal>,
) -> Result<Option<PrincipalRow>, StoreError> {
    let operation = "read principal";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "select id, name, region, status, version, created_at, updated_at
         from principals where tenant_id = $1 and id = $2",
        tenant,
        id.as_uuid()
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort(operation))?
    .map(|raw| raw.read(operation))
    .transpose()
}

/// A principal by its name.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn by_name(
    tx: &mut ControlTx,
    name: &PrincipalName,
) -> Result<Option<PrincipalRow>, StoreError> {
    let operation = "look principal up by name";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "select id, name, region, status, version, created_at, updated_at
         from principals where tenant_id = $1 and name = $2",
        tenant,
        name.as_str()
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort(operation))?
    .map(|raw| raw.read(operation))
    .transpose()
}

/// The tenant's principals, in the order of their ids.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list(tx: &mut ControlTx, page: Page) -> Result<Vec<PrincipalRow>, StoreError> {
    let operation = "list principals";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "select id, name, region, status, version, created_at, updated_at
         from principals where tenant_id = $1 and ($2::uuid is null or id > $2)
         order by id limit $3",
        tenant,
        page.after,
        page.limit()
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort(operation))?
    .into_iter()
    .map(|raw| raw.read(operation))
    .collect()
}

/// Suspends a principal or makes it active, if it is still in the version that the caller read.
/// Without a version, whatever its version.
///
/// # Errors
/// `Stale` where it is in another version, `NotFound` where it does not exist.
pub async fn set_status(
    tx: &mut ControlTx,
    id: Id<Principal>,
    version: Option<i64>,
    status: PrincipalStatus,
    now: OffsetDateTime,
) -> Result<PrincipalRow, StoreError> {
    let operation = "set a principal's status";
    let tenant = tx.tenant().as_uuid();
    let changed = sqlx::query_as!(
        Raw,
        "update principals set status = $4, version = version + 1, updated_at = $5
         where tenant_id = $1 and id = $2 and ($3::bigint is null or version = $3)
         returning id, name, region, status, version, created_at, updated_at",
        tenant,
        id.as_uuid(),
        version,
        status.as_str(),
        now
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort(operation))?;
    match changed {
        Some(raw) => raw.read(operation),
        None if get(tx, id).await?.is_some() => Err(StoreError::Stale { operation }),
        None => Err(StoreError::NotFound { operation }),
    }
}
