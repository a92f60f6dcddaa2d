//! OAuth clients, their secrets and their public keys. Of secrets only hashes are stored; no secret and
//! no private key ever comes in here.

use portcullis_domain::Id;
use portcullis_domain::id::{ClientKey, ClientSecret, Principal, Tenant};
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

/// A client's public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Its id.
    pub id: Id<ClientKey>,
    /// Whose it is.
    pub principal: Id<Principal>,
    /// What assertions name it by.
    pub kid: String,
    /// The public key as a JWK (RFC 7517).
    pub jwk: String,
    /// When it was registered.
    pub created_at: OffsetDateTime,
    /// When it stops working, if ever.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<OffsetDateTime>,
    /// When it was last used, if it was.
    pub last_used_at: Option<OffsetDateTime>,
}

impl KeyRow {
    /// Whether it works at `now`.
    pub fn is_live(&self, now: OffsetDateTime) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| end > now)
    }
}

/// A public key to register.
#[derive(Debug, Clone, Copy)]
pub struct NewKey<'a> {
    /// Its id.
    pub id: Id<ClientKey>,
    /// Whose it is.
    pub principal: Id<Principal>,
    /// What assertions name it by, 1 to 128 bytes. A principal never has two keys of one name.
    pub kid: &'a str,
    /// The public key as a JWK, at most 4,096 bytes.
    pub jwk: &'a str,
    /// When it stops working, if ever.
    pub expires_at: Option<OffsetDateTime>,
}

/// Registers a principal's public key.
///
/// # Errors
/// `NotFound` where the principal does not exist, `Conflict` where it has or had a key of this name.
pub async fn create_key(
    tx: &mut ControlTx,
    new: NewKey<'_>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().as_uuid();
    sqlx::query!(
        "insert into client_keys (tenant_id, id, principal_id, kid, jwk, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        tenant,
        new.id.as_uuid(),
        new.principal.as_uuid(),
        new.kid,
        new.jwk,
        now,
        new.expires_at
    )
    .execute(tx.connection())
    .await
    .map_err(sort("register client key"))?;
    Ok(())
}

/// Every public key of a principal, newest first, at most 1,000.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list_keys(
    tx: &mut ControlTx,
    principal: Id<Principal>,
) -> Result<Vec<KeyRow>, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let rows = sqlx::query!(
        "select id, principal_id, kid, jwk, created_at, expires_at, revoked_at, last_used_at
         from client_keys where tenant_id = $1 and principal_id = $2
         order by id desc limit 1000",
        tenant,
        principal.as_uuid()
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort("list client keys"))?;
    let keys = rows.into_iter().map(|row| KeyRow {
        id: Id::from_row(row.id),
        principal: Id::from_row(row.principal_id),
        kid: row.kid,
        jwk: row.jwk,
        created_at: row.created_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
        last_used_at: row.last_used_at,
    });
    Ok(keys.collect())
}

/// Revokes a key. Revoking it again keeps the first time.
///
/// # Errors
/// `NotFound` where it does not exist.
pub async fn revoke_key(
    tx: &mut ControlTx,
    id: Id<ClientKey>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let operation = "revoke client key";
    let tenant = tx.tenant().as_uuid();
    let done = sqlx::query!(
        "update client_keys set revoked_at = coalesce(revoked_at, $3)
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

/// Notes that a key was used, to the minute.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn touch_key(
    tx: &mut ControlTx,
    id: Id<ClientKey>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().as_uuid();
    // Zero rows are no fault here: somebody noted it within the minute.
    sqlx::query!(
        "update client_keys set last_used_at = $3
         where tenant_id = $1 and id = $2
           and (last_used_at is null or last_used_at < $3::timestamptz - interval '1 minute')",
        tenant,
        id.as_uuid(),
        now
    )
    .execute(tx.connection())
    .await
    .map_err(sort("note the use of a client key"))?;
    Ok(())
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

/// Makes every secret of a principal but one stop working at `end`, where it would have worked longer.
/// Gives back their ids.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn retire_secrets(
    tx: &mut ControlTx,
    principal: Id<Principal>,
    except: Id<ClientSecret>,
    end: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<Vec<Id<ClientSecret>>, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let retired = sqlx::query_scalar!(
        "update client_secrets set expires_at = $4
         where tenant_id = $1 and principal_id = $2 and id <> $3 and revoked_at is null
           and coalesce(expires_at, 'infinity') > greatest($4::timestamptz, $5::timestamptz)
         returning id",
        tenant,
        principal.as_uuid(),
        except.as_uuid(),
        end,
        now
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort("retire client secrets"))?;
    Ok(retired.into_iter().map(Id::from_row).collect())
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
