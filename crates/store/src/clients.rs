//! OAuth clients and their secrets. Only hashes are stored; no secret ever comes in here.

use portcullis_domain::Id;
use portcullis_domain::id::{ClientSecret, Principal, Tenant};
use time::OffsetDateTime;

use crate::control::{ControlTx, PlatformTx};
use crate::error::{StoreError, sort};
use crate::row::{expect_one, fixed};

/// A client secret, as its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRow {
    /// Its id.
    pub id: Id<ClientSecret>,
    /// Whose it is.
    pub principal: Id<Principal>,
    /// The SHA-256 of the secret.
    pub hash: [u8; 32],
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it stops working, if ever.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<OffsetDateTime>,
    /// When it was last used, if it was.
    pub last_used_at: Option<OffsetDateTime>,
}

/// The tenant of an OAuth client.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn tenant_of(
    tx: &mut PlatformTx,
    client: Id<Principal>,
) -> Result<Option<Id<Tenant>>, StoreError> {
    let found = sqlx::query_scalar!(
        "select tenant_id from oauth_clients where client_id = $1",
        client.as_uuid()
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort("look OAuth client up"))?;
    Ok(found.map(Id::from_row))
}

/// Stores the hash of a principal's new secret.
///
/// # Errors
/// `NotFound` where the principal does not exist.
pub async fn create_secret(
    tx: &mut ControlTx,
    id: Id<ClientSecret>,
    principal: Id<Principal>,
    hash: &[u8; 32],
    expires_at: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().as_uuid();
    sqlx::query!(
        "insert into client_secrets (tenant_id, id, principal_id, hash, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6)",
        tenant,
        id.as_uuid(),
        principal.as_uuid(),
        hash,
        now,
        expires_at
    )
    .execute(tx.connection())
    .await
    .map_err(sort("create client secret"))?;
    Ok(())
}

/// The secrets of a principal that work at `now`, newest first, at most 100.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn live_secrets(
    tx: &mut ControlTx,
    principal: Id<Principal>,
    now: OffsetDateTime,
) -> Result<Vec<SecretRow>, StoreError> {
    let secrets = list_secrets(tx, principal).await?;
    Ok(secrets
        .into_iter()
        .filter(|secret| {
            secret.revoked_at.is_none() && secret.expires_at.is_none_or(|end| end > now)
        })
        .take(100)
        .collect())
}

/// Every secret of a principal, newest first, at most 1,000.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list_secrets(
    tx: &mut ControlTx,
    principal: Id<Principal>,
) -> Result<Vec<SecretRow>, StoreError> {
    let operation = "list client secrets";
    let tenant = tx.tenant().as_uuid();
    sqlx::query!(
        "select id, principal_id, hash, created_at, expires_at, revoked_at, last_used_at
         from client_secrets where tenant_id = $1 and principal_id = $2
         order by id desc limit 1000",
        tenant,
        principal.as_uuid()
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort(operation))?
    .into_iter()
    .map(|row| {
        Ok(SecretRow {
            id: Id::from_row(row.id),
            principal: Id::from_row(row.principal_id),
            hash: fixed(operation, "hash", row.hash)?,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            last_used_at: row.last_used_at,
        })
    })
    .collect()
}

/// Revokes a secret. Revoking it again keeps the first time.
///
/// # Errors
/// `NotFound` where it does not exist.
pub async fn revoke_secret(
    tx: &mut ControlTx,
    id: Id<ClientSecret>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let operation = "revoke client secret";
    let tenant = tx.tenant().as_uuid();
    let done = sqlx::query!(
        "update client_secrets set revoked_at = coalesce(revoked_at, $3)
         where tenant_id = $1 and id = $2",
        tenant,
        id.as_uuid(),
        now
    )
    .execute(tx.connection())
    .await
    .map_err(sort(operation))?;
    expect_one(operation, done.rows_affected())
}

/// Notes that a secret was used, to the minute, so that a busy client does not write a row a token.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn touch_secret(
    tx: &mut ControlTx,
    id: Id<ClientSecret>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().as_uuid();
    // Zero rows are no fault here: somebody noted it within the minute.
    sqlx::query!(
        "update client_secrets set last_used_at = $3
         where tenant_id = $1 and id = $2
           and (last_used_at is null or last_used_at < $3::timestamptz - interval '1 minute')",
        tenant,
        id.as_uuid(),
        now
    )
    .execute(tx.connection())
    .await
    .map_err(sort("note the use of a client secret"))?;
    Ok(())
}
