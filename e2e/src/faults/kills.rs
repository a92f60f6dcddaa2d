//! Replicas killed without warning under load, also between the tool server's effect and its answer:
//! no effect twice, and no call left without an end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::load::{self, Ask, Fate, Load};
use super::stage::Stage;
use super::table::Row;
use crate::database::Database;
use crate::upstream::Manners;
use crate::wait;

/// How the tool server behaves: most of a call's time is between its effect and its answer.
const SLOW: Manners = Manners {
    before: Duration::from_millis(8),
    after: Duration::from_millis(40),
    ..Manners::PROMPT
};
/// Calls under way at each replica.
const WORKERS: usize = 4;
/// How long a lease runs on after the death of its holder.
const LEASE: Duration = Duration::from_secs(10);
/// How long after its lease a call may be without an end.
const RESOLVED: Duration = Duration::from_secs(5);
/// How often the claims are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A token lives for ten minutes.
const RENEW: Duration = Duration::from_mins(4);
/// The database of the tenant's home pool.
pub(super) const REGION: &str = "portcullis_eu_west";

/// Seconds since the end of the oldest lease that nobody ended.
const OVERDUE: &str = "select coalesce(max(extract(epoch from clock_timestamp() - lease_until)), 0) \
                       from claims where state = 'claimed'";
const CLAIMED: &str = "select count(*) from claims where state = 'claimed'";
pub(super) const UNKNOWN: &str = "select count(*) from claims where state = 'unknown'";
/// Ends of calls that have no terminal record.
pub(super) const UNRECORDED: &str = "select count(*) from claims c where state <> 'claimed' and not exists \
    (select from records r where r.tenant_id = c.tenant_id and r.id = c.outcome_id)";

/// Kills replicas in turn, at moments that no pattern governs, while all of them are called.
///
/// # Errors
/// A replica cannot be killed or does not come back.
pub async fn kills(stage: &mut Stage, kills: usize) -> Result<Row> {
    let row = Row::new("kill -9 under load, also between effect and answer", kills);
    stage.upstream.behave(SLOW);
    let (sent, seen) = under_load(stage, kills, Ask::Effect).await?;
    stage.upstream.behave(Manners::PROMPT);
    judge(row, stage, &sent, seen).await
}

/// Kills replicas as [`kills`] does while they are called, and waits for the end of every call.
pub(super) async fn under_load(
    stage: &mut Stage,
    kills: usize,
    ask: Ask,
) -> Result<(Vec<load::Sent>, Resolved)> {
    let region = stage.database(REGION);
    let watch = Watch::start(region.clone());
    let urls: Vec<_> = (0..stage.replicas.len())
        .map(|place| stage.url(place))
        .collect();
    let load = Load::asking(ask, &stage.caller, &urls, WORKERS);
    let mut renewed = Instant::now();
    for number in 0..kills {
        if ask == Ask::Effect {
            let few = rand::random_range(1..12);
            stage
                .upstream
                .until_arrived(stage.upstream.arrived() + few)
                .await;
        }
        // Not for anything to happen: for a moment that is not always the same.
        tokio::time::sleep(Duration::from_micros(rand::random_range(0..60_000))).await;
        stage.kill(number).await?;
        if renewed.elapsed() > RENEW {
            stage.caller.renew().await?;
            renewed = Instant::now();
        }
    }
    let sent = load.finish().await;
    let ended = Instant::now();
    let within = LEASE + RESOLVED;
    let resolved = wait::until("the end of every call", within, || async {
        Ok((region.query(CLAIMED)? == "0").then_some(()))
    });
    let resolved = resolved.await.map(|()| ended.elapsed());
    let overdue = watch.finish().await?;
    stage.caller.renew().await?;
    Ok((sent, Resolved { resolved, overdue }))
}

/// When the calls had an end.
pub(super) struct Resolved {
    /// How long after the load the last one had.
    resolved: Result<Duration>,
    /// How long one stood beyond its lease.
    overdue: Duration,
}

impl Resolved {
    /// Notes what was promised of it, and says what was seen.
    pub(super) fn told(&self, row: &mut Row) -> String {
        row.promise(self.overdue <= RESOLVED, || {
            format!("a claim was {:?} beyond its lease", self.overdue)
        });
        let last = match &self.resolved {
            Ok(took) => format!("{:.1} s", took.as_secs_f32()),
            Err(error) => {
                row.promise(false, || format!("{error:#}"));
                "never".to_owned()
            }
        };
        let overdue = self.overdue.as_secs_f32();
        format!("latest end {overdue:.1} s after its lease, all ended after {last}")
    }
}

async fn judge(mut row: Row, stage: &Stage, sent: &[load::Sent], seen: Resolved) -> Result<Row> {
    let region = stage.database(REGION);
    let unknown = region.query(UNKNOWN)?;
    let unrecorded = region.query(UNRECORDED)?;
    let (mut doubtful, mut unresolved) = (0, BTreeSet::new());
    for call in sent {
        let times = stage.upstream.effects_of(&call.effect);
        let done = call.fate == Fate::Done;
        row.promise(!done || times == 1, || {
            format!("{} answered, {times} effects", call.effect)
        });
        if call.fate != Fate::Lost {
            continue;
        }
        doubtful += 1;
        // What it came to is known to whoever asks again.
        let again = stage
            .caller
            .make(&stage.url(doubtful), &call.effect)
            .await?;
        let slug = load::slug(&again);
        if again.status != 200 && slug != "outcome-unknown" {
            unresolved.insert(format!("{} {slug}", again.status));
        }
    }
    let effects = stage.upstream.effects();
    let double = effects.values().filter(|times| **times > 1).count();
    row.promise(double == 0, || format!("{double} double effects"));
    row.promise(unresolved.is_empty(), || {
        format!("calls without an end: {unresolved:?}")
    });
    row.promise(unrecorded == "0", || {
        format!("{unrecorded} ends without a record")
    });
    let ended = seen.told(&mut row);
    let (calls, refused) = (sent.len(), load::counted(&load::refusals(sent)));
    Ok(row.seen(format!(
        "{calls} calls, {double} double effects, {doubtful} cut off, {unknown} unknown; {ended}; refused \
         meanwhile: {refused}"
    )))
}

/// Looks at the claims all the while.
struct Watch {
    stop: Arc<AtomicBool>,
    watching: tokio::task::JoinSet<Result<Duration>>,
}

impl Watch {
    fn start(region: Database) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let mut watching = tokio::task::JoinSet::new();
        watching.spawn(async move {
            let mut worst = Duration::ZERO;
            while !told.load(Ordering::Acquire) {
                let asked = region.clone();
                let overdue = tokio::task::spawn_blocking(move || asked.query(OVERDUE)).await??;
                let seconds: f64 = overdue.parse()?;
                worst = worst.max(Duration::try_from_secs_f64(seconds).unwrap_or_default());
                tokio::time::sleep(LOOK).await;
            }
            Ok(worst)
        });
        Self { stop, watching }
    }

    async fn finish(mut self) -> Result<Duration> {
        self.stop.store(true, Ordering::Release);
        match self.watching.join_next().await {
            Some(worst) => worst?,
            None => Ok(Duration::ZERO),
        }
    }
}
