//! Change tickets: open until closed or over, counted, and each tenant's own.

use portcullis_store::tickets::{self, MAX_OPEN, NewTicket, TicketFilter, TicketState};
use portcullis_store::{ControlStore, ControlTx, Page, StoreError, snapshot, tools};
use time::Duration;

use crate::cluster::{Cluster, Database};
use crate::fixture::{self, NOW, id};

async fn with_a_tool(database: &Database<'_>) -> (ControlStore, ControlTx) {
    let store = fixture::control(database).await;
    let acme = fixture::tenant(&store, "acme").await;
    let mut tx = store.begin(acme).await.unwrap();
    for name in ["flag.set", "orders.get"] {
        tools::register(&mut tx, &fixture::tool(name), NOW)
            .await
            .unwrap();
    }
    (store, tx)
}

async fn open(tx: &mut ControlTx, new: NewTicket<'_>) -> tickets::TicketRow {
    tickets::open(tx, new, NOW).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_ticket_is_open_until_its_time_is_over_or_somebody_closes_it() {
    let database = Cluster::shared().await.control().await;
    let (store, mut tx) = with_a_tool(&database).await;
    let new = fixture::ticket("flag.set");
    let row = open(&mut tx, new).await;
    assert_eq!((row.id, row.arguments.as_str()), (new.id, new.arguments));
    assert_eq!(row.state(NOW), TicketState::Open);
    let end = new.expires_at;
    assert_eq!(row.state(end), TicketState::Expired);
    let later = NOW + Duration::minutes(1);
    let closed = tickets::close(&mut tx, new.id, "user:eve", Some("Done"), later)
        .await
        .unwrap();
    assert_eq!(closed.state(end), TicketState::Closed);
    assert_eq!(closed.closed_at, Some(later));
    // The first closing stands.
    let again = tickets::close(&mut tx, new.id, "user:dana", None, later).await;
    assert!(matches!(again, Err(StoreError::Stale { .. })), "{again:?}");
    let read = tickets::get(&mut tx, new.id).await.unwrap().unwrap();
    assert_eq!(read, closed);
    let absent = tickets::close(&mut tx, id(), "user:eve", None, later).await;
    assert!(matches!(absent, Err(StoreError::NotFound { .. })));
    drop((tx, store));
}

#[tokio::test]
async fn a_replica_holds_open_tickets_and_no_others() {
    let database = Cluster::shared().await.control().await;
    let (store, mut tx) = with_a_tool(&database).await;
    let acme = tx.tenant();
    let kept = open(&mut tx, fixture::ticket("flag.set")).await;
    let closed = open(&mut tx, fixture::ticket("flag.set")).await;
    tickets::close(&mut tx, closed.id, "user:eve", None, NOW)
        .await
        .unwrap();
    let over = NewTicket {
        expires_at: NOW + Duration::seconds(1),
        ..fixture::ticket("flag.set")
    };
    open(&mut tx, over).await;
    tx.commit().await.unwrap();
    let at = over.expires_at;
    let rows = snapshot::load(&store, acme, at).await.unwrap().tickets;
    assert_eq!(rows, [kept]);
}

#[tokio::test]
async fn lists_show_what_was_asked_for() {
    let database = Cluster::shared().await.control().await;
    let (_store, mut tx) = with_a_tool(&database).await;
    let kept = open(&mut tx, fixture::ticket("flag.set")).await.id;
    let closed = open(&mut tx, fixture::ticket("orders.get")).await.id;
    tickets::close(&mut tx, closed, "user:eve", None, NOW)
        .await
        .unwrap();
    let over = NewTicket {
        expires_at: NOW + Duration::seconds(1),
        ..fixture::ticket("flag.set")
    };
    let over = open(&mut tx, over).await.id;
    let now = NOW + Duration::minutes(1);
    for (tool, state, expected) in [
        (None, None, vec![kept, closed, over]),
        (None, Some(TicketState::Open), vec![kept]),
        (None, Some(TicketState::Closed), vec![closed]),
        (None, Some(TicketState::Expired), vec![over]),
        (Some("flag.set"), None, vec![kept, over]),
        (Some("flag.set"), Some(TicketState::Closed), vec![]),
    ] {
        let filter = TicketFilter { tool, state };
        let rows = tickets::list(&mut tx, filter, Page::first(10), now)
            .await
            .unwrap();
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        assert_eq!(ids, expected, "{filter:?}");
    }
    let page = Page {
        after: Some(closed.as_uuid()),
        limit: 1,
    };
    let rows = tickets::list(&mut tx, TicketFilter::default(), page, now)
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].id, over);
}

#[tokio::test]
async fn one_more_than_may_be_open_is_not_opened() {
    let database = Cluster::shared().await.control().await;
    let (_store, mut tx) = with_a_tool(&database).await;
    let mut first = None;
    for _ in 0..MAX_OPEN {
        let row = open(&mut tx, fixture::ticket("flag.set")).await;
        first.get_or_insert(row.id);
    }
    let more = fixture::ticket("flag.set");
    let refused = tickets::open(&mut tx, more, NOW).await.unwrap();
    assert_eq!(refused, None);
    assert_eq!(tickets::get(&mut tx, more.id).await.unwrap(), None);
    // One that is closed makes room for one.
    tickets::close(&mut tx, first.unwrap(), "user:eve", None, NOW)
        .await
        .unwrap();
    open(&mut tx, more).await;
    let refused = tickets::open(&mut tx, fixture::ticket("flag.set"), NOW).await;
    assert_eq!(refused.unwrap(), None);
}

#[tokio::test]
async fn two_tickets_at_once_do_not_pass_the_limit_together() {
    let database = Cluster::shared().await.control().await;
    let (store, mut tx) = with_a_tool(&database).await;
    let acme = tx.tenant();
    for _ in 1..MAX_OPEN {
        open(&mut tx, fixture::ticket("flag.set")).await;
    }
    tx.commit().await.unwrap();
    let one = async || {
        let mut tx = store.begin(acme).await.unwrap();
        let opened = tickets::open(&mut tx, fixture::ticket("flag.set"), NOW)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        opened
    };
    let (a, b, c) = tokio::join!(one(), one(), one());
    let refused = [a, b, c].into_iter().filter(Option::is_none).count();
    assert_eq!(refused, 2);
}

#[tokio::test]
async fn another_tenants_ticket_is_as_one_that_does_not_exist() {
    let database = Cluster::shared().await.control().await;
    let (store, mut tx) = with_a_tool(&database).await;
    let ours = open(&mut tx, fixture::ticket("flag.set")).await.id;
    tx.commit().await.unwrap();
    let globex = fixture::tenant(&store, "globex").await;
    let mut tx = store.begin(globex).await.unwrap();
    assert_eq!(tickets::get(&mut tx, ours).await.unwrap(), None);
    let foreign = tickets::close(&mut tx, ours, "user:eve", None, NOW).await;
    assert!(matches!(foreign, Err(StoreError::NotFound { .. })));
    let rows = tickets::list(&mut tx, TicketFilter::default(), Page::first(10), NOW)
        .await
        .unwrap();
    assert_eq!(rows, []);
    // A tool of another tenant is none of this one's.
    let theirs = tickets::open(&mut tx, fixture::ticket("flag.set"), NOW).await;
    assert!(matches!(theirs, Err(StoreError::NotFound { .. })));
    drop(tx);
    assert_eq!(
        snapshot::load(&store, globex, NOW).await.unwrap().tickets,
        []
    );
}
