//! Replicas that are replaced one after the other while they are called, behind a balancer that does
//! what balancers do: it asks who is ready, and tries another where no connection can be made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::load::{Fate, fate};
use super::stage::{Caller, Stage, unique};
use super::table::Row;
use crate::http::{Http, Reply};

/// How often the balancer asks who is ready.
const PROBE: Duration = Duration::from_millis(100);
/// Callers at once.
const WORKERS: usize = 8;
/// How many calls there have to be between two restarts.
const BETWEEN: usize = 50;

/// Restarts every replica in turn, `rounds` times, under load.
///
/// # Errors
/// A replica does not stop or start.
pub async fn rolling(stage: &mut Stage, rounds: usize) -> Result<Row> {
    let mut row = Row::new("rolling restart under load", rounds * stage.replicas.len());
    let urls: Vec<_> = (0..stage.replicas.len())
        .map(|place| stage.url(place))
        .collect();
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let (tell, ready) = watch::channel(urls.clone());
    let mut tasks = JoinSet::new();
    for number in 0..WORKERS {
        let worker = Worker {
            caller: stage.caller.clone(),
            ready: ready.clone(),
            stop: Arc::clone(&stop),
            answered: Arc::clone(&answered),
        };
        tasks.spawn(worker.work(number));
    }
    let told = Arc::clone(&stop);
    let mut balancer = JoinSet::new();
    balancer.spawn(async move { probe(urls, tell, &told).await });
    for number in 0..row.number {
        let before = answered.load(Ordering::Acquire);
        while answered.load(Ordering::Acquire) < before + BETWEEN {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let status = stage.restart(number).await?;
        row.promise(status.success(), || {
            format!("a replica ended with {status}")
        });
    }
    stop.store(true, Ordering::Release);
    let mut failed: BTreeMap<String, usize> = BTreeMap::new();
    for (what, count) in tasks.join_all().await.into_iter().flatten() {
        *failed.entry(what).or_default() += count;
    }
    balancer.join_all().await;
    let calls = answered.load(Ordering::Acquire);
    let count: usize = failed.values().sum();
    row.promise(count == 0, || format!("{count} calls failed: {failed:?}"));
    Ok(row.seen(format!("{calls} calls answered, {count} failed")))
}

/// Finds out who is ready.
async fn probe(urls: Vec<String>, tell: watch::Sender<Vec<String>>, stop: &AtomicBool) {
    let Ok(http) = Http::new() else { return };
    while !stop.load(Ordering::Acquire) {
        let mut ready = Vec::new();
        for url in &urls {
            let asked = Reply::to(http.get(&format!("{url}/readyz"))).await;
            if asked.is_ok_and(|reply| reply.status == 200) {
                ready.push(url.clone());
            }
        }
        tell.send_replace(ready);
        tokio::time::sleep(PROBE).await;
    }
}

struct Worker {
    caller: Caller,
    ready: watch::Receiver<Vec<String>>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

impl Worker {
    async fn work(self, mut number: usize) -> Vec<(String, usize)> {
        let mut failed = Vec::new();
        while !self.stop.load(Ordering::Acquire) {
            number += 1;
            let ready = self.ready.borrow().clone();
            let place = number.checked_rem(ready.len()).unwrap_or(0);
            let Some(url) = ready.get(place) else {
                failed.push(("no replica is ready".to_owned(), 1));
                tokio::time::sleep(PROBE).await;
                continue;
            };
            match fate(&self.caller.make(url, &unique("rolling")).await) {
                Fate::Done => {
                    self.answered.fetch_add(1, Ordering::AcqRel);
                }
                // Nothing was sent, so a balancer takes the next one.
                Fate::Unsent => {}
                Fate::Lost => failed.push(("no answer".to_owned(), 1)),
                Fate::Refused(status, slug) => failed.push((format!("{status} {slug}"), 1)),
            }
        }
        failed
    }
}
