//! The epoch orders every change, and a snapshot is of exactly one.

use std::time::Duration;

use portcullis_domain::id::{Principal, Tenant};
use portcullis_domain::{Id, Jurisdiction};
use portcullis_store::epoch::{self, Change, Changes};
use portcullis_store::principals::{self, PrincipalStatus};
use portcullis_store::sweeper::ControlSweeper;
use portcullis_store::{ControlStore, StoreError, roles, snapshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::fixture::{self, NOW, id};

async fn bump(store: &ControlStore, tenant: Id<Tenant>, kind: &str) -> i64 {
    let mut tx = store.begin(tenant).await.unwrap();
    let epoch = epoch::bump(&mut tx, kind, NOW).await.unwrap();
    tx.commit().await.unwrap();
    epoch
}

async fn since(store: &ControlStore, epoch: i64) -> Changes {
    let mut tx = store.platform().await.unwrap();
    epoch::since(&mut tx, epoch).await.unwrap()
}

#[tokio::test]
async fn changes_are_told_once_and_in_order() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let globex = fixture::tenant(&store, "globex").await;
    assert_eq!(bump(&store, acme, "grant").await, 1);
    assert_eq!(bump(&store, globex, "policy").await, 2);
    let change = |epoch, tenant, kind: &str| Change {
        epoch,
        tenant: Some(tenant),
        kind: kind.to_owned(),
    };
    let expected = Changes::Since {
        epoch: 2,
        changes: vec![change(1, acme, "grant"), change(2, globex, "policy")],
    };
    assert_eq!(since(&store, 0).await, expected);
    let none = Changes::Since {
        epoch: 2,
        changes: vec![],
    };
    assert_eq!(since(&store, 2).await, none);
    let mut tx = store.platform().await.unwrap();
    assert_eq!(epoch::current(&mut tx).await.unwrap(), 2);
}

#[tokio::test]
async fn a_reader_from_before_the_log_or_from_a_lost_future_loads_everything() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    for _ in 0..3 {
        bump(&store, acme, "grant").await;
    }
    database
        .administer(
            "update epoch_log set at = case when epoch < 3 then now() - interval '2 days' else now() end",
        )
        .await;
    let sweeper = ControlSweeper::connect(database.url(roles::SWEEPER))
        .await
        .unwrap();
    assert_eq!(sweeper.remove_old_changes(10).await.unwrap(), 2);
    assert_eq!(since(&store, 0).await, Changes::Everything { epoch: 3 });
    // The database was set back by a restore.
    assert_eq!(since(&store, 9).await, Changes::Everything { epoch: 3 });
    assert!(matches!(since(&store, 2).await, Changes::Since { .. }));
}

#[tokio::test]
async fn a_change_that_is_rolled_back_raises_nothing() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let mut tx = store.begin(acme).await.unwrap();
    epoch::bump(&mut tx, "grant", NOW).await.unwrap();
    drop(tx);
    assert_eq!(bump(&store, acme, "grant").await, 1);
}

#[tokio::test]
async fn a_kind_that_is_no_word_and_a_tenant_that_is_none_are_refused() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let mut tx = store.begin(acme).await.unwrap();
    let error = epoch::bump(&mut tx, "No Word", NOW).await.unwrap_err();
    assert!(matches!(error, StoreError::Invalid { .. }), "{error}");
    let mut tx = store.begin(id()).await.unwrap();
    let error = epoch::bump(&mut tx, "grant", NOW).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn an_announcement_reaches_every_listener_and_only_after_the_commit() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let mut listener = store.listen().await.unwrap();
    let mut tx = store.begin(acme).await.unwrap();
    epoch::bump(&mut tx, "grant", NOW).await.unwrap();
    let early = timeout(Duration::from_millis(50), listener.next()).await;
    assert!(early.is_err(), "announced before the commit");
    tx.commit().await.unwrap();
    assert_eq!(listener.next().await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_listener_that_lost_its_connection_says_so_and_goes_on() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let mut listener = store.listen().await.unwrap();
    let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
               where datname = current_database() and query ilike 'listen%'";
    assert_eq!(database.count(cut).await, 1);
    assert_eq!(listener.next().await.unwrap(), None);
    bump(&store, acme, "grant").await;
    assert_eq!(listener.next().await.unwrap(), Some(1));
}

#[tokio::test]
async fn concurrent_changes_commit_in_the_order_of_their_epochs() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let mut writers = JoinSet::new();
    for _ in 0..4 {
        let store = store.clone();
        writers.spawn(async move {
            for _ in 0..25 {
                bump(&store, acme, "grant").await;
            }
        });
    }
    // A reader that takes in what it is told never meets a gap.
    let mut reached = 0;
    while reached < 100 {
        match since(&store, reached).await {
            Changes::Since { epoch, changes } => {
                let epochs: Vec<i64> = changes.iter().map(|change| change.epoch).collect();
                assert_eq!(epochs, (reached + 1..=epoch).collect::<Vec<_>>());
                reached = epoch;
            }
            Changes::Everything { .. } => panic!("a gap after {reached}"),
        }
    }
    writers.join_all().await;
}

async fn toggle(store: &ControlStore, tenant: Id<Tenant>, who: Id<Principal>) {
    let mut tx = store.begin(tenant).await.unwrap();
    let held = principals::get(&mut tx, who).await.unwrap().unwrap();
    let status = match held.status {
        PrincipalStatus::Active => PrincipalStatus::Suspended,
        PrincipalStatus::Suspended => PrincipalStatus::Active,
    };
    principals::set_status(&mut tx, who, Some(held.version), status, NOW)
        .await
        .unwrap();
    epoch::bump(&mut tx, "principal", NOW).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_snapshot_never_mixes_two_epochs() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::full_tenant(&store, "acme").await;
    let first = snapshot::load(&store, acme, NOW).await.unwrap();
    let who = first.principals[0].id;
    let mut writer = JoinSet::new();
    let other = store.clone();
    writer.spawn(async move {
        for _ in 0..200 {
            toggle(&other, acme, who).await;
        }
    });
    let mut seen = std::collections::BTreeSet::new();
    while writer.try_join_next().is_none() {
        let rows = snapshot::load(&store, acme, NOW).await.unwrap();
        let active = (rows.epoch - first.epoch) % 2 == 0;
        assert_eq!(rows.principals[0].status == PrincipalStatus::Active, active);
        // Grants are of active principals alone, in the same moment.
        assert_eq!(rows.grants.len(), usize::from(active));
        seen.insert(rows.epoch);
    }
    assert!(seen.len() > 2, "the snapshots all fell into {seen:?}");
}

#[tokio::test]
async fn a_snapshot_holds_one_tenants_configuration_and_no_ended_grants() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::full_tenant(&store, "acme").await;
    fixture::full_tenant(&store, "globex").await;
    let mut tx = store.begin(acme).await.unwrap();
    let name = "user:dana".parse().unwrap();
    let dana = principals::create(&mut tx, id(), &name, Jurisdiction::Eu, NOW)
        .await
        .unwrap();
    for (expires_at, revoked) in [
        (Some(NOW), false),
        (Some(NOW + time::Duration::SECOND), false),
        (None, true),
    ] {
        let grant = portcullis_store::grants::NewGrant {
            id: id(),
            principal: dana.id,
            scope: &"orders.read".parse().unwrap(),
            purpose: None,
            granted_by: "user:eve",
            expires_at,
        };
        let made = portcullis_store::grants::create(&mut tx, &grant, NOW)
            .await
            .unwrap();
        if revoked {
            portcullis_store::grants::revoke(&mut tx, dana.id, made.id, NOW)
                .await
                .unwrap();
        }
    }
    tx.commit().await.unwrap();
    let rows = snapshot::load(&store, acme, NOW).await.unwrap();
    assert_eq!(rows.tenant.slug, "acme");
    assert_eq!((rows.tools.len(), rows.principals.len()), (1, 2));
    assert_eq!(rows.principal_limits.len(), 1);
    assert!(rows.policy.is_some() && rows.tenant_limits.is_some());
    let of_dana = rows
        .grants
        .iter()
        .filter(|grant| grant.principal == dana.id);
    assert_eq!(of_dana.count(), 1);
    let absent = snapshot::load(&store, id(), NOW).await.unwrap_err();
    assert!(matches!(absent, StoreError::NotFound { .. }), "{absent}");
}
