//! Calls that never stop: what comes of them is noted as it comes.

use std::collections::BTreeMap;
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

/// What a load asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// An effect outside of the platform.
    Effect,
    /// A change of a flag, in the platform's own database.
    Flag,
}

impl Ask {
    /// Asks for it once, under a key of its name.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn of(self, caller: &Caller, url: &str, name: &str) -> anyhow::Result<Reply> {
        match self {
            Self::Effect => caller.make(url, name).await,
            Self::Flag => caller.set_flag(url, name).await,
        }
    }
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
        Self::asking(Ask::Effect, caller, urls, each)
    }

    /// The same for something else.
    pub fn asking(ask: Ask, caller: &Caller, urls: &[String], each: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for (replica, url) in urls.iter().enumerate() {
            for _ in 0..each {
                let (caller, url, stop) = (caller.clone(), url.clone(), Arc::clone(&stop));
                workers.spawn(async move { work(ask, (&caller, &url), replica, &stop).await });
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

async fn work(
    ask: Ask,
    (caller, url): (&Caller, &str),
    replica: usize,
    stop: &AtomicBool,
) -> Vec<Sent> {
    let mut sent = Vec::new();
    while !stop.load(Ordering::Acquire) {
        let effect = unique(&format!("load.{replica}."));
        let fate = fate(&ask.of(caller, url, &effect).await);
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

/// How often calls were refused, by status and slug.
pub fn refusals(sent: &[Sent]) -> BTreeMap<String, usize> {
    let mut refusals = BTreeMap::new();
    for call in sent {
        if let Fate::Refused(status, slug) = &call.fate {
            *refusals.entry(format!("{status} {slug}")).or_default() += 1;
        }
    }
    refusals
}

/// Those counts in words.
pub fn counted(refusals: &BTreeMap<String, usize>) -> String {
    if refusals.is_empty() {
        return "none".to_owned();
    }
    let each = refusals
        .iter()
        .map(|(what, count)| format!("{count} × {what}"));
    each.collect::<Vec<_>>().join(", ")
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
