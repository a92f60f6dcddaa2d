//! Closes the claims of calls whose replica died or lost its lease: one terminal record each, and then
//! the key is free, done or unknown.
//!
//! A call whose effect is in a transaction of its pool left nothing: the record under the outcome's id
//! that is written here keeps that transaction from ever committing. Any other call may have had its
//! effect, so its claim becomes unknown and is never sent again; a person finds out. Nothing here may
//! guess that there was no effect.

use portcullis_domain::Pool;
use portcullis_domain::id::Record as RecordKind;
use portcullis_domain::id::{Claim, Id, Tenant};
use portcullis_evidence::record::{CallIntent, CallOutcome, Cost, Effect, Ending, Status};
use portcullis_evidence::{Body, Count, Record, RecordError};
use portcullis_store::claims::{self, ClaimRow, Settled};
use portcullis_store::records;
use portcullis_store::{RegionTx, StoreError};

use crate::gate::Gate;
use crate::rooms::claim::RecordFault;
use crate::rooms::record;

/// Why a claim could not be closed this time.
#[derive(Debug, thiserror::Error)]
pub enum ReapError {
    /// A regional database failed.
    #[error("the claim could not be read or closed")]
    Store(#[from] StoreError),
    /// The record of the outcome could not be made.
    #[error("the record of the outcome could not be made")]
    Record(#[from] RecordFault),
    /// A stored record is none.
    #[error("a record of the call cannot be read")]
    Form(#[from] RecordError),
    /// What stands under the intent's id is no intent.
    #[error("the record {0} is not the intent of a call")]
    NotAnIntent(Id<RecordKind>),
}

/// How a claim is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    Released,
    Unknown,
}

/// Closes an expired claim of a tenant whose home is `home`. False where it was completed meanwhile, is
/// held again, or is being closed by another.
///
/// # Errors
/// When a database fails or a record cannot be made: the claim is then closed at another time.
pub async fn close(
    gate: &Gate,
    home: Pool,
    tenant: Id<Tenant>,
    claim: Id<Claim>,
) -> Result<bool, ReapError> {
    let region = gate.regions.get(&home).ok_or(RecordFault::NoPool(home))?;
    let mut tx = region.store.begin(tenant).await?;
    let Some(row) = claims::lock_expired(&mut tx, claim).await? else {
        return Ok(false);
    };
    let end = if row.pool == home {
        record_end(gate, &mut tx, &row).await?
    } else {
        record_elsewhere(gate, tenant, &row).await?
    };
    finish(&mut tx, claim, end).await?;
    tx.commit().await?;
    tracing::warn!(%claim, outcome = %row.outcome, ?end, "closed a call that its replica did not end");
    Ok(true)
}

async fn finish(tx: &mut RegionTx, claim: Id<Claim>, end: End) -> Result<bool, StoreError> {
    match end {
        End::Done => claims::settle(tx, claim, Settled::Done).await,
        End::Unknown => claims::settle(tx, claim, Settled::Unknown).await,
        End::Released => claims::release(tx, claim).await,
    }
}

async fn record_elsewhere(
    gate: &Gate,
    tenant: Id<Tenant>,
    row: &ClaimRow,
) -> Result<End, ReapError> {
    let region = gate
        .regions
        .get(&row.pool)
        .ok_or(RecordFault::NoPool(row.pool))?;
    let mut tx = region.store.begin(tenant).await?;
    let end = record_end(gate, &mut tx, row).await?;
    tx.commit().await?;
    Ok(end)
}

/// Records how the call ended, in the pool that ran it, unless that is on record there already.
async fn record_end(gate: &Gate, tx: &mut RegionTx, row: &ClaimRow) -> Result<End, ReapError> {
    if let Some(found) = records::by_id(tx, row.outcome).await? {
        return Ok(end_of(row, &Record::parse(&found.canonical)?));
    }
    let (intent, begun) = intent(gate, tx, row).await?;
    let (effect, end) = abandoned(row, begun);
    let outcome = outcome(gate, tx.tenant(), row, intent, effect);
    let outcome = record::signed(gate, outcome)?.row;
    if claims::record(tx, &outcome, None).await? {
        return Ok(end);
    }
    // It was committed just now.
    match records::by_id(tx, row.outcome).await? {
        Some(found) => Ok(end_of(row, &Record::parse(&found.canonical)?)),
        None => Ok(End::Unknown),
    }
}

/// What is known of a call that broke off. One whose intent was recorded only now had not begun, and
/// cannot begin any more.
const fn abandoned(row: &ClaimRow, begun: bool) -> (Effect, End) {
    if row.transactional || !begun {
        (Effect::Abandoned, End::Released)
    } else {
        (Effect::Unknown, End::Unknown)
    }
}

/// How a claim ends whose outcome is on record: its replica could record it and no more.
fn end_of(row: &ClaimRow, record: &Record) -> End {
    let status = match &record.body {
        Body::CallOutcome(outcome) => outcome.status(),
        Body::AdminChange(_) | Body::CallIntent(_) | Body::RefusalCount(_) => Status::Unknown,
    };
    match status {
        Status::Ok => End::Done,
        Status::Refused | Status::Abandoned => End::Released,
        // A failure may have come after an effect elsewhere.
        Status::Cancelled | Status::Failed if row.transactional => End::Released,
        Status::Cancelled | Status::Failed | Status::Unknown => End::Unknown,
    }
}

/// The intent, and whether the call may have begun: the pool that runs it has the intent on record.
/// Where it never arrived there, it is recorded now, so that it cannot arrive any more.
async fn intent(
    gate: &Gate,
    tx: &mut RegionTx,
    row: &ClaimRow,
) -> Result<(CallIntent, bool), ReapError> {
    if let Some(found) = records::by_id(tx, row.intent).await? {
        return Ok((parsed(row, &found.canonical)?, true));
    }
    let canonical = row.canonical_intent.as_deref().unwrap_or_default();
    let intent = parsed(row, canonical)?;
    let missing = record::signed(gate, Record::parse(canonical)?)?.row;
    let ours = claims::record(tx, &missing, None).await?;
    Ok((intent, !ours))
}

fn parsed(row: &ClaimRow, canonical: &[u8]) -> Result<CallIntent, ReapError> {
    match Record::parse(canonical)?.body {
        Body::CallIntent(intent) => Ok(*intent),
        Body::AdminChange(_) | Body::CallOutcome(_) | Body::RefusalCount(_) => {
            Err(ReapError::NotAnIntent(row.intent))
        }
    }
}

fn outcome(
    gate: &Gate,
    tenant: Id<Tenant>,
    row: &ClaimRow,
    intent: CallIntent,
    effect: Effect,
) -> Record {
    let now = gate.clock.now();
    let took = now - intent.call.started_at.to_time();
    let outcome = CallOutcome {
        duration_us: Count::saturating(u64::try_from(took.whole_microseconds()).unwrap_or(0)),
        ended_at: now.into(),
        ending: Ending::Executed {
            cost: Cost {
                reserved: intent.reserved,
                settled: Count::saturating(0),
            },
            effect,
            intent: Some(row.intent),
            permit: intent.permit,
        },
        call: intent.call,
    };
    Record {
        at: now.into(),
        body: Body::CallOutcome(Box::new(outcome)),
        id: row.outcome,
        pool: row.pool,
        replica: gate.replica,
        tenant,
    }
}
