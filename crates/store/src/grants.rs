//! Grants: what a principal may ask for. A grant is never edited, only revoked.

use portcullis_domain::Scope;
use portcullis_domain::id::{Grant, Id, Principal};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::control::ControlTx;
use crate::error::{StoreError, sort};
use crate::row::{Page, expect_one, parse};

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRow {
    /// Its id.
    pub id: Id<Grant>,
    /// Who holds it.
    pub principal: Id<Principal>,
    /// What it permits asking for.
    pub scope: Scope,
    /// What for, if it is bound to a purpose.
    pub purpose: Option<String>,
    /// Who granted it.
    pub granted_by: String,
    /// When it was granted.
    pub created_at: OffsetDateTime,
    /// When it ends, if ever.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<OffsetDateTime>,
}

/// A grant to be made.
#[derive(Debug, Clone)]
pub struct NewGrant<'a> {
    /// Its id.
    pub id: Id<Grant>,
    /// Who shall hold it.
    pub principal: Id<Principal>,
    /// What it permits asking for.
    pub scope: &'a Scope,
    /// What for, if it is bound to a purpose.
    pub purpose: Option<&'a str>,
    /// Who grants it.
    pub granted_by: &'a str,
    /// When it ends, if ever.
    pub expires_at: Option<OffsetDateTime>,
}

pub(crate) struct Raw {
    pub(crate) id: Uuid,
    pub(crate) principal_id: Uuid,
    pub(crate) scope: String,
    pub(crate) purpose: Option<String>,
    pub(crate) granted_by: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) expires_at: Option<OffsetDateTime>,
    pub(crate) revoked_at: Option<OffsetDateTime>,
}

impl Raw {
    pub(crate) fn read(self, operation: &'static str) -> Result<GrantRow, StoreError> {
        Ok(GrantRow {
            id: Id::from_row(self.id),
            principal: Id::from_row(self.principal_id),
            scope: parse(operation, "scope", &self.scope)?,
            purpose: self.purpose,
            granted_by: self.granted_by,
            created_at: self.created_at,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
        })
    }
}

/// Makes a grant.
///
/// # Errors
/// `NotFound` where the principal does not exist.
pub async fn create(
    tx: &mut ControlTx,
    new: &NewGrant<'_>,
    now: OffsetDateTime,
) -> Result<GrantRow, StoreError> {
    let operation = "create grant";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "insert into grants (tenant_id, id, principal_id, scope, purpose, granted_by, created_at,
                             expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         returning id, principal_id, scope, purpose, granted_by, created_at, expires_at, revoked_at",
        tenant,
        new.id.as_uuid(),
        new.principal.as_uuid(),
        new.scope.as_str(),
        new.purpose,
        new.granted_by,
        now,
        new.expires_at
    )
    .fetch_one(tx.connection())
    .await
    .map_err(sort(operation))?
    .read(operation)
}

/// The grants of a principal that hold at `now`, at most 1,000.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn live(
    tx: &mut ControlTx,
    principal: Id<Principal>,
    now: OffsetDateTime,
) -> Result<Vec<GrantRow>, StoreError> {
    let operation = "read live grants";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "select id, principal_id, scope, purpose, granted_by, created_at, expires_at, revoked_at
         from grants where tenant_id = $1 and principal_id = $2 and revoked_at is null
           and (expires_at is null or expires_at > $3)
         order by id limit 1000",
        tenant,
        principal.as_uuid(),
        now
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort(operation))?
    .into_iter()
    .map(|raw| raw.read(operation))
    .collect()
}

/// Every grant of a principal, ended ones included, in the order of their ids.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list(
    tx: &mut ControlTx,
    principal: Id<Principal>,
    page: Page,
) -> Result<Vec<GrantRow>, StoreError> {
    let operation = "list grants";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "select id, principal_id, scope, purpose, granted_by, created_at, expires_at, revoked_at
         from grants where tenant_id = $1 and principal_id = $2 and ($3::uuid is null or id > $3)
         order by id limit $4",
        tenant,
        principal.as_uuid(),
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

/// Revokes a grant of a principal. Revoking it again keeps the first time.
///
/// # Errors
/// `NotFound` where it does not exist.
pub async fn revoke(
    tx: &mut ControlTx,
    principal: Id<Principal>,
    id: Id<Grant>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let operation = "revoke grant";
    let tenant = tx.tenant().as_uuid();
    let done = sqlx::query!(
        "update grants set revoked_at = coalesce(revoked_at, $4)
         where tenant_id = $1 and principal_id = $2 and id = $3",
        tenant,
        principal.as_uuid(),
        id.as_uuid(),
        now
    )
    .execute(tx.connection())
    .await
    .map_err(sort(operation))?;
    expect_one(operation, done.rows_affected())
}
