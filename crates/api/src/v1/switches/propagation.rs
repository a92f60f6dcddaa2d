//! How far the replicas have followed a change, and the wait until they have.

use std::time::Duration;

use portcullis_domain::id::{Id, Replica};
use portcullis_store::epoch::Raised;
use portcullis_store::replicas::{self, Standing};
use portcullis_store::{ControlStore, StoreError};
use portcullis_wire::api::{Propagation, ReplicaStanding};
use tokio::time::Instant;

/// How long an answer waits for the acknowledgement: longer than the longest patience of a replica.
const LONGEST: Duration = Duration::from_secs(12);
/// How long between two looks at first, while all is well.
const SOON: Duration = Duration::from_millis(10);
/// How long between two looks where somebody is late.
const LATE: Duration = Duration::from_millis(100);

/// Nobody has confirmed anything yet.
pub(super) const fn unknown(epoch: i64) -> Propagation {
    Propagation {
        epoch,
        acknowledged: false,
        replicas: Vec::new(),
    }
}

/// Where the replicas stand on a change that was committed.
pub(super) async fn of(
    raised: Raised,
    patience: Duration,
    control: &ControlStore,
) -> Result<Propagation, StoreError> {
    let mut tx = control.platform().await?;
    let standings = replicas::standings(&mut tx, raised, patience).await?;
    tx.commit().await?;
    Ok(Propagation {
        epoch: raised.epoch,
        acknowledged: standings.iter().all(|(_, standing)| standing.is_settled()),
        replicas: standings.into_iter().map(view).collect(),
    })
}

/// The same once the change is acknowledged, or what was last seen after the longest wait. A database
/// that is away acknowledges nothing.
pub(super) async fn awaited(
    raised: Raised,
    patience: Duration,
    control: &ControlStore,
) -> Propagation {
    let began = Instant::now();
    let mut known = unknown(raised.epoch);
    loop {
        let left = LONGEST.saturating_sub(began.elapsed());
        match tokio::time::timeout(left, of(raised, patience, control)).await {
            Ok(Ok(seen)) => known = seen,
            Ok(Err(error)) => tracing::warn!(%error, "where the replicas stand is not known"),
            // The time is over; what was seen before it still names who is late.
            Err(_elapsed) => {}
        }
        let waited = began.elapsed();
        if known.acknowledged || waited >= LONGEST {
            return known;
        }
        let pause = if waited < Duration::from_secs(1) {
            SOON
        } else {
            LATE
        };
        tokio::time::sleep(pause).await;
    }
}

fn view((replica, standing): (Id<Replica>, Standing)) -> ReplicaStanding {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let none = ReplicaStanding {
        replica,
        confirmed_after_ms: None,
        refuses_itself: None,
        refuses_itself_after_ms: None,
    };
    match standing {
        Standing::Confirmed { after } => ReplicaStanding {
            confirmed_after_ms: Some(millis(after)),
            ..none
        },
        Standing::RefusesItself => ReplicaStanding {
            refuses_itself: Some(true),
            ..none
        },
        Standing::Awaited {
            refuses_itself_after,
        } => ReplicaStanding {
            refuses_itself_after_ms: Some(millis(refuses_itself_after)),
            ..none
        },
    }
}
