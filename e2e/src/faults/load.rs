//! Calls that never stop: what comes of them is noted as it comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;

use super::stage::{Caller, unique};
use crate::http::Reply;

/// How long a worker waits after a refusal.
const PAUSE: Duration = Duration::from_millis(10);

/// What became of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was answered with a result.
    Done,
    /// It was refused or failed: the status and the problem's slug.
    Refused(u16, String),
    /// There was no whole answer. Whether it was sent is not known.
    Lost,
    /// No connection could be made, so it was not sent.
    Unsent,
}

/// One call of the load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its effect, which is also its key.
    pub effect: String,
    /// The replica that it was sent to.
    pub replica: usize,
    /// What became of it.
    pub fate: Fate,
}

/// Workers that call until they are stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    workers: JoinSet<Vec<Sent>>,
}

impl Load {
    /// Starts workers, `each` at every replica. The name of each effect says where it was asked for:
    /// see [`replica_of`].
    pub fn start(caller: &Caller, urls: &[String], each: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for (replica, url) in urls.iter().enumerate() {
            for _ in 0..each {
                let (caller, url, stop) = (caller.clone(), url.clone(), Arc::clone(&stop));
                workers.spawn(async move { work(&caller, &url, replica, &stop).await });
            }
        }
        Self { stop, workers }
    }

    /// Stops and tells of every call.
    pub async fn finish(self) -> Vec<Sent> {
        self.stop.store(true, Ordering::Release);
        self.workers
            .join_all()
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

async fn work(caller: &Caller, url: &str, replica: usize, stop: &AtomicBool) -> Vec<Sent> {
    let mut sent = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let effect = unique(&format!("load.{replica}."));
        let fate = fate(&caller.make(url, &effect).await);
        if fate != Fate::Done {
            tokio::time::sleep(PAUSE).await;
        }
        sent.push(Sent {
            effect,
            replica,
            fate,
        });
    }
    sent
}

/// What became of a call.
pub fn fate(answer: &anyhow::Result<Reply>) -> Fate {
    match answer {
        Ok(reply) if reply.status == 200 => Fate::Done,
        Ok(reply) => Fate::Refused(reply.status, slug(reply)),
        Err(error) => {
            let unsent = error
                .chain()
                .filter_map(|cause| cause.downcast_ref::<reqwest::Error>())
                .any(reqwest::Error::is_connect);
            if unsent { Fate::Unsent } else { Fate::Lost }
        }
    }
}

/// The replica that an effect of a load was asked for at.
pub fn replica_of(effect: &str) -> Option<usize> {
    effect
        .strip_prefix("load.")?
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// The slug of an answer's problem; empty where it has none.
pub fn slug(reply: &Reply) -> String {
    let kind = reply.at("/type");
    let slug = kind
        .as_str()
        .and_then(|kind| kind.strip_prefix("/problems/"));
    slug.unwrap_or_default().to_owned()
}

/// The result of a call by plain HTTP.
pub fn result(reply: &Reply) -> Value {
    reply.at("/result")
}

/// Whether an answer by plain HTTP says that it is a replay.
pub fn is_replay(reply: &Reply) -> bool {
    reply.at("/idempotent_replay") == Value::Bool(true)
}
