//! A token is bound once, whoever asks at the same moment and on however many replicas.

use portcullis_domain::Id;
use portcullis_domain::id::Tenant;
use portcullis_store::bindings::{TokenUse, bind_or_compare};
use portcullis_store::roles;
use portcullis_store::sweeper::ControlSweeper;
use portcullis_store::{Bound, ControlStore, StoreError};
use time::Duration;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, Database};
use crate::fixture::{self, NOW, token_use};

async fn bind(store: &ControlStore, tenant: Id<Tenant>, used: TokenUse<'_>) -> Bound {
    let mut tx = store.begin(tenant).await.unwrap();
    let bound = bind_or_compare(&mut tx, used, NOW).await.unwrap();
    tx.commit().await.unwrap();
    bound
}

async fn replicas(database: &Database<'_>) -> Vec<ControlStore> {
    let mut replicas = Vec::new();
    for _ in 0..3 {
        let options = fixture::options(10);
        let store = ControlStore::connect(database.url(roles::APP), options).await;
        replicas.push(store.unwrap());
    }
    replicas
}

#[tokio::test]
async fn of_200_uses_at_once_on_three_replicas_exactly_one_is_the_first() {
    let database = Cluster::shared().await.control().await;
    let replicas = replicas(&database).await;
    let tenant = fixture::tenant(&replicas[0], "acme").await;
    for round in 0..5 {
        let mut uses = JoinSet::new();
        for number in 0..200 {
            let store = replicas[number % replicas.len()].clone();
            uses.spawn(async move {
                let jti = format!("jti-{round}");
                bind(&store, tenant, token_use(&jti, b"here")).await
            });
        }
        let bound = uses.join_all().await;
        assert_eq!(bound.iter().filter(|b| **b == Bound::First).count(), 1);
        assert_eq!(bound.iter().filter(|b| **b == Bound::Same).count(), 199);
    }
}

#[tokio::test]
async fn a_later_use_with_another_binding_or_kind_is_different() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let tenant = fixture::tenant(&store, "acme").await;
    let first = token_use("jti", b"here");
    assert_eq!(bind(&store, tenant, first).await, Bound::First);
    assert_eq!(bind(&store, tenant, first).await, Bound::Same);
    let elsewhere = token_use("jti", b"elsewhere");
    assert_eq!(bind(&store, tenant, elsewhere).await, Bound::Different);
    let weaker = TokenUse {
        kind: "certificate",
        ..first
    };
    assert_eq!(bind(&store, tenant, weaker).await, Bound::Different);
    // What came second never replaces the first.
    assert_eq!(bind(&store, tenant, first).await, Bound::Same);
}

#[tokio::test]
async fn another_tenant_or_issuer_with_the_same_jti_is_another_token() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let globex = fixture::tenant(&store, "globex").await;
    let used = token_use("jti", b"here");
    assert_eq!(bind(&store, acme, used).await, Bound::First);
    let elsewhere = token_use("jti", b"elsewhere");
    assert_eq!(bind(&store, globex, elsewhere).await, Bound::First);
    let other = TokenUse {
        iss: "https://other.example.com",
        ..elsewhere
    };
    assert_eq!(bind(&store, acme, other).await, Bound::First);
}

#[tokio::test]
async fn a_binding_that_was_not_committed_binds_nothing() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let tenant = fixture::tenant(&store, "acme").await;
    let mut tx = store.begin(tenant).await.unwrap();
    let used = token_use("jti", b"here");
    let bound = bind_or_compare(&mut tx, used, NOW).await.unwrap();
    assert_eq!(bound, Bound::First);
    drop(tx);
    assert_eq!(bind(&store, tenant, used).await, Bound::First);
}

#[tokio::test]
async fn values_outside_their_bounds_are_refused_not_cut() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let tenant = fixture::tenant(&store, "acme").await;
    let long = "x".repeat(513);
    for used in [
        token_use(&long, b"here"),
        token_use("", b"here"),
        token_use("jti", b""),
        token_use("a\0b", b"here"),
    ] {
        let mut tx = store.begin(tenant).await.unwrap();
        let error = bind_or_compare(&mut tx, used, NOW).await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{error}");
    }
}

#[tokio::test]
async fn only_bindings_long_expired_are_swept_and_in_batches() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let tenant = fixture::tenant(&store, "acme").await;
    // The sweeper goes by the database's clock.
    let clock = database
        .count("select extract(epoch from now())::bigint")
        .await;
    let clock = time::OffsetDateTime::from_unix_timestamp(clock).unwrap();
    for (jti, age) in [
        ("1", 16),
        ("2", 20),
        ("3", 2_000),
        ("fresh", 14),
        ("live", -5),
    ] {
        let used = TokenUse {
            expires_at: clock - Duration::minutes(age),
            ..token_use(jti, b"here")
        };
        bind(&store, tenant, used).await;
    }
    let sweeper = ControlSweeper::connect(database.url(roles::SWEEPER))
        .await
        .unwrap();
    assert_eq!(sweeper.remove_expired_bindings(2).await.unwrap(), 2);
    assert_eq!(sweeper.remove_expired_bindings(2).await.unwrap(), 1);
    assert_eq!(sweeper.remove_expired_bindings(2).await.unwrap(), 0);
    for jti in ["fresh", "live"] {
        let bound = bind(&store, tenant, token_use(jti, b"here")).await;
        assert_eq!(bound, Bound::Same, "{jti}");
    }
}
