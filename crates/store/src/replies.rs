//! Answers to posts that came with an idempotency key. A key belongs to one service token, and a
//! transaction sees only the keys of the token that it names. This module must never know what an
//! answer says: it comes sealed.

use portcullis_domain::Id;
use portcullis_domain::id::ServiceToken;
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};

use crate::control::Within;
use crate::error::{StoreError, sort};
use crate::row::expect_one;

/// How long a key is good for.
const LIFETIME: Duration = Duration::days(1);

/// A key and what it came with.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Whose key it is.
    pub token: Id<ServiceToken>,
    /// The key.
    pub key: &'a str,
    /// The digest of the request.
    pub fingerprint: [u8; 32],
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// It is new, and belongs to this transaction until that ends.
    Fresh,
    /// The same request was answered before.
    Answered {
        /// The sealed answer.
        sealed: Vec<u8>,
    },
    /// It came with another request before.
    OtherRequest,
}

/// Claims a key for the transaction. Where another transaction holds it, waits until that ends.
///
/// # Errors
/// `NotFound` where the token does not exist; fails where the database cannot be reached.
pub async fn claim(
    mut within: Within<'_>,
    claim: Claim<'_>,
    now: OffsetDateTime,
) -> Result<Claimed, StoreError> {
    let operation = "claim an idempotency key";
    let token = claim.token.as_uuid();
    name_token(within.connection(), claim.token).await?;
    sqlx::query!(
        "delete from replies where token_id = $1 and created_at < $2",
        token,
        now - LIFETIME
    )
    .execute(within.connection())
    .await
    .map_err(sort(operation))?;
    let inserted = sqlx::query!(
        "insert into replies (token_id, key, fingerprint, created_at) values ($1, $2, $3, $4)
         on conflict (token_id, key) do nothing",
        token,
        claim.key,
        &claim.fingerprint,
        now
    )
    .execute(within.connection())
    .await
    .map_err(sort(operation))?;
    if inserted.rows_affected() == 1 {
        return Ok(Claimed::Fresh);
    }
    let held = sqlx::query!(
        "select fingerprint, sealed from replies where token_id = $1 and key = $2",
        token,
        claim.key
    )
    .fetch_one(within.connection())
    .await
    .map_err(sort(operation))?;
    if held.fingerprint != claim.fingerprint {
        return Ok(Claimed::OtherRequest);
    }
    // A claim is committed only together with its answer.
    let sealed = held.sealed.ok_or(StoreError::Corrupt {
        operation,
        column: "sealed",
    })?;
    Ok(Claimed::Answered { sealed })
}

/// Keeps the answer to the request that claimed the key in this transaction.
///
/// # Errors
/// `NotFound` where this transaction claimed no such key; fails where the database cannot be reached.
pub async fn settle(
    mut within: Within<'_>,
    token: Id<ServiceToken>,
    key: &str,
    sealed: &[u8],
) -> Result<(), StoreError> {
    let operation = "keep the answer to an idempotency key";
    let done = sqlx::query!(
        "update replies set sealed = $3 where token_id = $1 and key = $2 and sealed is null",
        token.as_uuid(),
        key,
        sealed
    )
    .execute(within.connection())
    .await
    .map_err(sort(operation))?;
    expect_one(operation, done.rows_affected())
}

/// Names the token whose keys this transaction sees. The setting ends with the transaction.
async fn name_token(
    connection: &mut PgConnection,
    token: Id<ServiceToken>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "select set_config('app.service_token_id', $1, true) as setting",
        token.as_uuid().to_string()
    )
    .fetch_one(connection)
    .await
    .map_err(sort("name the service token"))?;
    Ok(())
}
