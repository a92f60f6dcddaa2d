//! The registry of replicas: what a poll says, and when a change counts as acknowledged.

use std::time::Duration;

use portcullis_domain::id::{Id, Replica, Tenant};
use portcullis_store::ControlStore;
use portcullis_store::epoch::{self, Changes, Raised};
use portcullis_store::replicas::{self, PATIENCE, PATIENCE_MUTATING, Polled, Presence, Standing};

use crate::cluster::{Cluster, Database};
use crate::fixture::{self, NOW, id};

fn presence() -> Presence {
    Presence {
        replica: id(),
        started_at: NOW,
    }
}

async fn change(store: &ControlStore, tenant: Id<Tenant>) -> Raised {
    let mut tx = store.begin(tenant).await.unwrap();
    let raised = epoch::raise((&mut tx).into(), "switch", NOW).await.unwrap();
    tx.commit().await.unwrap();
    raised
}

async fn poll(store: &ControlStore, who: Presence, known: Option<i64>) -> Polled {
    replicas::poll(store, who, known).await.unwrap()
}

async fn standings(
    store: &ControlStore,
    raised: Raised,
    patience: Duration,
) -> Vec<(Id<Replica>, Standing)> {
    let mut tx = store.platform().await.unwrap();
    replicas::standings(&mut tx, raised, patience)
        .await
        .unwrap()
}

async fn silence(database: &Database<'_>, who: Presence, seconds: f64) {
    let sql = format!(
        "update replicas set confirmed_at = clock_timestamp() - interval '{seconds} s'
         where id = '{}'",
        who.replica.as_uuid()
    );
    database.administer(&sql).await;
}

#[tokio::test]
async fn the_poll_that_registers_confirms_nothing_and_the_next_one_does() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    change(&store, acme).await;
    let who = presence();
    let first = poll(&store, who, None).await;
    assert_eq!(first.changes, Changes::Everything { epoch: 1 });
    assert!(!first.confirms);
    let second = poll(&store, who, Some(1)).await;
    let nothing = Changes::Since {
        epoch: 1,
        changes: vec![],
    };
    assert_eq!((second.changes, second.confirms), (nothing, true));
}

#[tokio::test]
async fn a_poll_tells_what_changed_since_what_the_replica_knows() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let who = presence();
    poll(&store, who, None).await;
    change(&store, acme).await;
    change(&store, acme).await;
    let Changes::Since { epoch, changes } = poll(&store, who, Some(1)).await.changes else {
        panic!("the log reaches back");
    };
    assert_eq!((epoch, changes.len()), (2, 1));
    assert_eq!(changes[0].tenant, Some(acme));
    // The database was set back by a restore.
    let ahead = poll(&store, who, Some(9)).await.changes;
    assert_eq!(ahead, Changes::Everything { epoch: 2 });
}

#[tokio::test]
async fn a_change_is_confirmed_by_the_poll_after_the_one_that_told_of_it() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let (one, two) = (presence(), presence());
    for who in [one, two] {
        poll(&store, who, Some(0)).await;
    }
    let raised = change(&store, acme).await;
    let awaited = |standing: &(Id<Replica>, Standing)| !standing.1.is_settled();
    assert!(
        standings(&store, raised, PATIENCE)
            .await
            .iter()
            .all(awaited)
    );
    // To have been told is not to have taken in.
    poll(&store, one, Some(0)).await;
    assert!(
        standings(&store, raised, PATIENCE)
            .await
            .iter()
            .all(awaited)
    );
    poll(&store, one, Some(1)).await;
    let found = standings(&store, raised, PATIENCE).await;
    assert_eq!((found[0].0, found[1].0), (one.replica, two.replica));
    assert!(
        matches!(found[0].1, Standing::Confirmed { .. }),
        "{found:?}"
    );
    assert!(matches!(found[1].1, Standing::Awaited { .. }), "{found:?}");
}

#[tokio::test]
async fn a_confirmation_keeps_its_time_until_the_next_change() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let who = presence();
    let raised = change(&store, acme).await;
    poll(&store, who, Some(1)).await;
    let first = standings(&store, raised, PATIENCE).await;
    for _ in 0..3 {
        poll(&store, who, Some(1)).await;
    }
    assert_eq!(standings(&store, raised, PATIENCE).await, first);
}

#[tokio::test]
async fn a_silent_replica_refuses_itself_after_its_patience_and_not_before() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let who = presence();
    poll(&store, who, Some(0)).await;
    let raised = change(&store, acme).await;
    for (seconds, patience, settled) in [
        (1.0, PATIENCE_MUTATING, false),
        (2.1, PATIENCE_MUTATING, true),
        (2.1, PATIENCE, false),
        (9.0, PATIENCE, false),
        (10.1, PATIENCE, true),
    ] {
        silence(&database, who, seconds).await;
        let found = standings(&store, raised, patience).await;
        assert_eq!(found[0].1.is_settled(), settled, "{seconds} {patience:?}");
    }
}

#[tokio::test]
async fn a_replica_that_was_silent_or_forgotten_is_not_fresh_by_its_next_poll() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let who = presence();
    poll(&store, who, Some(0)).await;
    assert!(poll(&store, who, Some(0)).await.confirms);
    // Anybody may have taken it for absent until its poll arrived.
    silence(&database, who, 1.5).await;
    assert!(!poll(&store, who, Some(0)).await.confirms);
    assert!(poll(&store, who, Some(0)).await.confirms);
    let mut tx = store.platform().await.unwrap();
    replicas::remove(&mut tx, who.replica).await.unwrap();
    tx.commit().await.unwrap();
    assert!(!poll(&store, who, Some(0)).await.confirms);
    assert!(poll(&store, who, Some(0)).await.confirms);
}

#[tokio::test]
async fn nobody_waits_for_a_replica_that_left() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let who = presence();
    poll(&store, who, Some(0)).await;
    let raised = change(&store, acme).await;
    let mut tx = store.platform().await.unwrap();
    replicas::remove(&mut tx, who.replica).await.unwrap();
    replicas::remove(&mut tx, who.replica).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(standings(&store, raised, PATIENCE).await, []);
}

#[tokio::test]
async fn only_the_long_silent_are_forgotten_however_short_a_silence_is_named() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let (lost, late) = (presence(), presence());
    for (who, seconds) in [(lost, 30.0), (late, 15.0)] {
        poll(&store, who, Some(0)).await;
        silence(&database, who, seconds).await;
    }
    let mut tx = store.platform().await.unwrap();
    assert_eq!(replicas::forget(&mut tx, Duration::ZERO).await.unwrap(), 1);
    let (epoch, left) = replicas::list(&mut tx).await.unwrap();
    assert_eq!((epoch, left.len()), (0, 1));
    assert_eq!(left[0].id, late.replica);
    let silent = left[0].silent_for;
    assert!((15..25).contains(&silent.as_secs()), "{silent:?}");
}

#[tokio::test]
async fn the_list_says_the_epoch_even_where_nobody_serves() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    change(&store, acme).await;
    let mut tx = store.platform().await.unwrap();
    assert_eq!(replicas::list(&mut tx).await.unwrap(), (1, vec![]));
}
