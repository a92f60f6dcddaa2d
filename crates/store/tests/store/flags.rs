//! Feature flags: one value an environment, and a history that nobody can rewrite.

use portcullis_store::flags::{self, FlagKey, NewFlagChange};
use portcullis_store::{RegionTx, StoreError};
use time::Duration;

use crate::cluster::Cluster;
use crate::fixture::{self, NOW, flag_change, id};

async fn rollout(tx: &mut RegionTx, flag: FlagKey<'_>) -> Option<i64> {
    let row = flags::get(tx, flag).await.unwrap();
    row.map(|row| row.rollout)
}

#[tokio::test]
async fn a_flag_remembers_who_changed_it_from_what_to_what() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let mut tx = store.begin(id()).await.unwrap();
    let first = flag_change(1_000);
    assert_eq!(flags::set(&mut tx, &first, NOW).await.unwrap(), None);
    let second = NewFlagChange {
        ticket: Some(id()),
        ..flag_change(3_333)
    };
    let later = NOW + Duration::seconds(1);
    let before = flags::set(&mut tx, &second, later).await.unwrap();
    assert_eq!(before, Some(1_000));
    assert_eq!(rollout(&mut tx, first.flag).await, Some(3_333));
    let changes = flags::changes(&mut tx, first.flag, 10).await.unwrap();
    let told: Vec<_> = changes
        .iter()
        .map(|change| (change.from, change.to, change.principal, change.ticket))
        .collect();
    assert_eq!(
        told,
        [
            (Some(1_000), 3_333, second.principal, second.ticket),
            (None, 1_000, first.principal, None),
        ]
    );
    assert_eq!(changes[0].record, second.record);
    assert_eq!(changes[0].changed_at, later);
    let last = flags::changes(&mut tx, first.flag, 1).await.unwrap();
    assert_eq!(last, changes[..1]);
    // The other environments know nothing of it.
    for env in ["dev", "staging"] {
        let other = FlagKey { env, ..first.flag };
        assert_eq!(rollout(&mut tx, other).await, None);
    }
}

#[tokio::test]
async fn one_record_changes_one_flag_once() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let tenant = id();
    let mut tx = store.begin(tenant).await.unwrap();
    let first = flag_change(1_000);
    flags::set(&mut tx, &first, NOW).await.unwrap();
    tx.commit().await.unwrap();
    for env in ["prod", "dev"] {
        let again = NewFlagChange {
            flag: FlagKey { env, ..first.flag },
            to: 2_000,
            ..first
        };
        let mut tx = store.begin(tenant).await.unwrap();
        let error = flags::set(&mut tx, &again, NOW).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    }
    let mut tx = store.begin(tenant).await.unwrap();
    assert_eq!(rollout(&mut tx, first.flag).await, Some(1_000));
}

#[tokio::test]
async fn values_outside_their_bounds_are_refused_and_nothing_stays() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let tenant = id();
    let good = flag_change(0);
    let key = |env, name| FlagKey { env, name };
    let with = |flag, to| NewFlagChange {
        flag,
        to,
        record: id(),
        ..good
    };
    for bad in [
        with(good.flag, -1),
        with(good.flag, 10_001),
        with(good.flag, i64::MAX),
        with(key("production", "checkout_v2"), 1),
        with(key("prod", ""), 1),
        with(key("prod", "x'; drop table flags; --"), 1),
        with(key("prod", "a\nb"), 1),
    ] {
        let mut tx = store.begin(tenant).await.unwrap();
        let error = flags::set(&mut tx, &bad, NOW).await.unwrap_err();
        assert!(
            matches!(error, StoreError::Invalid { .. }),
            "{bad:?}: {error}"
        );
    }
    assert_eq!(database.count("select count(*) from flags").await, 0);
    let mut tx = store.begin(tenant).await.unwrap();
    flags::set(&mut tx, &with(good.flag, 10_000), NOW)
        .await
        .unwrap();
    assert_eq!(rollout(&mut tx, good.flag).await, Some(10_000));
}

#[tokio::test]
async fn another_tenants_flag_is_as_one_that_does_not_exist() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let mut tx = store.begin(id()).await.unwrap();
    let ours = flag_change(1_000);
    flags::set(&mut tx, &ours, NOW).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = store.begin(id()).await.unwrap();
    assert_eq!(rollout(&mut tx, ours.flag).await, None);
    assert_eq!(flags::changes(&mut tx, ours.flag, 10).await.unwrap(), []);
    // Theirs of the same name begins anew, and leaves ours alone.
    let theirs = flag_change(9_000);
    assert_eq!(flags::set(&mut tx, &theirs, NOW).await.unwrap(), None);
}

#[tokio::test]
async fn of_two_that_set_a_new_flag_at_once_the_second_sees_the_first() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let tenant = id();
    let set = async |to| {
        let mut tx = store.begin(tenant).await.unwrap();
        let before = flags::set(&mut tx, &flag_change(to), NOW).await.unwrap();
        tx.commit().await.unwrap();
        before
    };
    let (a, b) = tokio::join!(set(1_000), set(2_000));
    assert!(
        matches!((a, b), (None, Some(1_000)) | (Some(2_000), None)),
        "{a:?} {b:?}"
    );
}

#[tokio::test]
async fn of_many_that_set_a_flag_at_once_each_sees_the_one_before_it() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let tenant = id();
    let mut setting = tokio::task::JoinSet::new();
    for number in 1..=50 {
        let store = store.clone();
        setting.spawn(async move {
            let mut tx = store.begin(tenant).await.unwrap();
            let change = flag_change(number);
            let before = flags::set(&mut tx, &change, NOW).await.unwrap();
            tx.commit().await.unwrap();
            (before, number)
        });
    }
    let links = setting.join_all().await;
    let mut at = None;
    let mut seen = 0;
    while let Some((_, to)) = links.iter().find(|(before, _)| *before == at) {
        at = Some(*to);
        seen += 1;
    }
    assert_eq!(seen, 50, "{links:?}");
    let mut tx = store.begin(tenant).await.unwrap();
    assert_eq!(rollout(&mut tx, flag_change(0).flag).await, at);
}

#[tokio::test]
async fn history_is_not_rewritten_by_the_role_that_serves() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let tenant = id();
    let mut tx = store.begin(tenant).await.unwrap();
    flags::set(&mut tx, &flag_change(1_000), NOW).await.unwrap();
    tx.commit().await.unwrap();
    for table in ["flag_changes", "flags"] {
        for verb in ["update", "delete", "truncate"] {
            let held = format!(
                "select has_table_privilege('portcullis_app', '{table}', '{verb}')::int::bigint"
            );
            assert_eq!(database.count(&held).await, 0, "{verb} {table}");
        }
    }
}
