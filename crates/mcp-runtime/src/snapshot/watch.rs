//! Keeps the snapshots in step with the epoch: announcements for speed, a poll each 500 ms for truth.

use std::time::Duration;

use portcullis_store::epoch::{self, Changes, EpochListener};
use portcullis_store::{ControlStore, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Snapshots;

/// How often the epoch is read whether or not anything was announced.
const POLL: Duration = Duration::from_millis(500);
/// How long a poll may take.
const ANSWER: Duration = Duration::from_secs(2);
/// How long to wait before listening again after the connection was lost.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// Watches until `stop`. A database that is away is asked again at the next poll; how stale the
/// snapshots are meanwhile, [`Snapshots::freshness`] says.
pub async fn watch(control: ControlStore, snapshots: &Snapshots, stop: CancellationToken) {
    let mut known = None;
    let mut listener = None;
    let mut tried = None;
    loop {
        if listener.is_none() && due(tried) {
            tried = Some(Instant::now());
            listener = connect(&control).await;
        }
        known = polled(&control, snapshots, known).await.or(known);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(POLL) => {}
            lost = heard(&mut listener) => if lost { listener = None; },
        }
    }
}

/// One poll, in bounded time: a database that neither answers nor breaks off is as one that is away.
async fn polled(control: &ControlStore, snapshots: &Snapshots, known: Option<i64>) -> Option<i64> {
    let answer = tokio::time::timeout(ANSWER, poll(control, snapshots, known)).await;
    let why = match answer {
        Ok(Ok(epoch)) => return Some(epoch),
        Ok(Err(error)) => crate::chain(&error),
        Err(elapsed) => elapsed.to_string(),
    };
    tracing::warn!(why, "the epoch could not be read");
    None
}

fn due(tried: Option<Instant>) -> bool {
    tried.is_none_or(|at| at.elapsed() >= LISTEN_AGAIN)
}

async fn connect(control: &ControlStore) -> Option<EpochListener> {
    match control.listen().await {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::warn!(error = %crate::chain(&error), "epochs are polled only");
            None
        }
    }
}

/// Waits for an announcement; true where the connection was lost. Without one it waits for ever.
async fn heard(listener: &mut Option<EpochListener>) -> bool {
    match listener {
        Some(listener) => !matches!(listener.next().await, Ok(Some(_))),
        None => std::future::pending().await,
    }
}

/// Reads what changed, marks it, and only then confirms the epoch.
async fn poll(
    control: &ControlStore,
    snapshots: &Snapshots,
    known: Option<i64>,
) -> Result<i64, StoreError> {
    let asked = Instant::now();
    let mut tx = control.platform().await?;
    let Some(known) = known else {
        let epoch = epoch::current(&mut tx).await?;
        tx.commit().await?;
        snapshots.note_everything(epoch);
        snapshots.confirm(asked);
        return Ok(epoch);
    };
    let changes = epoch::since(&mut tx, known).await?;
    tx.commit().await?;
    let reached = match changes {
        Changes::Since { epoch, changes } => {
            for change in changes {
                match change.tenant {
                    Some(tenant) => snapshots.note_change(tenant, change.epoch),
                    None => snapshots.note_everything(change.epoch),
                }
            }
            epoch
        }
        Changes::Everything { epoch } => {
            snapshots.note_everything(epoch);
            epoch
        }
    };
    snapshots.confirm(asked);
    Ok(reached)
}
