//! The writer: one commit for whoever waits, no harm from a neighbour, and never a wrong answer.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_domain::Pool;
use portcullis_domain::id::{Id, Record, Tenant};
use portcullis_store::writer::NewRecord;
use portcullis_store::{RecordError, RecordWriter, RegionStore, WriterOptions, records, roles};
use sqlx::PgConnection;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, Database, SUPERUSER, run};
use crate::fixture::{self, id, options, record};
use crate::proxy::Proxy;

fn one_connection() -> WriterOptions {
    WriterOptions {
        connections: 1,
        ..WriterOptions::default()
    }
}

async fn exists(store: &RegionStore, tenant: Id<Tenant>, record: Id<Record>) -> bool {
    let mut tx = store.begin(tenant).await.unwrap();
    records::by_id(&mut tx, record).await.unwrap().is_some()
}

/// Holds up every write until it is dropped or ended.
async fn block(database: &Database<'_>) -> PgConnection {
    let mut blocker = database.connect(SUPERUSER).await;
    run(&mut blocker, "begin; lock table records in exclusive mode").await;
    blocker
}

/// Waits until so many writers wait for the lock.
async fn until_waiting(database: &Database<'_>, writers: i64) {
    let waiting = "select count(*) from pg_stat_activity
                   where usename = 'portcullis_recorder' and wait_event_type = 'Lock'
                     and datname = current_database()";
    while database.count(waiting).await < writers {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn records_of_two_tenants_share_a_commit_and_stay_apart() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let writer = RecordWriter::start(&store, one_connection());
    let (acme, globex) = (id(), id());
    let blocker = block(&database).await;
    let first = writer.submit(record(acme));
    until_waiting(&database, 1).await;
    // These queue behind the first, so they go together.
    let (of_acme, of_globex) = (record(acme), record(globex));
    let ids = (of_acme.record.id, of_globex.record.id);
    let both = (writer.submit(of_acme), writer.submit(of_globex));
    drop(blocker);
    first.await.unwrap();
    both.0.await.unwrap();
    both.1.await.unwrap();
    let commits = "select count(distinct xmin::text) from records";
    assert_eq!(database.count(commits).await, 2);
    assert!(exists(&store, acme, ids.0).await && exists(&store, globex, ids.1).await);
    assert!(!exists(&store, acme, ids.1).await && !exists(&store, globex, ids.0).await);
}

#[tokio::test]
async fn a_bad_row_is_refused_and_harms_none_of_its_batch() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let writer = RecordWriter::start(&store, one_connection());
    let tenant = id();
    let blocker = block(&database).await;
    let first = writer.submit(record(tenant));
    until_waiting(&database, 1).await;
    let mut spoiled = HashSet::new();
    let mut answers = Vec::new();
    let mut taken = None;
    for number in 0..40 {
        let mut new = record(tenant);
        let bad = match number {
            3 => std::mem::replace(&mut new.record.verdict, "NOT VALID".to_owned()),
            17 => std::mem::replace(&mut new.record.key_id, "a\0b".to_owned()),
            18 => new.record.tool.replace("x".repeat(129)).unwrap_or_default(),
            39 => {
                new.record.id = taken.unwrap();
                String::from("an id that another record of the batch has")
            }
            _ => String::new(),
        };
        taken = Some(new.record.id);
        if !bad.is_empty() {
            spoiled.insert(number);
        }
        answers.push(writer.submit(new));
    }
    drop(blocker);
    first.await.unwrap();
    for (number, answer) in answers.into_iter().enumerate() {
        match answer.await {
            Ok(()) => assert!(!spoiled.contains(&number), "{number} was written"),
            Err(RecordError::Rejected { .. }) => assert!(spoiled.contains(&number), "{number}"),
            Err(error) => panic!("{number}: {error}"),
        }
    }
    assert_eq!(database.count("select count(*) from records").await, 37);
    assert_eq!(database.count("select count(*) from call_inputs").await, 37);
}

#[tokio::test]
async fn a_flood_of_one_tenant_does_not_go_before_another() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let options = WriterOptions {
        batch_rows: 50,
        ..one_connection()
    };
    let writer = RecordWriter::start(&store, options);
    let (flood, other) = (id(), id());
    let blocker = block(&database).await;
    let done = Arc::new(AtomicUsize::new(0));
    let mut answers = JoinSet::new();
    for _ in 0..2_000 {
        let answer = writer.submit(record(flood));
        let done = Arc::clone(&done);
        answers.spawn(async move {
            answer.await.unwrap();
            done.fetch_add(1, Ordering::SeqCst);
        });
    }
    until_waiting(&database, 1).await;
    let answer = writer.submit(record(other));
    drop(blocker);
    answer.await.unwrap();
    // The batch under way, and the one that carries the other tenant's record; and those that ended
    // before this test was woken. Without turns, all of the flood goes first.
    let before = done.load(Ordering::SeqCst);
    assert!(before <= 500, "{before} records of the flood went first");
    answers.join_all().await;
}

#[tokio::test]
async fn a_queue_that_is_full_refuses_at_once_and_only_whom_it_concerns() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let options = WriterOptions {
        batch_rows: 1,
        queue_rows_per_tenant: 3,
        queue_rows: 5,
        ..one_connection()
    };
    let writer = RecordWriter::start(&store, options);
    let (flood, other) = (id(), id());
    let blocker = block(&database).await;
    let first = writer.submit(record(flood));
    until_waiting(&database, 1).await;
    let mut waiting = vec![first];
    for _ in 0..3 {
        waiting.push(writer.submit(record(flood)));
    }
    let full = writer.submit(record(flood)).await.unwrap_err();
    assert!(matches!(full, RecordError::Busy) && full.certainly_not_written());
    for _ in 0..2 {
        waiting.push(writer.submit(record(other)));
    }
    let full = writer.submit(record(id())).await.unwrap_err();
    assert!(matches!(full, RecordError::Busy));
    drop(blocker);
    for answer in waiting {
        answer.await.unwrap();
    }
    assert_eq!(database.count("select count(*) from records").await, 6);
    writer.submit(record(flood)).await.unwrap();
}

#[tokio::test]
async fn shutdown_writes_what_waits_and_takes_no_more() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let writer = RecordWriter::start(&store, WriterOptions::default());
    let tenant = id();
    let waiting: Vec<_> = (0..600).map(|_| writer.submit(record(tenant))).collect();
    writer.shutdown().await;
    let late = writer.submit(record(tenant)).await.unwrap_err();
    assert!(matches!(late, RecordError::Stopping), "{late}");
    for answer in waiting {
        answer.await.unwrap();
    }
    assert_eq!(database.count("select count(*) from records").await, 600);
}

#[tokio::test]
async fn a_caller_that_stops_waiting_does_not_take_its_record_back() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let writer = RecordWriter::start(&store, WriterOptions::default());
    drop(writer.submit(record(id())));
    writer.shutdown().await;
    assert_eq!(database.count("select count(*) from records").await, 1);
}

#[tokio::test]
async fn a_writer_whose_backend_is_killed_in_the_middle_finds_out_and_answers_truly() {
    let database = Cluster::shared().await.region().await;
    let store = fixture::region(&database).await;
    let writer = RecordWriter::start(&store, one_connection());
    let blocker = block(&database).await;
    let (tenant, new) = (id(), record(id()));
    let answers = [writer.submit(record(tenant)), writer.submit(new)];
    until_waiting(&database, 1).await;
    let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                where usename = 'portcullis_recorder' and datname = current_database()";
    assert_eq!(database.count(kill).await, 1);
    drop(blocker);
    for answer in answers {
        answer.await.unwrap();
    }
    assert_eq!(database.count("select count(*) from records").await, 2);
    assert_eq!(database.count("select count(*) from call_inputs").await, 2);
}

/// A region whose recorder goes through a line that can be cut.
async fn behind(proxy: &Proxy, database: &Database<'_>) -> RegionStore {
    RegionStore::connect(
        Pool::EuWest,
        database.url(roles::APP),
        proxy.url(roles::RECORDER, database.name()),
        options(2),
    )
    .await
    .unwrap()
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found_and_not_repeated() {
    let cluster = Cluster::shared().await;
    let database = cluster.region().await;
    let proxy = Proxy::start(cluster.socket()).await;
    let store = behind(&proxy, &database).await;
    let writer = RecordWriter::start(&store, one_connection());
    let tenant = id();
    // Twice, so that the connection is open and its statement is known.
    for _ in 0..2 {
        writer.submit(record(tenant)).await.unwrap();
    }
    proxy.cut_once();
    let answers: Vec<_> = (0..20).map(|_| writer.submit(record(tenant))).collect();
    for answer in answers {
        answer.await.unwrap();
    }
    assert_eq!(database.count("select count(*) from records").await, 22);
    assert_eq!(database.count("select count(*) from call_inputs").await, 22);
}

#[tokio::test]
async fn a_commit_that_cannot_be_looked_into_is_answered_as_unknown() {
    let cluster = Cluster::shared().await;
    let database = cluster.region().await;
    let proxy = Proxy::start(cluster.socket()).await;
    let store = behind(&proxy, &database).await;
    let options = WriterOptions {
        resolve_within: Duration::from_millis(200),
        ..one_connection()
    };
    let writer = RecordWriter::start(&store, options);
    let tenant = id();
    for _ in 0..2 {
        writer.submit(record(tenant)).await.unwrap();
    }
    proxy.cut_for_good();
    let error = writer.submit(record(tenant)).await.unwrap_err();
    assert!(matches!(error, RecordError::Unknown), "{error}");
    assert!(!error.certainly_not_written());
    // And it is in fact there: the answer alone was lost.
    assert_eq!(database.count("select count(*) from records").await, 3);
    let next = writer.submit(record(tenant)).await.unwrap_err();
    assert!(matches!(next, RecordError::NotWritten { .. }), "{next}");
    assert_eq!(database.count("select count(*) from records").await, 3);
}

#[tokio::test]
async fn an_id_that_another_record_has_is_never_taken_for_a_repeat() {
    let cluster = Cluster::shared().await;
    let database = cluster.region().await;
    let proxy = Proxy::start(cluster.socket()).await;
    let store = behind(&proxy, &database).await;
    let writer = RecordWriter::start(&store, one_connection());
    let tenant = id();
    let first = record(tenant);
    let mut second = record(tenant);
    second.record.id = first.record.id;
    second.record.leaf_hash = [1; 32];
    writer.submit(first).await.unwrap();
    writer.submit(record(tenant)).await.unwrap();
    // The server's refusal is lost on the way, so the row is tried again where a conflict is no error.
    proxy.cut_once();
    let error = writer.submit(second).await.unwrap_err();
    assert!(matches!(error, RecordError::Rejected { .. }), "{error}");
    assert_eq!(database.count("select count(*) from records").await, 2);
}

/// Writes until told to stop, and says what each answer was.
async fn keep_writing(
    writer: Arc<RecordWriter>,
    stop: Arc<AtomicUsize>,
) -> Vec<(Id<Record>, Result<(), RecordError>)> {
    let tenant = id();
    let mut answers = Vec::new();
    while stop.load(Ordering::SeqCst) == 0 {
        let new: NewRecord = record(tenant);
        let record = new.record.id;
        let answer = writer.submit(new).await;
        if answer.is_err() {
            tokio::task::yield_now().await;
        }
        answers.push((record, answer));
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_crashes_again_and_again_loses_no_acknowledged_record() {
    let cluster = Cluster::start().await;
    let database = cluster.region().await;
    let store = fixture::region(&database).await;
    let writer = Arc::new(RecordWriter::start(&store, WriterOptions::default()));
    let stop = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..20 {
        callers.spawn(keep_writing(Arc::clone(&writer), Arc::clone(&stop)));
    }
    for _ in 0..3 {
        let written = database.count("select count(*) from records").await;
        while database.count("select count(*) from records").await < written + 200 {
            tokio::task::yield_now().await;
        }
        tokio::task::block_in_place(|| {
            cluster.crash();
            cluster.restart();
        });
    }
    let after = record(id());
    while writer.submit(after.clone()).await.is_err() {
        tokio::task::yield_now().await;
    }
    stop.store(1, Ordering::SeqCst);
    let answers: Vec<_> = callers.join_all().await.into_iter().flatten().collect();
    let mut all = database.connect(SUPERUSER).await;
    let stored: Vec<uuid::Uuid> = sqlx::query_scalar("select id from records")
        .fetch_all(&mut all)
        .await
        .unwrap();
    let distinct: HashSet<_> = stored.iter().copied().collect();
    assert_eq!(distinct.len(), stored.len(), "a record was written twice");
    let mut refused = 0;
    for (record, answer) in &answers {
        let there = distinct.contains(&record.as_uuid());
        match answer {
            Ok(()) => assert!(there, "{record} was acknowledged and is lost"),
            Err(error) if error.certainly_not_written() => {
                assert!(!there, "{record} is there: {error}");
                refused += 1;
            }
            Err(_unknown) => {}
        }
    }
    println!("{} answers, {refused} refused, 3 crashes", answers.len());
    assert!(answers.len() > 600);
}
