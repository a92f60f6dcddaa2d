//! Changes on their way to the ledger: who relays them, and what is marked.

use portcullis_domain::Id;
use portcullis_domain::id::{OutboxEntry, Tenant};
use portcullis_store::relay::RelayTurn;
use portcullis_store::{ControlStore, Page, StoreError, outbox, roles};

use crate::cluster::{Cluster, Database};
use crate::fixture::{self, NOW, id};

async fn change(store: &ControlStore, tenant: Id<Tenant>) -> Id<OutboxEntry> {
    let entry = outbox::NewOutboxEntry {
        id: id(),
        actor: "system:test",
        action: "tenant.update",
        subject: "acme",
        detail: "{}",
    };
    let mut tx = store.begin(tenant).await.unwrap();
    outbox::insert(&mut tx, entry, NOW).await.unwrap();
    tx.commit().await.unwrap();
    entry.id
}

async fn waiting(store: &ControlStore, tenant: Id<Tenant>, page: Page) -> Vec<Id<OutboxEntry>> {
    let mut tx = store.begin(tenant).await.unwrap();
    let found = outbox::waiting(&mut tx, page).await.unwrap();
    found.into_iter().map(|change| change.id).collect()
}

async fn mark(store: &ControlStore, tenant: Id<Tenant>, ids: &[Id<OutboxEntry>]) -> u64 {
    let mut tx = store.begin(tenant).await.unwrap();
    let marked = outbox::mark_relayed(&mut tx, ids, NOW).await.unwrap();
    tx.commit().await.unwrap();
    marked
}

async fn session(database: &Database<'_>) -> RelayTurn {
    RelayTurn::connect(database.url(roles::SWEEPER))
        .await
        .unwrap()
}

#[tokio::test]
async fn one_session_has_the_turn_until_it_ends() {
    let database = Cluster::shared().await.control().await;
    let (mut first, mut second) = (session(&database).await, session(&database).await);
    assert!(first.take().await.unwrap());
    assert!(first.take().await.unwrap(), "it keeps it");
    assert!(!second.take().await.unwrap());
    first.close().await.unwrap();
    // The server lets go of the lock when it has seen the end of the session.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !second.take().await.unwrap() {
        assert!(std::time::Instant::now() < deadline, "the turn is lost");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn only_the_sweeper_can_have_the_turn() {
    let database = Cluster::shared().await.control().await;
    for role in [roles::APP, roles::OWNER] {
        RelayTurn::connect(database.url(role)).await.unwrap_err();
    }
}

#[tokio::test]
async fn changes_wait_in_their_order_until_each_is_marked() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let globex = fixture::tenant(&store, "globex").await;
    let mut turn = session(&database).await;
    assert_eq!(turn.tenants_waiting().await.unwrap(), []);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(change(&store, acme).await);
    }
    assert_eq!(turn.tenants_waiting().await.unwrap(), [acme]);
    assert_eq!(waiting(&store, acme, Page::first(2)).await, ids[..2]);
    let rest = Page {
        after: Some(ids[1].as_uuid()),
        limit: 2,
    };
    assert_eq!(waiting(&store, acme, rest).await, ids[2..]);
    assert_eq!(mark(&store, globex, &ids).await, 0, "another tenant's");
    assert_eq!(mark(&store, acme, &ids[1..2]).await, 1);
    assert_eq!(
        mark(&store, acme, &ids[1..2]).await,
        0,
        "it is marked already"
    );
    assert_eq!(
        waiting(&store, acme, Page::first(9)).await,
        [ids[0], ids[2]]
    );
    assert_eq!(mark(&store, acme, &ids).await, 2);
    assert_eq!(turn.tenants_waiting().await.unwrap(), []);
}

#[tokio::test]
async fn a_change_of_the_platform_waits_as_well() {
    let database = Cluster::shared().await.control().await;
    let store = fixture::control(&database).await;
    fixture::fill_platform(&store).await;
    let mut tx = store.platform().await.unwrap();
    let found = outbox::waiting_platform(&mut tx, Page::first(9))
        .await
        .unwrap();
    let [only] = found.as_slice() else {
        panic!("{found:?}");
    };
    for marked in [1, 0] {
        let done = outbox::mark_platform_relayed(&mut tx, &[only.id], NOW).await;
        assert_eq!(done.unwrap(), marked);
    }
    let found = outbox::waiting_platform(&mut tx, Page::first(9))
        .await
        .unwrap();
    assert_eq!(found, []);
}

#[tokio::test]
async fn what_is_in_the_ledger_is_seen_by_its_tenant_alone() {
    let database = Cluster::shared().await.region().await;
    let region = fixture::region(&database).await;
    let record = fixture::record(id());
    let (tenant, written) = (record.tenant, record.record.id);
    let writer = portcullis_store::RecordWriter::start(&region, <_>::default());
    writer.submit(record).await.unwrap();
    writer.shutdown().await;
    let ids = [written, id()];
    for (whose, found) in [(tenant, vec![(written, "call".to_owned())]), (id(), vec![])] {
        let mut tx = region.begin(whose).await.unwrap();
        let seen: Result<_, StoreError> = portcullis_store::records::kinds(&mut tx, &ids).await;
        assert_eq!(seen.unwrap(), found);
    }
}
