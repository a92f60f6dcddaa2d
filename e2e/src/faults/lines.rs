//! The control database out of a replica's reach: what it may still answer, and for how long.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tokio::time::Instant;

use super::load;
use super::stage::{Stage, unique};
use super::table::Row;
use crate::http::Reply;
use crate::proxy::Line;
use crate::wait;

/// After how long mutating calls are refused.
const MUTATING: Duration = Duration::from_secs(2);
/// After how long all calls are.
const ALL: Duration = Duration::from_secs(10);
/// How much later than promised a refusal may be seen: the look at the clock is not continuous.
const SLACK: Duration = Duration::from_millis(750);
/// How long a replica may take to notice that the line is back.
const BACK: Duration = Duration::from_secs(20);

/// Takes the control database away from one replica, again and again.
///
/// # Errors
/// The replica does not answer at all, or never comes back.
pub async fn control_away(stage: &Stage, times: usize) -> Result<Row> {
    let mut row = Row::new("control database away", times);
    let (mut first, mut second) = (Duration::ZERO, Duration::ZERO);
    for number in 0..times {
        let line = stage.lines.first().context("find a line")?;
        let begun = Instant::now();
        line.set(if number % 2 == 0 {
            Line::Held
        } else {
            Line::Cut
        });
        let (took, reply) = refused(stage, begun, MUTATING, Call::Mutating).await?;
        first = first.max(took);
        judge(&mut row, "mutating calls", took, MUTATING, &reply);
        let (took, reply) = refused(stage, begun, ALL, Call::Reading).await?;
        second = second.max(took);
        judge(&mut row, "all calls", took, ALL, &reply);
        line.set(Line::Open);
        wait::until("answers with the line back", BACK, || async {
            let reply = ask(stage, Call::Mutating).await?;
            Ok((reply.status == 200).then_some(()))
        })
        .await?;
    }
    Ok(row.seen(format!(
        "mutating calls refused after at most {first:.1?}, all after {second:.1?}"
    )))
}

#[derive(Clone, Copy)]
enum Call {
    Mutating,
    Reading,
}

async fn ask(stage: &Stage, call: Call) -> Result<Reply> {
    let url = stage.url(0);
    match call {
        Call::Mutating => stage.caller.make(&url, &unique("away")).await,
        Call::Reading => {
            let order = json!({"orderId": "none"});
            stage.caller.call(&url, "orders.get", &order, None).await
        }
    }
}

/// Waits for the first refusal; tells how long after `begun` it was.
async fn refused(
    stage: &Stage,
    begun: Instant,
    promised: Duration,
    call: Call,
) -> Result<(Duration, Reply)> {
    let reply = wait::until("a refusal", promised + BACK, || async {
        let reply = ask(stage, call).await?;
        Ok((reply.status != 200).then_some(reply))
    });
    let reply = reply.await?;
    Ok((begun.elapsed(), reply))
}

fn judge(row: &mut Row, what: &str, took: Duration, promised: Duration, reply: &Reply) {
    row.promise(took <= promised + SLACK, || {
        format!("{what} are refused after {took:?}, promised {promised:?}")
    });
    let right = (reply.status, load::slug(reply).as_str()) == (503, "configuration-stale");
    row.promise(right, || format!("{what}: {}", reply.told()));
    let remedy = reply.at("/remedy");
    let reason = format!("more than {} s", promised.as_secs());
    let says = remedy
        .as_str()
        .is_some_and(|remedy| remedy.contains(&reason));
    row.promise(says, || format!("{what}: no reason in {}", reply.text()));
}
