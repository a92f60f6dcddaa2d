//! A future that is dropped anywhere leaves the pool clean: a client may hang up at any point.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Instant;

use portcullis_domain::Id;
use portcullis_domain::id::Tenant;
use portcullis_store::{
    ControlStore, Page, RegionStore, StoreError, claims, flags, orders, outbox, roles, tenants,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::claims::{new_claim, recorded};
use crate::cluster::{Cluster, Database};
use crate::fixture::{self, NOW, id, order};

const CANCELLATIONS: u32 = 10_000;
/// Of each kind of statement that is alone.
const ALONE: u32 = 1_000;

/// Polls a future so many times, then drops it where it is.
async fn cancel_after<F: Future>(polls: u32, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Writes one row; says when the commit was asked for.
async fn write(
    store: &ControlStore,
    tenant: Id<Tenant>,
    asked: &AtomicBool,
) -> Result<(), StoreError> {
    let mut tx = store.begin(tenant).await?;
    let entry = outbox::NewOutboxEntry {
        id: id(),
        actor: "user:dana",
        action: "cancel.me",
        subject: "row",
        detail: "{}",
    };
    outbox::insert(&mut tx, entry, NOW).await?;
    asked.store(true, Ordering::SeqCst);
    tx.commit().await
}

/// The next caller asks for no tenant, and finds both: a setting left behind would hide one.
async fn assert_clean(store: &ControlStore, number: u32) {
    let mut tx = store.platform().await.unwrap();
    let seen = tenants::list(&mut tx, Page::first(10)).await.unwrap();
    assert_eq!(seen.len(), 2, "after cancellation {number}");
    tx.commit().await.unwrap();
}

/// The next caller asks for another tenant. Were the cancelled transaction still open, this would
/// commit its row.
async fn assert_foreign(store: &ControlStore, tenant: Id<Tenant>, number: u32) {
    let mut tx = store.begin(tenant).await.unwrap();
    let seen = outbox::list(&mut tx, Page::first(1)).await.unwrap();
    assert_eq!(seen, [], "after cancellation {number}");
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn ten_thousand_cancelled_calls_leave_a_pool_of_one_clean() {
    let database = Cluster::shared().await.control().await;
    let options = fixture::options(1);
    let store = ControlStore::connect(database.url(roles::APP), options)
        .await
        .unwrap();
    let acme = fixture::tenant(&store, "acme").await;
    let globex = fixture::tenant(&store, "globex").await;
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let (mut committed, mut unknown, mut cancelled) = (0, 0, 0);
    let started = Instant::now();
    while cancelled < CANCELLATIONS {
        let asked = AtomicBool::new(false);
        let polls = random.random_range(1..=5);
        if let Some(done) = cancel_after(polls, write(&store, acme, &asked)).await {
            done.unwrap();
            committed += 1;
        } else {
            cancelled += 1;
            unknown += i64::from(asked.load(Ordering::SeqCst));
        }
        // Otherwise the next write comes at once, whose commit would keep what was left behind.
        match random.random_range(0..4) {
            0 => assert_clean(&store, cancelled).await,
            1 => assert_foreign(&store, globex, cancelled).await,
            _ => {}
        }
    }
    println!(
        "{cancelled} cancellations, {unknown} of them in a commit, and {committed} commits in {:?}",
        started.elapsed()
    );
    let rows = database.count("select count(*) from outbox").await;
    assert!(
        (committed..=committed + unknown).contains(&rows),
        "{rows} rows of {committed} commits and {unknown} cancelled ones"
    );
    assert!(committed > 0 && unknown > 0, "the points are badly chosen");
}

async fn pool_of_one(database: &Database<'_>) -> RegionStore {
    RegionStore::connect(
        portcullis_domain::Pool::EuWest,
        database.url(roles::APP),
        database.url(roles::RECORDER),
        fixture::options(1),
    )
    .await
    .unwrap()
}

#[tokio::test]
async fn a_cancelled_statement_alone_leaves_neither_its_tenant_nor_half_of_its_rows() {
    let database = Cluster::shared().await.region().await;
    let store = pool_of_one(&database).await;
    let (acme, globex) = (id(), id());
    let mut tx = store.begin(acme).await.unwrap();
    orders::insert(&mut tx, &[order("ord_1")]).await.unwrap();
    tx.commit().await.unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let (mut cancelled, mut whole) = (0, 0);
    while cancelled < ALONE {
        let polls = random.random_range(1..=3);
        let new = new_claim(id());
        let intent = recorded(acme, new.principal, new.intent);
        let ended = if random.random() {
            let read = cancel_after(polls, orders::by_id(&store, acme, "ord_1")).await;
            read.map(|found| assert!(found.unwrap().is_some()))
        } else {
            let taken = cancel_after(polls, claims::claim(&store, &new, &intent)).await;
            taken.map(|first| assert_eq!(first.unwrap(), None))
        };
        match ended {
            Some(()) => whole += 1,
            None => cancelled += 1,
        }
        let foreign = orders::by_id(&store, globex, "ord_1").await.unwrap();
        assert_eq!(foreign, None, "after cancellation {cancelled}");
    }
    assert!(whole > 0, "the points are badly chosen");
    // A claim stands with its intent or not at all.
    for torn in [
        "select count(*) from claims c where not exists (
           select from records r where r.tenant_id = c.tenant_id and r.id = c.intent_id)",
        "select count(*) from records r where not exists (
           select from claims c where c.tenant_id = r.tenant_id and c.intent_id = r.id)",
    ] {
        assert_eq!(database.count(torn).await, 0, "{torn}");
    }
}

#[tokio::test]
async fn what_a_dropped_transaction_held_is_free_for_the_next() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let tenant = id();
    for round in 0..200 {
        let mut tx = store.begin(tenant).await.unwrap();
        let change = fixture::flag_change(round);
        flags::set(&mut tx, &change, NOW).await.unwrap();
        drop(tx);
        // It waits for the lock of the dropped one: no longer than a statement may take, or it fails.
        let mut next = store.begin(tenant).await.unwrap();
        let change = fixture::flag_change(round);
        let before = flags::set(&mut next, &change, NOW).await.unwrap();
        assert_eq!(before, None, "round {round}");
    }
    assert_eq!(database.count("select count(*) from flags").await, 0);
}
