//! The end of a call that holds a claim: its effect, the record of its outcome, its stored answer and
//! the end of its claim.
//!
//! Where the call ran at home, all of it is one transaction. Elsewhere, effect, record and answer are
//! one transaction there, and the claim ends in a second one at home; whoever finds the claim still
//! held later sees from the record how the call ended. A record under the outcome's id that was not
//! made here means that the claim was closed without this call: then nothing of it is kept.

use std::time::Duration;

use portcullis_domain::id::{Id, Tenant};
use portcullis_evidence::Receipt;
use portcullis_store::claims::{self, Settled, StoredAnswer};
use portcullis_store::writer::NewRecord;
use portcullis_store::{RegionTx, StoreError, records};

use super::form::{self, Signed};
use crate::gate::Gate;
use crate::rooms::claim::{Lease, RecordFault, keep, region};
use crate::rooms::execute::Caused;
use crate::rooms::redact::{Redacted, Shown};

/// Pauses between the tries to record an effect that cannot be taken back. Together with the calls
/// themselves they stay within the lease.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
];

/// How a claim ends.
#[derive(Debug)]
enum End {
    /// The call took effect; the answer is kept where there is one.
    Done(Option<StoredAnswer>),
    /// The call certainly had no effect: the key is free.
    Released,
    /// Nobody knows.
    Unknown,
}

/// What a try to write the end came to.
#[derive(Debug)]
enum Try {
    /// It is durable.
    Written,
    /// The claim was closed before, by another.
    Closed,
    /// Certainly nothing was written.
    Nothing(StoreError),
    /// The commit's fate is unknown.
    Lost(StoreError),
}

/// Records the call and closes its claim.
pub(super) async fn close(
    gate: &Gate,
    redacted: &mut Redacted,
    lease: &Lease,
) -> Result<Receipt, RecordFault> {
    let ending = form::ending(redacted, lease.pool, Some(lease.intent));
    let caused = std::mem::replace(&mut redacted.caused, Caused::Nothing);
    let Signed { row, receipt } =
        form::outcome(gate, &redacted.passage, &redacted.seal, lease.pool, ending)?;
    match (&redacted.shown, caused) {
        (Shown::Output(_), Caused::Pending(tx)) => {
            let end = End::Done(Some(answer(redacted)?));
            commit_effect(gate, lease, *tx, &end, &row).await?;
        }
        (Shown::Output(_), Caused::Nothing | Caused::Done) => {
            let end = End::Done(Some(answer(redacted)?));
            write(gate, lease, &end, &row).await?;
        }
        (_, Caused::Done) => write(gate, lease, &End::Done(None), &row).await?,
        (_, Caused::Unknown) => write(gate, lease, &End::Unknown, &row).await?,
        // What is pending is rolled back: it is not answered for.
        (_, Caused::Nothing | Caused::Pending(_)) => release(gate, lease, &row).await?,
    }
    Ok(receipt)
}

/// Gives the key of a call back that had no effect, and records that.
pub(super) async fn release(
    gate: &Gate,
    lease: &Lease,
    row: &NewRecord,
) -> Result<(), RecordFault> {
    match write(gate, lease, &End::Released, row).await {
        Err(RecordFault::Uncertain(source)) => Err(RecordFault::Claim(source)),
        written => written,
    }
}

/// The answer for repeats of the call.
fn answer(redacted: &Redacted) -> Result<StoredAnswer, RecordFault> {
    match &redacted.shown {
        Shown::Output(output) => keep(
            &redacted.passage,
            redacted.seal.record,
            &output.json,
            &redacted.obligations,
        ),
        Shown::Replayed(..) | Shown::Refused(_) | Shown::Withheld(_) | Shown::Failed(..) => {
            Err(RecordFault::Closed)
        }
    }
}

/// Commits an effect that is in an open transaction, together with everything else. There is one try:
/// what fails before the commit has left nothing.
async fn commit_effect(
    gate: &Gate,
    lease: &Lease,
    tx: RegionTx,
    end: &End,
    row: &NewRecord,
) -> Result<(), RecordFault> {
    let tenant = tx.tenant();
    let tried = attempt(lease, tx, end, row).await;
    match tried {
        Try::Written => {}
        Try::Closed => return Err(RecordFault::Closed),
        Try::Nothing(source) => return Err(RecordFault::Claim(source)),
        Try::Lost(source) => {
            if !is_written(gate, lease, tenant, row).await {
                return Err(RecordFault::Uncertain(source));
            }
        }
    }
    settle_home(gate, lease, tenant, end).await;
    Ok(())
}

/// Records an effect that is elsewhere, or that there was none. It is tried again: to give up means
/// that the reaper closes the claim, and knows less.
async fn write(gate: &Gate, lease: &Lease, end: &End, row: &NewRecord) -> Result<(), RecordFault> {
    let store = &region(gate, lease.pool)?.store;
    let tenant = row.tenant;
    let mut pauses = PAUSES.into_iter();
    loop {
        let tried = match store.begin(tenant).await {
            Ok(tx) => attempt(lease, tx, end, row).await,
            Err(error) => Try::Nothing(error),
        };
        let source = match tried {
            Try::Written => break,
            Try::Closed if is_written(gate, lease, tenant, row).await => break,
            Try::Closed => return Err(RecordFault::Closed),
            Try::Nothing(source) | Try::Lost(source) => source,
        };
        let Some(pause) = pauses.next() else {
            return Err(RecordFault::Uncertain(source));
        };
        tokio::time::sleep(pause).await;
    }
    settle_home(gate, lease, tenant, end).await;
    Ok(())
}

/// One try, in one transaction of the pool that ran the call.
async fn attempt(lease: &Lease, mut tx: RegionTx, end: &End, row: &NewRecord) -> Try {
    let written = if lease.home == lease.pool {
        at_home(&mut tx, lease, end, row).await
    } else {
        claims::record(&mut tx, row, end.answer()).await
    };
    match written {
        Ok(true) => match tx.commit().await {
            Ok(()) => Try::Written,
            Err(error) => Try::Lost(error),
        },
        Ok(false) | Err(StoreError::Conflict { .. }) => Try::Closed,
        Err(error) => Try::Nothing(error),
    }
}

async fn at_home(
    tx: &mut RegionTx,
    lease: &Lease,
    end: &End,
    row: &NewRecord,
) -> Result<bool, StoreError> {
    let held = match end {
        End::Done(answer) => {
            return claims::complete(tx, lease.id, row, answer.as_ref()).await;
        }
        End::Released => claims::release(tx, lease.id).await?,
        End::Unknown => claims::settle(tx, lease.id, Settled::Unknown).await?,
    };
    Ok(held && claims::record(tx, row, None).await?)
}

impl End {
    const fn answer(&self) -> Option<&StoredAnswer> {
        match self {
            Self::Done(answer) => answer.as_ref(),
            Self::Released | Self::Unknown => None,
        }
    }
}

/// Whether this very record is durable.
async fn is_written(gate: &Gate, lease: &Lease, tenant: Id<Tenant>, row: &NewRecord) -> bool {
    let Some(region) = gate.regions.get(&lease.pool) else {
        return false;
    };
    let read = async {
        let mut tx = region.store.begin(tenant).await?;
        let found = records::by_id(&mut tx, row.record.id).await?;
        tx.commit().await?;
        Ok::<_, StoreError>(found)
    };
    match read.await {
        Ok(found) => found.is_some_and(|found| found.leaf_hash == row.record.leaf_hash),
        Err(error) => {
            tracing::warn!(claim = %lease.id, error = %crate::chain(&error), "cannot look for a record");
            false
        }
    }
}

/// Ends the claim of a call that ran elsewhere. The record is durable by now; should this fail, the
/// reaper ends the claim as the record says.
async fn settle_home(gate: &Gate, lease: &Lease, tenant: Id<Tenant>, end: &End) {
    if lease.home == lease.pool {
        return;
    }
    let Some(home) = gate.regions.get(&lease.home) else {
        return;
    };
    let settle = async {
        let mut tx = home.store.begin(tenant).await?;
        match end {
            End::Done(_) => claims::settle(&mut tx, lease.id, Settled::Done).await?,
            End::Unknown => claims::settle(&mut tx, lease.id, Settled::Unknown).await?,
            End::Released => claims::release(&mut tx, lease.id).await?,
        };
        tx.commit().await
    };
    if let Err(error) = settle.await {
        tracing::warn!(claim = %lease.id, error = %crate::chain(&error), "a claim is left to the reaper");
    }
}
