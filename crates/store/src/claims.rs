//! Claims of idempotency keys, in the tenant's home pool, and the stored answers of the calls that they
//! were for. A claim is leased once, by the database's clock, and completed by whoever finds it still
//! claimed; its id is the fence. This module must never give one key two claims, nor know what a key,
//! an argument or an answer says: they come hashed or sealed.

mod answers;
mod columns;
mod row;

use std::time::Duration;

use portcullis_domain::Pool;
use portcullis_domain::id::{Claim, Id, Principal, Record, Replica, Tenant};

pub use answers::{StoredAnswer, answer, record};
pub use row::{ClaimRow, ClaimState};

use crate::connect;
use crate::error::{StoreError, sort};
use crate::region::{RegionStore, RegionTx};
use crate::row::Page;
use crate::writer::NewRecord;
use columns::RecordColumns;
use row::Raw;

/// How long a claim is held without a heartbeat.
pub const LEASE: Duration = Duration::from_secs(10);

const CLAIM: &str = "claim an idempotency key";

/// A key to be claimed.
#[derive(Debug, Clone, Copy)]
pub struct NewClaim<'a> {
    /// The claim's id.
    pub id: Id<Claim>,
    /// Whose key it is.
    pub principal: Id<Principal>,
    /// For which tool.
    pub tool: &'a str,
    /// A keyed hash of the key.
    pub key_hash: [u8; 32],
    /// A keyed hash of what the key came with.
    pub fingerprint: [u8; 32],
    /// The id of the intent's record.
    pub intent: Id<Record>,
    /// The id of the record that will say how the call ended, whoever writes it.
    pub outcome: Id<Record>,
    /// Where the call runs.
    pub pool: Pool,
    /// Whether its effect is in a transaction of that pool.
    pub transactional: bool,
    /// Who runs it.
    pub replica: Id<Replica>,
}

/// Claims a key and records the intent, both in one statement alone, committed with its answer; or gives
/// the claim that was first. It waits for another transaction that is about to claim the same key.
///
/// # Errors
/// `Invalid` where a value is outside its bounds; fails where the database cannot be reached. After an
/// error that [is uncertain](StoreError::is_uncertain) the claim may stand all the same.
pub async fn claim(
    region: &RegionStore,
    new: &NewClaim<'_>,
    intent: &NewRecord,
) -> Result<Option<ClaimRow>, StoreError> {
    let mut tries = region.app().tries();
    let mut lost = None;
    let ours = loop {
        match try_claim(region, new, intent).await {
            // The connection died in the pool, or just now: what is asked a second time finds its own
            // claim, if the first was carried out.
            Err(error) if tries > 0 && connect::is_lost(&error) => {
                tries = tries.saturating_sub(1);
                lost.get_or_insert(error);
            }
            done => break done,
        }
    };
    settled(region, intent.tenant, new, (ours, lost)).await
}

/// The tenant of the claim is what its setting returns: the setting is made before a row is.
#[expect(
    clippy::cognitive_complexity,
    reason = "the query macro counts as a branch for each parameter"
)]
async fn try_claim(
    region: &RegionStore,
    new: &NewClaim<'_>,
    intent: &NewRecord,
) -> Result<bool, sqlx::Error> {
    let record = RecordColumns::of(intent);
    let inputs = record.inputs();
    let mut connection = region.app().get().await?;
    let done = sqlx::query_scalar!(
        r#"with bound as materialized (
             select set_config('app.tenant_id', $1::uuid::text, true)::uuid as tenant),
           claimed as (
             insert into claims (tenant_id, principal_id, tool, key_hash, id, fingerprint, intent_id,
                                 outcome_id, pool, transactional, state, replica_id, lease_until,
                                 created_at)
             select bound.tenant, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'claimed', $11,
                    clock_timestamp() + interval '10 seconds', clock_timestamp()
             from bound
             on conflict (tenant_id, principal_id, tool, key_hash) do nothing
             returning tenant_id),
           recorded as (
             insert into records (tenant_id, id, kind, trace_id, intent_id, principal_id, tool,
                                  verdict, started_at, ended_at, canonical, leaf_hash, signature,
                                  key_id)
             select tenant_id, $7, $12, $13, $14, $2, $3, $15, $16, $17, $18, $19, $20, $21
             from claimed),
           kept as (
             insert into call_inputs (tenant_id, record_id, data_key_id, salts, arguments)
             select tenant_id, $7, $22, $23, $24 from claimed where $22::uuid is not null)
           select count(*) as "claimed!" from claimed"#,
        intent.tenant.as_uuid(),
        new.principal.as_uuid(),
        new.tool,
        &new.key_hash,
        new.id.as_uuid(),
        &new.fingerprint,
        new.intent.as_uuid(),
        new.outcome.as_uuid(),
        new.pool.as_str(),
        new.transactional,
        new.replica.as_uuid(),
        record.kind,
        record.trace_id,
        record.intent,
        record.verdict,
        record.started_at,
        record.ended_at,
        record.canonical,
        record.leaf_hash,
        record.signature,
        record.key_id,
        inputs.data_key,
        inputs.salts,
        inputs.arguments,
    )
    .fetch_one(connection.get())
    .await?;
    connection.give_back();
    Ok(done == 1)
}

/// Claims a key whose call runs in another pool, where its intent has to be recorded next; `intent` is
/// that record's canonical form, kept here in case it never arrives there.
///
/// # Errors
/// As for [`claim`].
pub async fn claim_elsewhere(
    region: &RegionStore,
    tenant: Id<Tenant>,
    new: &NewClaim<'_>,
    intent: &[u8],
) -> Result<Option<ClaimRow>, StoreError> {
    let mut tries = region.app().tries();
    let mut lost = None;
    let ours = loop {
        match try_claim_elsewhere(region, tenant, new, intent).await {
            // As for a claim at home.
            Err(error) if tries > 0 && connect::is_lost(&error) => {
                tries = tries.saturating_sub(1);
                lost.get_or_insert(error);
            }
            done => break done,
        }
    };
    settled(region, tenant, new, (ours, lost)).await
}

/// What the tries came to. After a connection that was `lost` no later error is a certain one: the first
/// try may have been carried out.
async fn settled(
    region: &RegionStore,
    tenant: Id<Tenant>,
    new: &NewClaim<'_>,
    (ours, lost): (Result<bool, sqlx::Error>, Option<sqlx::Error>),
) -> Result<Option<ClaimRow>, StoreError> {
    let first = match ours {
        Ok(ours) => first_of(region, tenant, new, ours).await,
        Err(error) => Err(sort(CLAIM)(error)),
    };
    match (first, lost) {
        (Err(_), Some(lost)) => Err(sort(CLAIM)(lost)),
        (first, _) => first,
    }
}

async fn try_claim_elsewhere(
    region: &RegionStore,
    tenant: Id<Tenant>,
    new: &NewClaim<'_>,
    intent: &[u8],
) -> Result<bool, sqlx::Error> {
    let mut connection = region.app().get().await?;
    let done = sqlx::query!(
        "with bound as materialized (
           select set_config('app.tenant_id', $1::uuid::text, true)::uuid as tenant)
         insert into claims (tenant_id, principal_id, tool, key_hash, id, fingerprint, intent_id,
                             outcome_id, intent, pool, transactional, state, replica_id,
                             lease_until, created_at)
         select bound.tenant, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'claimed', $12,
                clock_timestamp() + interval '10 seconds', clock_timestamp()
         from bound
         on conflict (tenant_id, principal_id, tool, key_hash) do nothing",
        tenant.as_uuid(),
        new.principal.as_uuid(),
        new.tool,
        &new.key_hash,
        new.id.as_uuid(),
        &new.fingerprint,
        new.intent.as_uuid(),
        new.outcome.as_uuid(),
        intent,
        new.pool.as_str(),
        new.transactional,
        new.replica.as_uuid(),
    )
    .execute(connection.get())
    .await?;
    connection.give_back();
    Ok(done.rows_affected() == 1)
}

/// The claim that was first, where ours was not. It was committed before our insert gave way, so this
/// second statement sees it, unless it was released since: then the caller may claim again.
async fn first_of(
    region: &RegionStore,
    tenant: Id<Tenant>,
    new: &NewClaim<'_>,
    ours: bool,
) -> Result<Option<ClaimRow>, StoreError> {
    if ours {
        return Ok(None);
    }
    let operation = "read the claim of a key";
    let mut tx = region.begin(tenant).await?;
    let found = sqlx::query_as!(
        Raw,
        "select id, principal_id, tool, fingerprint, intent_id, outcome_id, intent, pool,
                transactional, state, replica_id, lease_until, created_at, completed_at,
                resolved_by, resolved_reason
         from claims
         where tenant_id = $1 and principal_id = $2 and tool = $3 and key_hash = $4",
        tenant.as_uuid(),
        new.principal.as_uuid(),
        new.tool,
        &new.key_hash
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort(operation))?
    .ok_or(StoreError::Stale { operation })?;
    tx.commit().await?;
    // A connection was lost after the claim had been made: it is ours.
    if found.id == new.id.as_uuid() {
        return Ok(None);
    }
    found.read(operation).map(Some)
}

/// Holds a claim for another [`LEASE`]. False where it is no longer claimed.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn extend(tx: &mut RegionTx, id: Id<Claim>) -> Result<bool, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let done = sqlx::query!(
        "update claims set lease_until = clock_timestamp() + interval '10 seconds'
         where tenant_id = $1 and id = $2 and state = 'claimed'",
        tenant,
        id.as_uuid()
    )
    .execute(tx.connection())
    .await
    .map_err(sort("extend a claim"))?;
    Ok(done.rows_affected() == 1)
}

/// Completes a claim: done, with its outcome's record and its answer, all in one statement. False, and
/// nothing written, where it is no longer claimed.
///
/// # Errors
/// `Conflict` where another record has the outcome's id; fails where the database cannot be reached.
#[expect(
    clippy::cognitive_complexity,
    reason = "the query macro counts as a branch for each parameter"
)]
pub async fn complete(
    tx: &mut RegionTx,
    id: Id<Claim>,
    outcome: &NewRecord,
    answer: Option<&StoredAnswer>,
) -> Result<bool, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let record = RecordColumns::of(outcome);
    let done = sqlx::query_scalar!(
        r#"with completed as (
             update claims set state = 'done', completed_at = clock_timestamp()
             where tenant_id = $1 and id = $2 and state = 'claimed' returning id),
           recorded as (
             insert into records (tenant_id, id, kind, trace_id, intent_id, principal_id, tool,
                                  verdict, started_at, ended_at, canonical, leaf_hash, signature,
                                  key_id)
             select $1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15 from completed),
           kept as (
             insert into stored_answers (tenant_id, outcome_id, data_key_id, answer, stored_at)
             select $1, $3, $16, $17, clock_timestamp() from completed where $16::uuid is not null)
           select count(*) as "completed!" from completed"#,
        tenant,
        id.as_uuid(),
        record.id,
        record.kind,
        record.trace_id,
        record.intent,
        record.principal,
        record.tool,
        record.verdict,
        record.started_at,
        record.ended_at,
        record.canonical,
        record.leaf_hash,
        record.signature,
        record.key_id,
        answer.map(|answer| answer.data_key.as_uuid()),
        answer.map(|answer| answer.ciphertext.as_slice()),
    )
    .fetch_one(tx.connection())
    .await
    .map_err(sort("complete a claim"))?;
    Ok(done == 1)
}

/// How a claim ends whose outcome's record is written apart from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The call took effect.
    Done,
    /// Nobody knows whether it did.
    Unknown,
}

/// Ends a claim without a record. False where it is no longer claimed.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn settle(
    tx: &mut RegionTx,
    id: Id<Claim>,
    settled: Settled,
) -> Result<bool, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let state = match settled {
        Settled::Done => ClaimState::Done,
        Settled::Unknown => ClaimState::Unknown,
    };
    let done = sqlx::query!(
        "update claims set state = $3, completed_at = clock_timestamp()
         where tenant_id = $1 and id = $2 and state = 'claimed'",
        tenant,
        id.as_uuid(),
        state.as_str()
    )
    .execute(tx.connection())
    .await
    .map_err(sort("settle a claim"))?;
    Ok(done.rows_affected() == 1)
}

/// Gives a key back, since its call certainly had no effect. False where it is no longer claimed.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn release(tx: &mut RegionTx, id: Id<Claim>) -> Result<bool, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let done = sqlx::query!(
        "delete from claims where tenant_id = $1 and id = $2 and state = 'claimed'",
        tenant,
        id.as_uuid()
    )
    .execute(tx.connection())
    .await
    .map_err(sort("release a claim"))?;
    Ok(done.rows_affected() == 1)
}

/// Locks a claim whose lease has ended, for whoever closes it. None where it was completed, is held
/// again, or is being closed by another.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn lock_expired(
    tx: &mut RegionTx,
    id: Id<Claim>,
) -> Result<Option<ClaimRow>, StoreError> {
    let operation = "lock an expired claim";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "select id, principal_id, tool, fingerprint, intent_id, outcome_id, intent, pool,
                transactional, state, replica_id, lease_until, created_at, completed_at,
                resolved_by, resolved_reason
         from claims
         where tenant_id = $1 and id = $2 and state = 'claimed' and lease_until < clock_timestamp()
         for update skip locked",
        tenant,
        id.as_uuid()
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort(operation))?
    .map(|raw| raw.read(operation))
    .transpose()
}

/// A claim by its id. Another tenant's is as one that does not exist.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn by_id(tx: &mut RegionTx, id: Id<Claim>) -> Result<Option<ClaimRow>, StoreError> {
    let operation = "read claim";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "select id, principal_id, tool, fingerprint, intent_id, outcome_id, intent, pool,
                transactional, state, replica_id, lease_until, created_at, completed_at,
                resolved_by, resolved_reason
         from claims where tenant_id = $1 and id = $2",
        tenant,
        id.as_uuid()
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort(operation))?
    .map(|raw| raw.read(operation))
    .transpose()
}

/// The tenant's claims, those of one state alone where one is given, in the order of their ids.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list(
    tx: &mut RegionTx,
    state: Option<ClaimState>,
    page: Page,
) -> Result<Vec<ClaimRow>, StoreError> {
    let operation = "list claims";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "select id, principal_id, tool, fingerprint, intent_id, outcome_id, intent, pool,
                transactional, state, replica_id, lease_until, created_at, completed_at,
                resolved_by, resolved_reason
         from claims
         where tenant_id = $1 and ($2::text is null or state = $2) and ($3::uuid is null or id > $3)
         order by id limit $4",
        tenant,
        state.map(ClaimState::as_str),
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

/// Ends the uncertainty of a claim: it took effect, as somebody found out. False where it is not
/// unknown.
///
/// # Errors
/// `Invalid` where a text is outside its bounds; fails where the database cannot be reached.
pub async fn resolve_executed(
    tx: &mut RegionTx,
    id: Id<Claim>,
    by: &str,
    reason: &str,
) -> Result<bool, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let done = sqlx::query!(
        "update claims set state = 'done', completed_at = clock_timestamp(), resolved_by = $3,
                           resolved_reason = $4
         where tenant_id = $1 and id = $2 and state = 'unknown'",
        tenant,
        id.as_uuid(),
        by,
        reason
    )
    .execute(tx.connection())
    .await
    .map_err(sort("resolve a claim"))?;
    Ok(done.rows_affected() == 1)
}

/// Ends the uncertainty of a claim: it took no effect, as somebody found out, and its key is free
/// again. False where it is not unknown.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn resolve_not_executed(tx: &mut RegionTx, id: Id<Claim>) -> Result<bool, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let done = sqlx::query!(
        "delete from claims where tenant_id = $1 and id = $2 and state = 'unknown'",
        tenant,
        id.as_uuid()
    )
    .execute(tx.connection())
    .await
    .map_err(sort("resolve a claim"))?;
    Ok(done.rows_affected() == 1)
}
