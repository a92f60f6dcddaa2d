//! Keeps a replica in step with the epoch: announcements for speed, a poll each 500 ms for truth.
//!
//! What changed is taken in before it is confirmed, here and then to the database: snapshots are marked
//! as outdated, switches are read, calls under way that fall under one are stopped. This module must
//! never confirm what it could not take in.

use std::time::Duration;

use portcullis_store::epoch::{Change, Changes};
use portcullis_store::replicas::{self, Presence};
use portcullis_store::switches::{self, Concern};
use portcullis_store::{ControlStore, StoreError};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::gate::Gate;

/// How often the epoch is read whether or not anything was announced.
const POLL: Duration = Duration::from_millis(500);
/// How long taking in what changed may take.
const TAKE_IN: Duration = Duration::from_secs(2);
/// How long connecting for announcements may take, and taking this replica off the list.
const CONNECT: Duration = Duration::from_secs(2);
/// How long to wait before listening again after the connection was lost.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// With changes of more tenants than these, every switch is read at once.
const MANY: usize = 8;

/// Watches until `stop`, then takes this replica off the list of those that serve. A database that is
/// away is asked again at the next poll; how stale the replica is meanwhile,
/// [`super::Snapshots::freshness`] says.
pub async fn watch(gate: &Gate, stop: CancellationToken) {
    let announced = Notify::new();
    // Callers that take every connection of the replica must not keep it from knowing what is forbidden.
    let control = gate.control.apart().unwrap_or_else(|error| {
        tracing::error!(%error, "the epoch is read beside callers");
        gate.control.clone()
    });
    tokio::select! {
        () = stop.cancelled() => {}
        () = listen(&control, &announced) => {}
        () = follow(gate, &control, &announced) => {}
    }
    if let Err(why) = leave(gate, &control).await {
        tracing::warn!(
            why,
            "this replica is still on the list, and is forgotten when silent"
        );
    }
}

/// Says when something was announced, for ever.
async fn listen(control: &ControlStore, announced: &Notify) {
    loop {
        let why = listen_once(control, announced).await;
        tracing::warn!(why, "epochs are polled only, for a while");
        // What was announced last may be lost.
        announced.notify_one();
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}

/// Listens on one connection. Gives back what was wrong with it.
async fn listen_once(control: &ControlStore, announced: &Notify) -> String {
    let mut listener = match timeout(CONNECT, control.listen()).await {
        Ok(Ok(listener)) => listener,
        Ok(Err(error)) => return crate::chain(&error),
        Err(elapsed) => return elapsed.to_string(),
    };
    loop {
        match listener.next().await {
            Ok(Some(_epoch)) => announced.notify_one(),
            Ok(None) => return "the connection was lost".to_owned(),
            Err(error) => return crate::chain(&error),
        }
    }
}

/// Follows the epoch, for ever.
async fn follow(gate: &Gate, control: &ControlStore, announced: &Notify) {
    let presence = Presence {
        replica: gate.replica,
        started_at: gate.clock.now(),
    };
    let mut known = None;
    loop {
        let polled = poll(gate, control, presence, known).await;
        let settled = match polled {
            Ok(Step { epoch, settled }) => {
                known = Some(epoch);
                settled
            }
            Err(why) => {
                tracing::warn!(why, "the epoch could not be confirmed");
                true
            }
        };
        // What was taken in just now is confirmed to the database at once.
        if settled {
            let _woken = timeout(POLL, announced.notified()).await;
        }
    }
}

/// How far a poll came.
struct Step {
    /// What the replica has taken in.
    epoch: i64,
    /// Whether the database knows that, and the replica counts as fresh.
    settled: bool,
}

/// One poll, in bounded time: a database that neither answers nor breaks off is as one that is away.
async fn poll(
    gate: &Gate,
    control: &ControlStore,
    presence: Presence,
    known: Option<i64>,
) -> Result<Step, String> {
    let asked = Instant::now();
    let answer = replicas::poll(control, presence, known);
    let polled = match timeout(replicas::ANSWER, answer).await {
        Ok(Ok(polled)) => polled,
        Ok(Err(error)) => return Err(crate::chain(&error)),
        Err(elapsed) => return Err(elapsed.to_string()),
    };
    let news = match &polled.changes {
        Changes::Everything { .. } => true,
        Changes::Since { changes, .. } => !changes.is_empty(),
    };
    let epoch = match timeout(TAKE_IN, take_in(gate, control, polled.changes)).await {
        Ok(Ok(epoch)) => epoch,
        Ok(Err(error)) => return Err(crate::chain(&error)),
        Err(elapsed) => return Err(elapsed.to_string()),
    };
    if polled.confirms {
        gate.snapshots.confirm(asked);
    }
    Ok(Step {
        epoch,
        settled: polled.confirms && !news,
    })
}

/// Takes in what changed. Gives back the epoch that is known then.
async fn take_in(gate: &Gate, control: &ControlStore, changes: Changes) -> Result<i64, StoreError> {
    let (epoch, concerns) = match changes {
        Changes::Everything { epoch } => {
            gate.snapshots.note_everything(epoch);
            (epoch, vec![Concern::All])
        }
        Changes::Since { epoch, changes } => {
            let concerns = changes.iter().filter_map(|change| note(gate, change));
            (epoch, few(concerns.collect()))
        }
    };
    if !concerns.is_empty() {
        read_switches(gate, control, &concerns).await?;
    }
    Ok(epoch)
}

/// Marks what a change makes outdated, and says whose switches have to be read again.
fn note(gate: &Gate, change: &Change) -> Option<Concern> {
    match (change.kind.as_str(), change.tenant) {
        (switches::CHANGE, Some(tenant)) => Some(Concern::One(tenant)),
        (switches::CHANGE, None) => Some(Concern::Everyone),
        // A drill measures how long a change takes to get here, and changes nothing.
        (replicas::DRILL, _) => None,
        (_, Some(tenant)) => {
            gate.snapshots.note_change(tenant, change.epoch);
            None
        }
        (_, None) => {
            gate.snapshots.note_everything(change.epoch);
            None
        }
    }
}

/// Each concern once, and all of them together where they are many.
fn few(mut concerns: Vec<Concern>) -> Vec<Concern> {
    concerns.sort_unstable();
    concerns.dedup();
    if concerns.len() > MANY {
        return vec![Concern::All];
    }
    concerns
}

/// Reads the switches that are down, and stops the calls under way that fall under one.
async fn read_switches(
    gate: &Gate,
    control: &ControlStore,
    concerns: &[Concern],
) -> Result<(), StoreError> {
    let mut tx = control.platform().await?;
    let mut read = Vec::with_capacity(concerns.len());
    for concern in concerns {
        let rows = switches::down(&mut tx, *concern).await?;
        read.push((*concern, rows));
    }
    tx.commit().await?;
    let now = gate.clock.now();
    for (concern, rows) in read {
        let (down, stopped) = (rows.len(), gate.switchboard.replace(concern, rows, now));
        tracing::info!(?concern, down, stopped, "switches were taken in");
    }
    Ok(())
}

async fn leave(gate: &Gate, control: &ControlStore) -> Result<(), String> {
    let left = async {
        let mut tx = control.platform().await?;
        replicas::remove(&mut tx, gate.replica).await?;
        tx.commit().await
    };
    match timeout(CONNECT, left).await {
        Ok(left) => left.map_err(|error| crate::chain(&error)),
        Err(elapsed) => Err(elapsed.to_string()),
    }
}
