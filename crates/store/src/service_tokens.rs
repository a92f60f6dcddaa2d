//! Service tokens of the management API, as their hashes. They are looked up before there is a
//! tenant; inside a tenant's transaction only its own exist.

use portcullis_domain::Id;
use portcullis_domain::id::{ServiceToken, Tenant};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::control::{ControlTx, PlatformTx, Within};
use crate::error::{StoreError, sort};
use crate::row::{Page, expect_one, fixed};

/// A service token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTokenRow {
    /// Its id.
    pub id: Id<ServiceToken>,
    /// Whose it is; none for the platform's own.
    pub tenant: Option<Id<Tenant>>,
    /// What it is for.
    pub name: String,
    /// The role it holds, one of `owner operator approver auditor viewer platform`.
    pub role: String,
    /// The SHA-256 of its secret.
    pub hash: [u8; 32],
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it stops working.
    pub expires_at: OffsetDateTime,
    /// When it was revoked, if it was.
    pub revoked_at: Option<OffsetDateTime>,
    /// When it was last used, if it was.
    pub last_used_at: Option<OffsetDateTime>,
}

/// A service token to be stored.
#[derive(Debug, Clone)]
pub struct NewServiceToken<'a> {
    /// Its id.
    pub id: Id<ServiceToken>,
    /// What it is for.
    pub name: &'a str,
    /// The role it holds.
    pub role: &'a str,
    /// The SHA-256 of its secret.
    pub hash: [u8; 32],
    /// Who makes it.
    pub created_by: &'a str,
    /// When it stops working.
    pub expires_at: OffsetDateTime,
}

struct Raw {
    id: Uuid,
    tenant_id: Option<Uuid>,
    name: String,
    role: String,
    hash: Vec<u8>,
    created_by: String,
    created_at: OffsetDateTime,
    expires_at: OffsetDateTime,
    revoked_at: Option<OffsetDateTime>,
    last_used_at: Option<OffsetDateTime>,
}

impl Raw {
    fn read(self, operation: &'static str) -> Result<ServiceTokenRow, StoreError> {
        Ok(ServiceTokenRow {
            id: Id::from_row(self.id),
            tenant: self.tenant_id.map(Id::from_row),
            name: self.name,
            role: self.role,
            hash: fixed(operation, "hash", self.hash)?,
            created_by: self.created_by,
            created_at: self.created_at,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            last_used_at: self.last_used_at,
        })
    }
}

/// Stores a token of the transaction's tenant.
///
/// # Errors
/// `NotFound` where the tenant does not exist, `Invalid` where the role is none of a tenant.
pub async fn create(
    tx: &mut ControlTx,
    new: &NewServiceToken<'_>,
    now: OffsetDateTime,
) -> Result<ServiceTokenRow, StoreError> {
    let tenant = tx.tenant().as_uuid();
    insert(tx.connection(), Some(tenant), new, now).await
}

/// Stores a token of the platform.
///
/// # Errors
/// `Invalid` where the role is not the platform's.
pub async fn create_platform(
    tx: &mut PlatformTx,
    new: &NewServiceToken<'_>,
    now: OffsetDateTime,
) -> Result<ServiceTokenRow, StoreError> {
    insert(tx.connection(), None, new, now).await
}

async fn insert(
    connection: &mut PgConnection,
    tenant: Option<Uuid>,
    new: &NewServiceToken<'_>,
    now: OffsetDateTime,
) -> Result<ServiceTokenRow, StoreError> {
    let operation = "create service token";
    sqlx::query_as!(
        Raw,
        "insert into service_tokens (id, tenant_id, name, role, hash, created_by, created_at,
                                     expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         returning id, tenant_id, name, role, hash, created_by, created_at, expires_at, revoked_at,
                   last_used_at",
        new.id.as_uuid(),
        tenant,
        new.name,
        new.role,
        &new.hash,
        new.created_by,
        now,
        new.expires_at
    )
    .fetch_one(connection)
    .await
    .map_err(sort(operation))?
    .read(operation)
}

/// The token that a request names, whatever its state: the caller checks expiry and revocation.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn by_id(
    tx: &mut PlatformTx,
    id: Id<ServiceToken>,
) -> Result<Option<ServiceTokenRow>, StoreError> {
    let operation = "look service token up";
    sqlx::query_as!(
        Raw,
        "select id, tenant_id, name, role, hash, created_by, created_at, expires_at, revoked_at,
                last_used_at
         from service_tokens where id = $1",
        id.as_uuid()
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort(operation))?
    .map(|raw| raw.read(operation))
    .transpose()
}

/// A token that the transaction sees, whatever its state.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn get(
    mut within: Within<'_>,
    id: Id<ServiceToken>,
) -> Result<Option<ServiceTokenRow>, StoreError> {
    let operation = "read a service token";
    sqlx::query_as!(
        Raw,
        "select id, tenant_id, name, role, hash, created_by, created_at, expires_at, revoked_at,
                last_used_at
         from service_tokens where id = $1",
        id.as_uuid()
    )
    .fetch_optional(within.connection())
    .await
    .map_err(sort(operation))?
    .map(|raw| raw.read(operation))
    .transpose()
}

/// The tokens of the transaction's tenant, in the order of their ids.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list(tx: &mut ControlTx, page: Page) -> Result<Vec<ServiceTokenRow>, StoreError> {
    let tenant = tx.tenant().as_uuid();
    select(tx.connection(), Some(tenant), page).await
}

/// The tokens of the platform, in the order of their ids.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list_platform(
    tx: &mut PlatformTx,
    page: Page,
) -> Result<Vec<ServiceTokenRow>, StoreError> {
    select(tx.connection(), None, page).await
}

async fn select(
    connection: &mut PgConnection,
    tenant: Option<Uuid>,
    page: Page,
) -> Result<Vec<ServiceTokenRow>, StoreError> {
    let operation = "list service tokens";
    sqlx::query_as!(
        Raw,
        "select id, tenant_id, name, role, hash, created_by, created_at, expires_at, revoked_at,
                last_used_at
         from service_tokens
         where tenant_id is not distinct from $1 and ($2::uuid is null or id > $2)
         order by id limit $3",
        tenant,
        page.after,
        page.limit()
    )
    .fetch_all(connection)
    .await
    .map_err(sort(operation))?
    .into_iter()
    .map(|raw| raw.read(operation))
    .collect()
}

/// Whether the transaction's tenant has a token of an owner that works. Whoever else asks this of the
/// same tenant waits until the transaction ends.
///
/// # Errors
/// `NotFound` where the tenant does not exist.
pub async fn has_live_owner(tx: &mut ControlTx, now: OffsetDateTime) -> Result<bool, StoreError> {
    let operation = "look for an owner's token";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_scalar!("select id from tenants where id = $1 for update", tenant)
        .fetch_optional(tx.connection())
        .await
        .map_err(sort(operation))?
        .ok_or(StoreError::NotFound { operation })?;
    sqlx::query_scalar!(
        r#"select exists (select from service_tokens
                          where tenant_id = $1 and role = 'owner' and revoked_at is null
                            and expires_at > $2) as "live!""#,
        tenant,
        now
    )
    .fetch_one(tx.connection())
    .await
    .map_err(sort(operation))
}

/// Revokes a token of the transaction's tenant. Revoking it again keeps the first time.
///
/// # Errors
/// `NotFound` where the tenant has no such token.
pub async fn revoke(
    tx: &mut ControlTx,
    id: Id<ServiceToken>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().as_uuid();
    end(tx.connection(), Some(tenant), id, now).await
}

/// Revokes a token of the platform. Revoking it again keeps the first time.
///
/// # Errors
/// `NotFound` where the platform has no such token.
pub async fn revoke_platform(
    tx: &mut PlatformTx,
    id: Id<ServiceToken>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    end(tx.connection(), None, id, now).await
}

async fn end(
    connection: &mut PgConnection,
    tenant: Option<Uuid>,
    id: Id<ServiceToken>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let operation = "revoke service token";
    let done = sqlx::query!(
        "update service_tokens set revoked_at = coalesce(revoked_at, $3)
         where tenant_id is not distinct from $1 and id = $2",
        tenant,
        id.as_uuid(),
        now
    )
    .execute(connection)
    .await
    .map_err(sort(operation))?;
    expect_one(operation, done.rows_affected())
}

/// Notes that a token was used, to the minute.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn touch(
    tx: &mut PlatformTx,
    id: Id<ServiceToken>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    // Zero rows are no fault here: somebody noted it within the minute.
    sqlx::query!(
        "update service_tokens set last_used_at = $2
         where id = $1 and (last_used_at is null or last_used_at < $2::timestamptz - interval '1 minute')",
        id.as_uuid(),
        now
    )
    .execute(tx.connection())
    .await
    .map_err(sort("note the use of a service token"))?;
    Ok(())
}
