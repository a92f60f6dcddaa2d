//! Switches dropped under load: how long calls still start afterwards, and that none starts once the
//! drop was acknowledged.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::load::{self, Load};
use super::stage::{SERVER, Stage, TENANT, TOOL};
use super::table::{Row, percentile};
use crate::proxy::Line;
use crate::wait;

/// Calls under way at each replica.
const WORKERS: usize = 2;
/// How long to look for calls that start after a drop's acknowledgement.
const AFTER: Duration = Duration::from_millis(300);
/// How long a lift may take to reach a replica.
const LIFTED: Duration = Duration::from_secs(20);

/// Drops switches in turn, each from another replica, with the lines as they are.
///
/// # Errors
/// A switch cannot be dropped or lifted.
pub async fn drops(stage: &Stage, drops: usize, line: Line, within: Duration) -> Result<Row> {
    let name = match line {
        Line::Open => "drop under load on 3 replicas",
        Line::Mute => "drop with notifications lost",
        Line::Held => "drop with a line held",
        Line::Cut => "drop with a line cut",
    };
    let mut row = Row::new(name, drops);
    for own in &stage.lines {
        own.set(line);
    }
    let urls: Vec<_> = (0..stage.replicas.len())
        .map(|place| stage.url(place))
        .collect();
    let load = Load::start(&stage.caller, &urls, WORKERS);
    let (mut last_starts, mut acknowledged, mut late) = (Vec::new(), Vec::new(), 0);
    for number in 0..drops {
        all_call(stage).await?;
        let dropped = drop_one(stage, number).await?;
        last_starts.push(dropped.last_start);
        acknowledged.push(dropped.acknowledged);
        late += dropped.late;
    }
    load.finish().await;
    for own in &stage.lines {
        own.set(Line::Open);
    }
    let p99 = percentile(&last_starts, 99);
    row.promise(p99 <= within, || {
        format!("p99 is {p99:?}, promised {within:?}")
    });
    row.promise(late == 0, || {
        format!("{late} calls started after the acknowledgement")
    });
    let (p50, most) = (percentile(&last_starts, 50), percentile(&last_starts, 100));
    let ack = percentile(&acknowledged, 99);
    Ok(row.seen(format!(
        "drop to last started call p50 {p50:.0?}, p99 {p99:.0?}, most {most:.0?}; \
         {late} after the acknowledgement (p99 {ack:.0?})"
    )))
}

/// What was seen of one drop.
struct Dropped {
    /// From the request to the last call that started.
    last_start: Duration,
    /// From the request to its answer.
    acknowledged: Duration,
    /// Calls that started after the answer.
    late: usize,
}

async fn drop_one(stage: &Stage, number: usize) -> Result<Dropped> {
    let begun = Instant::now();
    let dropped = stage.owner.create(&switches(), &a_switch(number)).await?;
    let answered = Instant::now();
    tokio::time::sleep(AFTER).await;
    let arrivals = stage.upstream.arrivals();
    let last = arrivals
        .iter()
        .rev()
        .map(|arrival| arrival.at)
        .find(|at| *at > begun);
    let late = arrivals
        .iter()
        .filter(|arrival| arrival.at > answered)
        .count();
    let id = dropped.pointer("/switch/id").and_then(Value::as_str);
    let id = id.with_context(|| format!("find the switch's id in {dropped}"))?;
    ensure!(
        dropped.pointer("/propagation/acknowledged") == Some(&json!(true)),
        "the drop is not acknowledged: {dropped}"
    );
    lift(stage, id).await?;
    Ok(Dropped {
        last_start: last.map_or(Duration::ZERO, |at| at.duration_since(begun)),
        acknowledged: answered.duration_since(begun),
        late,
    })
}

fn switches() -> String {
    format!("/tenants/{TENANT}/switches")
}

/// The kinds that stop the load, in turn.
fn a_switch(number: usize) -> Value {
    let reason = "a trial of the switch";
    match number % 3 {
        0 => json!({"kind": "tenant-read-only", "reason": reason}),
        1 => json!({"kind": "tool-quarantine", "target": TOOL, "reason": reason}),
        _ => json!({"kind": "server-quarantine", "target": SERVER, "reason": reason}),
    }
}

async fn lift(stage: &Stage, id: &str) -> Result<()> {
    let body = json!({"reason": "the trial is over"});
    let path = format!("{}/{id}/lift", switches());
    stage.owner.create(&path, &body).await?;
    Ok(())
}

/// Waits until calls start at every replica.
async fn all_call(stage: &Stage) -> Result<()> {
    let seen = stage.upstream.arrived();
    wait::until("calls at every replica", LIFTED, || async {
        let arrivals = stage.upstream.arrivals();
        let recent = arrivals.get(seen..).unwrap_or_default();
        let at = |place| {
            let mut there = recent
                .iter()
                .map(|arrival| load::replica_of(&arrival.effect));
            there.any(|replica| replica == Some(place))
        };
        Ok((0..stage.replicas.len()).all(at).then_some(()))
    })
    .await
}

/// Cuts one replica off from the control database and drops a switch: whoever is told that it is
/// dropped can rely on it.
///
/// # Errors
/// A switch cannot be dropped or lifted.
pub async fn cut_off(stage: &Stage, drops: usize) -> Result<Row> {
    let mut row = Row::new("drop with one replica cut off", drops);
    let urls: Vec<_> = (0..stage.replicas.len())
        .map(|place| stage.url(place))
        .collect();
    let load = Load::start(&stage.caller, &urls, WORKERS);
    let (mut late, mut acknowledged) = (0, Vec::new());
    for number in 0..drops {
        all_call(stage).await?;
        let line = stage.lines.last().context("find a line")?;
        line.set(if number % 2 == 0 {
            Line::Held
        } else {
            Line::Cut
        });
        let dropped = drop_one(stage, number).await?;
        late += dropped.late;
        acknowledged.push(dropped.acknowledged);
        line.set(Line::Open);
    }
    load.finish().await;
    row.promise(late == 0, || {
        format!("{late} calls started after the acknowledgement")
    });
    let most = percentile(&acknowledged, 100);
    Ok(row.seen(format!(
        "{late} calls started after the acknowledgement, which took at most {most:.1?}"
    )))
}
