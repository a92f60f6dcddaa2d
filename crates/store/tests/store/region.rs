//! A region's data: orders stay with their tenant and in their jurisdiction, records in their month.

use portcullis_domain::TraceId;
use portcullis_domain::id::{Id, Record};
use portcullis_store::orders::OrderRow;
use portcullis_store::records::RecordFilter;
use portcullis_store::sweeper::RegionSweeper;
use portcullis_store::{
    RecordWriter, RegionStore, StoreError, WriterOptions, orders, records, roles,
};
use time::macros::{date, datetime};
use time::{Duration, OffsetDateTime};

use crate::cluster::{Cluster, Database};
use crate::fixture::{self, NOW, id, id_at, order, record};

#[tokio::test]
async fn orders_come_by_day_and_id_and_never_more_than_asked() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let tenant = id();
    let mut tx = store.begin(tenant).await.unwrap();
    let on = |id: &str, placed_on| OrderRow {
        placed_on,
        ..order(id)
    };
    let made = [
        on("ord_3", date!(2025 - 08 - 31)),
        on("ord_1", date!(2025 - 08 - 25)),
        on("ord_2", date!(2025 - 08 - 25)),
        on("ord_0", date!(2025 - 08 - 24)),
        on("ord_4", date!(2025 - 09 - 01)),
    ];
    assert_eq!(orders::insert(&mut tx, &made).await.unwrap(), 5);
    assert_eq!(orders::insert(&mut tx, &made).await.unwrap(), 0);
    let (from, to) = (date!(2025 - 08 - 25), date!(2025 - 08 - 31));
    let found = orders::in_range(&mut tx, from, to, 10).await.unwrap();
    let ids: Vec<_> = found.iter().map(|order| order.id.as_str()).collect();
    assert_eq!(ids, ["ord_1", "ord_2", "ord_3"]);
    let found = orders::in_range(&mut tx, from, to, 2).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(orders::in_range(&mut tx, to, from, 10).await.unwrap(), []);
    assert_eq!(orders::count(&mut tx).await.unwrap(), 5);
}

#[tokio::test]
async fn a_foreign_order_is_as_an_absent_one_and_its_id_is_free() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let (acme, globex) = (id(), id());
    let mut tx = store.begin(acme).await.unwrap();
    orders::insert(&mut tx, &[order("ord_1")]).await.unwrap();
    tx.commit().await.unwrap();
    let found = orders::by_id(&store, acme, "ord_1").await.unwrap();
    assert_eq!(found, Some(order("ord_1")));
    let found = orders::by_id(&store, globex, "ord_1").await.unwrap();
    assert_eq!(found, None);
    let mut tx = store.begin(globex).await.unwrap();
    let (from, to) = (date!(2000 - 01 - 01), date!(2100 - 01 - 01));
    assert_eq!(orders::in_range(&mut tx, from, to, 10).await.unwrap(), []);
    assert_eq!(orders::insert(&mut tx, &[order("ord_1")]).await.unwrap(), 1);
}

#[tokio::test]
async fn an_order_of_another_jurisdiction_cannot_be_inserted() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let tenant = id();
    let mut tx = store.begin(tenant).await.unwrap();
    let american = OrderRow {
        jurisdiction: "US".to_owned(),
        ..order("ord_2")
    };
    let error = orders::insert(&mut tx, &[order("ord_1"), american]).await;
    assert!(matches!(error, Err(StoreError::Internal { .. })));
    drop(tx);
    let mut tx = store.begin(tenant).await.unwrap();
    assert_eq!(orders::count(&mut tx).await.unwrap(), 0);
}

#[tokio::test]
async fn an_orders_debug_text_shows_no_customer() {
    let shown = format!("{:?}", order("ord_1"));
    assert!(
        shown.contains("ord_1") && !shown.contains("example.com"),
        "{shown}"
    );
}

async fn write(store: &RegionStore, new: Vec<portcullis_store::writer::NewRecord>) {
    let writer = RecordWriter::start(store, WriterOptions::default());
    for record in new {
        writer.submit(record).await.unwrap();
    }
    writer.shutdown().await;
}

#[tokio::test]
async fn a_record_is_read_as_it_was_written_by_its_tenant_alone() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let (acme, globex) = (id(), id());
    let new = record(acme);
    write(&store, vec![new.clone()]).await;
    let mut tx = store.begin(acme).await.unwrap();
    let found = records::by_id(&mut tx, new.record.id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&new.record));
    let inputs = records::inputs(&mut tx, new.record.id)
        .await
        .unwrap()
        .unwrap();
    let wrote = new.inputs.unwrap();
    assert_eq!(
        (inputs.data_key, inputs.salts),
        (wrote.data_key, wrote.salts)
    );
    assert_eq!(
        (inputs.arguments, inputs.answer),
        (wrote.arguments, wrote.answer)
    );
    let of_trace = records::by_trace(&mut tx, new.record.trace_id, None, 10)
        .await
        .unwrap();
    assert_eq!(of_trace.len(), 1);
    let mut tx = store.begin(globex).await.unwrap();
    assert_eq!(records::by_id(&mut tx, new.record.id).await.unwrap(), None);
    assert_eq!(records::inputs(&mut tx, new.record.id).await.unwrap(), None);
    let of_trace = records::by_trace(&mut tx, new.record.trace_id, None, 10)
        .await
        .unwrap();
    assert_eq!(of_trace, []);
}

#[tokio::test]
async fn records_are_listed_newest_first_within_their_time() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let tenant = id();
    let at = |minutes| NOW + Duration::minutes(minutes);
    let mut made = Vec::new();
    for minutes in 0..6 {
        let mut new = record(tenant);
        new.record.id = id_at(at(minutes));
        new.inputs = None;
        made.push(new);
    }
    let principal = made[2].record.principal;
    let ids: Vec<Id<Record>> = made.iter().map(|new| new.record.id).collect();
    write(&store, made).await;
    let mut tx = store.begin(tenant).await.unwrap();
    let mut filter = RecordFilter {
        from: at(1),
        until: at(5),
        principal: None,
        before: None,
        limit: 3,
    };
    let listed = |rows: Vec<records::RecordRow>| rows.into_iter().map(|r| r.id).collect::<Vec<_>>();
    let page = listed(records::list(&mut tx, filter).await.unwrap());
    assert_eq!(page, [ids[4], ids[3], ids[2]]);
    filter.before = page.last().copied();
    assert_eq!(
        listed(records::list(&mut tx, filter).await.unwrap()),
        [ids[1]]
    );
    filter.before = None;
    filter.principal = principal;
    assert_eq!(
        listed(records::list(&mut tx, filter).await.unwrap()),
        [ids[2]]
    );
    let none = records::by_trace(&mut tx, TraceId::from_bytes([1; 16]), None, 10).await;
    assert_eq!(none.unwrap(), []);
}

#[tokio::test]
async fn a_long_trace_is_read_in_pages_newest_first() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let tenant = id();
    let trace = TraceId::from_bytes([7; 16]);
    let mut made = Vec::new();
    for minutes in 0..5 {
        let mut new = record(tenant);
        new.record.id = id_at(NOW + Duration::minutes(minutes));
        new.record.trace_id = trace;
        new.inputs = None;
        made.push(new);
    }
    let mut left: Vec<Id<Record>> = made.iter().rev().map(|new| new.record.id).collect();
    write(&store, made).await;
    let mut tx = store.begin(tenant).await.unwrap();
    let mut before = None;
    while !left.is_empty() {
        let page = records::by_trace(&mut tx, trace, before, 2).await.unwrap();
        let page: Vec<Id<Record>> = page.into_iter().map(|row| row.id).collect();
        let rest = left.split_off(left.len().min(2));
        assert_eq!(page, left);
        before = page.last().copied();
        left = rest;
    }
    let end = records::by_trace(&mut tx, trace, before, 2).await;
    assert_eq!(end.unwrap(), []);
}

async fn partition_of(database: &Database<'_>, at: OffsetDateTime) -> String {
    let store = fixture::region(database).await;
    let mut new = record(id());
    new.record.id = id_at(at);
    let record = new.record.id.as_uuid();
    write(&store, vec![new]).await;
    let mut all = database.connect(crate::cluster::SUPERUSER).await;
    sqlx::query_scalar("select tableoid::regclass::text from records where id = $1")
        .bind(record)
        .fetch_one(&mut all)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_record_goes_into_its_month_and_a_strange_time_into_the_default() {
    let database = Cluster::shared().await.region().await;
    let at = datetime!(2026-11-30 23:59:59.999 UTC);
    assert_eq!(partition_of(&database, at).await, "records_2026_11");
    let at = datetime!(2026-12-01 00:00 UTC);
    assert_eq!(partition_of(&database, at).await, "records_2026_12");
    let at = datetime!(2040-01-01 00:00 UTC);
    assert_eq!(partition_of(&database, at).await, "records_default");
}

#[tokio::test]
async fn the_sweeper_makes_the_partitions_that_are_missing() {
    let database = Cluster::shared().await.region().await;
    let url = database.url(roles::SWEEPER);
    let sweeper = RegionSweeper::connect(portcullis_domain::Pool::EuWest, url)
        .await
        .unwrap();
    assert_eq!(sweeper.ensure_partitions(NOW).await.unwrap(), 0);
    let later = datetime!(2027-01-31 23:00 UTC);
    assert_eq!(sweeper.ensure_partitions(later).await.unwrap(), 2);
    let count = "select count(*) from pg_inherits where inhparent = 'records'::regclass";
    assert_eq!(database.count(count).await, 16);
    assert_eq!(
        crate::catalog::faults(&database).await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn lists_of_a_month_read_that_months_partition_alone() {
    let database = Cluster::shared().await.region().await;
    let mut app = database.connect(roles::APP).await;
    let tenant = id::<portcullis_domain::id::Tenant>().as_uuid();
    crate::cluster::run(&mut app, &format!("set app.tenant_id = '{tenant}'")).await;
    let month = [NOW, NOW + Duration::DAY].map(|at| Id::<Record>::floor(at).as_uuid());
    let plan: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
        "explain select id from records where tenant_id = '{tenant}'
           and id >= '{}' and id < '{}' order by id desc limit 10",
        month[0], month[1]
    )))
    .fetch_all(&mut app)
    .await
    .unwrap();
    let plan = plan.join("\n");
    assert!(plan.contains("records_2026_11_pkey"), "{plan}");
    assert!(
        !plan.contains("records_2026_12") && !plan.contains("Seq Scan"),
        "{plan}"
    );
}
