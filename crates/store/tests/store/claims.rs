//! Claims: one a key, completed once, by whoever finds them still claimed; and nobody else's business.

use std::time::Duration as StdDuration;

use portcullis_domain::Pool;
use portcullis_domain::id::{Claim, Id, Principal, Record, Tenant};
use portcullis_store::claims::{self, ClaimState, NewClaim, Settled, StoredAnswer};
use portcullis_store::sweeper::RegionSweeper;
use portcullis_store::writer::NewRecord;
use portcullis_store::{Page, RegionStore, StoreError, orders, records, roles};

use tokio::task::JoinSet;

use crate::cluster::{Cluster, Database};
use crate::fixture::{self, id, order, record};
use crate::proxy::Proxy;

const TOOL: &str = "flag.set";

pub(crate) fn new_claim(principal: Id<Principal>) -> NewClaim<'static> {
    NewClaim {
        id: id(),
        principal,
        tool: TOOL,
        key_hash: [1; 32],
        fingerprint: [2; 32],
        intent: id(),
        outcome: id(),
        pool: Pool::EuWest,
        transactional: true,
        replica: id(),
    }
}

pub(crate) fn recorded(tenant: Id<Tenant>, principal: Id<Principal>, id: Id<Record>) -> NewRecord {
    let mut new = record(tenant);
    new.record.id = id;
    new.record.principal = Some(principal);
    new.record.tool = Some(TOOL.to_owned());
    new
}

/// Claims; gives the claim that was first, if ours was not.
async fn claim(
    store: &RegionStore,
    tenant: Id<Tenant>,
    new: &NewClaim<'_>,
) -> Option<claims::ClaimRow> {
    let intent = recorded(tenant, new.principal, new.intent);
    claims::claim(store, new, &intent).await.unwrap()
}

async fn complete(store: &RegionStore, tenant: Id<Tenant>, new: &NewClaim<'_>) -> bool {
    let outcome = recorded(tenant, new.principal, new.outcome);
    let answer = StoredAnswer {
        data_key: id(),
        ciphertext: b"sealed".to_vec(),
    };
    let mut tx = store.begin(tenant).await.unwrap();
    let done = claims::complete(&mut tx, new.id, &outcome, Some(&answer)).await;
    tx.commit().await.unwrap();
    done.unwrap()
}

async fn by_id(store: &RegionStore, tenant: Id<Tenant>, id: Id<Claim>) -> Option<claims::ClaimRow> {
    let mut tx = store.begin(tenant).await.unwrap();
    claims::by_id(&mut tx, id).await.unwrap()
}

async fn has_record(store: &RegionStore, tenant: Id<Tenant>, id: Id<Record>) -> bool {
    let mut tx = store.begin(tenant).await.unwrap();
    records::by_id(&mut tx, id).await.unwrap().is_some()
}

async fn expire(database: &Database<'_>) {
    database
        .administer("update claims set lease_until = now() - interval '1 second'")
        .await;
}

async fn open() -> (Database<'static>, RegionStore) {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    (database, store)
}

async fn sweeper(database: &Database<'_>) -> RegionSweeper {
    RegionSweeper::connect(Pool::EuWest, database.url(roles::SWEEPER))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_key_is_claimed_once_and_its_intent_is_recorded_with_it() {
    let (_database, store) = open().await;
    let (tenant, principal) = (id(), id());
    let (first, second) = (new_claim(principal), new_claim(principal));
    assert_eq!(claim(&store, tenant, &first).await, None);
    assert!(has_record(&store, tenant, first.intent).await);
    let held = claim(&store, tenant, &second).await.unwrap();
    assert_eq!((held.id, held.outcome), (first.id, first.outcome));
    assert_eq!(held.state, ClaimState::Claimed);
    assert!(!has_record(&store, tenant, second.intent).await);
    let mut tx = store.begin(tenant).await.unwrap();
    let inputs = records::inputs(&mut tx, first.intent).await.unwrap();
    assert_eq!(inputs.unwrap().arguments, b"ciphertext");
    assert_eq!(records::inputs(&mut tx, second.intent).await.unwrap(), None);
}

#[tokio::test]
async fn of_many_at_once_one_has_the_key_and_the_others_wait_to_see_it() {
    let (_database, store) = open().await;
    let (tenant, principal) = (id(), id());
    let mut tries = JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        tries.spawn(async move { claim(&store, tenant, &new_claim(principal)).await });
    }
    let firsts = tries.join_all().await;
    let ours = firsts.iter().filter(|first| first.is_none()).count();
    assert_eq!(ours, 1);
    let ids: std::collections::HashSet<_> = firsts.iter().flatten().map(|first| first.id).collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_found_as_ones_own() {
    let cluster = Cluster::shared().await;
    let database = cluster.region().await;
    let proxy = Proxy::start(cluster.socket()).await;
    let store = RegionStore::connect(
        Pool::EuWest,
        proxy.url(roles::APP, database.name()),
        proxy.url(roles::RECORDER, database.name()),
        fixture::options(2),
    )
    .await
    .unwrap();
    let (tenant, principal) = (id(), id());
    // The statement is prepared once, so that what is lost next is the answer of a claim.
    assert_eq!(claim(&store, tenant, &new_claim(id())).await, None);
    proxy.cut_once();
    let ours = new_claim(principal);
    assert_eq!(claim(&store, tenant, &ours).await, None);
    let held = claim(&store, tenant, &new_claim(principal)).await;
    assert_eq!(held.unwrap().id, ours.id);
    assert_eq!(database.count("select count(*) from claims").await, 2);
    assert_eq!(database.count("select count(*) from records").await, 2);
}

#[tokio::test]
async fn another_principal_tool_or_tenant_has_its_own_keys() {
    let (_database, store) = open().await;
    let (tenant, principal) = (id(), id());
    assert_eq!(claim(&store, tenant, &new_claim(principal)).await, None);
    assert_eq!(claim(&store, tenant, &new_claim(id())).await, None);
    let other_tool = NewClaim {
        tool: "flag.drop",
        ..new_claim(principal)
    };
    assert_eq!(claim(&store, tenant, &other_tool).await, None);
    assert_eq!(claim(&store, id(), &new_claim(principal)).await, None);
}

#[tokio::test]
async fn foreign_claims_and_answers_do_not_exist() {
    let (_database, store) = open().await;
    let (tenant, principal) = (id(), id());
    let new = new_claim(principal);
    claim(&store, tenant, &new).await;
    let foreign = id();
    assert_eq!(by_id(&store, foreign, new.id).await, None);
    assert!(!complete(&store, foreign, &new).await);
    let mut tx = store.begin(foreign).await.unwrap();
    assert!(!claims::extend(&mut tx, new.id).await.unwrap());
    assert!(!claims::release(&mut tx, new.id).await.unwrap());
    let unknown = Settled::Unknown;
    assert!(!claims::settle(&mut tx, new.id, unknown).await.unwrap());
    tx.commit().await.unwrap();
    assert!(complete(&store, tenant, &new).await);
    let mut tx = store.begin(foreign).await.unwrap();
    assert_eq!(claims::answer(&mut tx, new.outcome).await.unwrap(), None);
    let page = Page::first(10);
    assert_eq!(claims::list(&mut tx, None, page).await.unwrap(), []);
}

#[tokio::test]
async fn an_effect_a_record_and_a_completed_claim_are_kept_together_or_not_at_all() {
    let (_database, store) = open().await;
    let (tenant, principal) = (id(), id());
    let new = new_claim(principal);
    claim(&store, tenant, &new).await;
    let outcome = recorded(tenant, principal, new.outcome);
    let mut tx = store.begin(tenant).await.unwrap();
    orders::insert(&mut tx, &[order("ord_1")]).await.unwrap();
    let done = claims::complete(&mut tx, new.id, &outcome, None).await;
    assert!(done.unwrap());
    drop(tx);
    let mut tx = store.begin(tenant).await.unwrap();
    assert_eq!(orders::count(&mut tx).await.unwrap(), 0);
    assert_eq!(records::by_id(&mut tx, new.outcome).await.unwrap(), None);
    orders::insert(&mut tx, &[order("ord_1")]).await.unwrap();
    let done = claims::complete(&mut tx, new.id, &outcome, None).await;
    assert!(done.unwrap());
    tx.commit().await.unwrap();
    let row = by_id(&store, tenant, new.id).await.unwrap();
    assert_eq!(row.state, ClaimState::Done);
    assert!(row.completed_at.is_some());
    assert!(has_record(&store, tenant, new.outcome).await);
}

#[tokio::test]
async fn a_completed_claim_keeps_its_answer_and_is_not_completed_again() {
    let (_database, store) = open().await;
    let (tenant, principal) = (id(), id());
    let new = new_claim(principal);
    claim(&store, tenant, &new).await;
    assert!(complete(&store, tenant, &new).await);
    assert!(!complete(&store, tenant, &new).await);
    let mut tx = store.begin(tenant).await.unwrap();
    let answer = claims::answer(&mut tx, new.outcome).await.unwrap();
    assert_eq!(answer.unwrap().ciphertext, b"sealed");
    assert!(!claims::extend(&mut tx, new.id).await.unwrap());
    assert!(!claims::release(&mut tx, new.id).await.unwrap());
}

#[tokio::test]
async fn a_claim_that_was_closed_meanwhile_cannot_be_completed() {
    let (database, store) = open().await;
    let (tenant, principal) = (id(), id());
    let new = new_claim(principal);
    claim(&store, tenant, &new).await;
    expire(&database).await;
    let mut tx = store.begin(tenant).await.unwrap();
    claims::lock_expired(&mut tx, new.id)
        .await
        .unwrap()
        .unwrap();
    claims::settle(&mut tx, new.id, Settled::Unknown)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert!(!complete(&store, tenant, &new).await);
    assert!(!has_record(&store, tenant, new.outcome).await);
    let row = by_id(&store, tenant, new.id).await.unwrap();
    assert_eq!(row.state, ClaimState::Unknown);
}

#[tokio::test]
async fn a_claim_that_is_held_or_being_completed_cannot_be_closed() {
    let (database, store) = open().await;
    let (tenant, principal) = (id(), id());
    let new = new_claim(principal);
    claim(&store, tenant, &new).await;
    let mut tx = store.begin(tenant).await.unwrap();
    assert_eq!(claims::lock_expired(&mut tx, new.id).await.unwrap(), None);
    expire(&database).await;
    assert!(claims::extend(&mut tx, new.id).await.unwrap());
    tx.commit().await.unwrap();
    let mut tx = store.begin(tenant).await.unwrap();
    assert_eq!(claims::lock_expired(&mut tx, new.id).await.unwrap(), None);
    drop(tx);
    expire(&database).await;
    let outcome = recorded(tenant, principal, new.outcome);
    let mut completing = store.begin(tenant).await.unwrap();
    let done = claims::complete(&mut completing, new.id, &outcome, None).await;
    assert!(done.unwrap());
    let mut closing = store.begin(tenant).await.unwrap();
    let locked = claims::lock_expired(&mut closing, new.id).await.unwrap();
    assert_eq!(locked, None, "whoever closes does not wait");
    completing.commit().await.unwrap();
}

#[tokio::test]
async fn a_record_that_closes_a_claim_lets_no_second_one_in() {
    let (_database, store) = open().await;
    let (tenant, principal) = (id(), id());
    let new = new_claim(principal);
    claim(&store, tenant, &new).await;
    let outcome = recorded(tenant, principal, new.outcome);
    let mut tx = store.begin(tenant).await.unwrap();
    assert!(claims::record(&mut tx, &outcome, None).await.unwrap());
    assert!(!claims::record(&mut tx, &outcome, None).await.unwrap());
    tx.commit().await.unwrap();
    let mut tx = store.begin(tenant).await.unwrap();
    orders::insert(&mut tx, &[order("ord_1")]).await.unwrap();
    let error = claims::complete(&mut tx, new.id, &outcome, None)
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    drop(tx);
    let mut tx = store.begin(tenant).await.unwrap();
    assert_eq!(orders::count(&mut tx).await.unwrap(), 0);
}

#[tokio::test]
async fn a_released_key_is_free_and_a_resolved_one_as_was_found_out() {
    let (_database, store) = open().await;
    let (tenant, principal) = (id(), id());
    let first = new_claim(principal);
    claim(&store, tenant, &first).await;
    let mut tx = store.begin(tenant).await.unwrap();
    assert!(
        !claims::resolve_not_executed(&mut tx, first.id)
            .await
            .unwrap()
    );
    assert!(claims::release(&mut tx, first.id).await.unwrap());
    tx.commit().await.unwrap();

    let second = new_claim(principal);
    assert_eq!(claim(&store, tenant, &second).await, None);
    let mut tx = store.begin(tenant).await.unwrap();
    claims::settle(&mut tx, second.id, Settled::Unknown)
        .await
        .unwrap();
    assert!(
        claims::resolve_not_executed(&mut tx, second.id)
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();

    let third = new_claim(principal);
    assert_eq!(claim(&store, tenant, &third).await, None);
    let mut tx = store.begin(tenant).await.unwrap();
    claims::settle(&mut tx, third.id, Settled::Unknown)
        .await
        .unwrap();
    let unknown = Some(ClaimState::Unknown);
    let listed = claims::list(&mut tx, unknown, Page::first(10)).await;
    assert_eq!(listed.unwrap().len(), 1);
    let resolved = claims::resolve_executed(&mut tx, third.id, "user:dana", "the flag is set");
    assert!(resolved.await.unwrap());
    assert!(
        !claims::resolve_not_executed(&mut tx, third.id)
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
    let row = by_id(&store, tenant, third.id).await.unwrap();
    assert_eq!(row.state, ClaimState::Done);
    assert_eq!(row.resolved_by.as_deref(), Some("user:dana"));
}

#[tokio::test]
async fn the_sweeper_removes_what_is_done_for_a_day_and_nothing_unknown() {
    let (database, store) = open().await;
    let tenant = id();
    let (done, fresh, unknown) = (new_claim(id()), new_claim(id()), new_claim(id()));
    for new in [&done, &fresh, &unknown] {
        claim(&store, tenant, new).await;
    }
    assert!(complete(&store, tenant, &done).await);
    let mut tx = store.begin(tenant).await.unwrap();
    claims::settle(&mut tx, unknown.id, Settled::Unknown)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let long_ago = "update claims set completed_at = now() - interval '25 hours'
                    where state <> 'claimed';
                    update stored_answers set stored_at = now() - interval '26 hours'";
    database.administer(long_ago).await;
    assert!(complete(&store, tenant, &fresh).await);
    let sweeper = sweeper(&database).await;
    assert_eq!(sweeper.remove_completed_claims(10).await.unwrap(), 1);
    assert_eq!(sweeper.remove_old_answers(10).await.unwrap(), 1);
    assert_eq!(by_id(&store, tenant, done.id).await, None);
    assert!(by_id(&store, tenant, unknown.id).await.is_some());
    let mut tx = store.begin(tenant).await.unwrap();
    let kept = claims::answer(&mut tx, fresh.outcome).await.unwrap();
    assert!(kept.is_some());
}

#[tokio::test]
async fn the_sweeper_finds_expired_claims_of_every_tenant_one_sweeper_at_a_time() {
    let (database, store) = open().await;
    let (one, two) = (new_claim(id()), new_claim(id()));
    let (acme, globex) = (id(), id());
    claim(&store, acme, &one).await;
    claim(&store, globex, &two).await;
    let sweeper_one = sweeper(&database).await;
    let found = sweeper_one.expired_claims(10, &[]).await.unwrap().unwrap();
    assert_eq!(found.ids, []);
    drop(found);
    expire(&database).await;
    let mut found = sweeper_one.expired_claims(10, &[]).await.unwrap().unwrap();
    found.ids.sort();
    let mut expected = vec![(acme, one.id), (globex, two.id)];
    expected.sort();
    assert_eq!(found.ids, expected);
    let sweeper_two = sweeper(&database).await;
    assert!(sweeper_two.expired_claims(10, &[]).await.unwrap().is_none());
    drop(found);
    let again = tokio::time::timeout(StdDuration::from_secs(5), async {
        loop {
            if let Some(found) = sweeper_two.expired_claims(1, &[]).await.unwrap() {
                return found.ids.len();
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(again.await.unwrap(), 1);
    let others = tokio::time::timeout(StdDuration::from_secs(5), async {
        loop {
            if let Some(found) = sweeper_two.expired_claims(1, &[one.id]).await.unwrap() {
                return found.ids;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(
        others.await.unwrap(),
        [(globex, two.id)],
        "one is set aside"
    );
}
