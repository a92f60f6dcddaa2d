//! Duplicates of one call at once on every replica: one effect, one answer for all; and what a key
//! does not give away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::stage::{Stage, TOOL, unique};
use super::table::Row;
use super::{Caller, load};
use crate::http::Reply;
use crate::mcp::RECEIPT;
use crate::upstream::{EFFECT, Manners};

/// Calls under way at once.
const AT_ONCE: usize = 128;
/// How long the tool server takes over an effect: long enough for duplicates to meet it.
const SLOW: Duration = Duration::from_millis(20);
/// How often a duplicate comes back while the first is in progress.
const PATIENCE: usize = 200;

/// Sends `copies` of each of `keys` calls, over all replicas at once, and counts the effects.
///
/// # Errors
/// A replica does not answer at all.
pub async fn duplicates(stage: &Stage, keys: usize, copies: usize) -> Result<Row> {
    let row = Row::new("duplicates of one key on 3 replicas", keys * copies);
    stage.upstream.behave(Manners::slow_to_answer(SLOW));
    let effects: Vec<_> = (0..keys).map(|_| unique("duplicate")).collect();
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let busy = Arc::new(Mutex::default());
    let mut calls = JoinSet::new();
    for effect in &effects {
        for copy in 0..copies {
            let slot = Arc::clone(&slots).acquire_owned().await?;
            let (caller, url) = (stage.caller.clone(), stage.url(copy));
            let (effect, busy) = (effect.clone(), Arc::clone(&busy));
            calls.spawn(async move {
                let answer = until_done(&caller, &url, &effect, &busy).await;
                drop(slot);
                (effect, answer)
            });
        }
    }
    let mut answers: BTreeMap<String, Vec<Reply>> = BTreeMap::new();
    while let Some(call) = calls.join_next().await {
        let (effect, reply) = call?;
        answers.entry(effect).or_default().push(reply?);
    }
    stage.upstream.behave(Manners::PROMPT);
    let busy = std::mem::take(&mut *busy.lock().unwrap_or_else(PoisonError::into_inner));
    judge(row, stage, &effects, (&answers, &busy))
}

fn judge(
    mut row: Row,
    stage: &Stage,
    effects: &[String],
    (answers, busy): (&BTreeMap<String, Vec<Reply>>, &Busy),
) -> Result<Row> {
    let counts: Vec<_> = effects
        .iter()
        .map(|effect| stage.upstream.effects_of(effect))
        .collect();
    let made: usize = counts.iter().sum();
    let double = counts.iter().filter(|count| **count > 1).count();
    let mut replays = 0;
    let mut differing = 0;
    let mut failed = Vec::new();
    for replies in answers.values() {
        let done = replies.iter().find(|reply| reply.status == 200);
        let first = done.or(replies.first()).context("find an answer")?;
        for reply in replies {
            replays += usize::from(load::is_replay(reply));
            if reply.status != 200 {
                failed.push(reply.told());
            } else if load::result(reply) != load::result(first) {
                differing += 1;
            }
        }
    }
    let expected = row.number - effects.len();
    row.promise(made == effects.len(), || {
        format!("{made} effects of {}", effects.len())
    });
    row.promise(double == 0, || format!("{double} double effects"));
    row.promise(differing == 0, || format!("{differing} answers differ"));
    row.promise(failed.is_empty(), || {
        format!(
            "{} calls failed, one with {:?}",
            failed.len(),
            failed.first()
        )
    });
    row.promise(replays == expected, || {
        format!("{replays} replays of {expected}")
    });
    Ok(row.seen(format!(
        "{made} effects, {double} double, {replays} replays; repeats because a replica or its \
         database was busy: {}",
        load::counted(busy)
    )))
}

/// What a client repeats: another call with the key is in progress, or the replica or its database has
/// more to do than it can, and nothing ran.
const REPEATED: [&str; 3] = ["idempotency-in-progress", "overloaded", "audit-unavailable"];

/// How often calls were repeated since a replica or its database was busy, by status and slug.
type Busy = BTreeMap<String, usize>;

/// Repeats a call for as long as it may be repeated. `busy` counts the repeats that are for another
/// reason than the first call's being in progress.
async fn until_done(caller: &Caller, url: &str, effect: &str, busy: &Mutex<Busy>) -> Result<Reply> {
    let mut reply = caller.make(url, effect).await?;
    for _ in 0..PATIENCE {
        let slug = load::slug(&reply);
        if !REPEATED.contains(&slug.as_str()) {
            break;
        }
        ensure!(
            reply.header("retry-after").is_some(),
            "{slug} without Retry-After: {}",
            reply.told()
        );
        if slug != REPEATED[0] {
            let mut busy = busy.lock().unwrap_or_else(PoisonError::into_inner);
            *busy.entry(format!("{} {slug}", reply.status)).or_default() += 1;
        }
        tokio::time::sleep(SLOW).await;
        reply = caller.make(url, effect).await?;
    }
    Ok(reply)
}

/// Uses keys again with other arguments: each is refused, on whichever replica, and nothing happens.
///
/// # Errors
/// A replica does not answer at all.
pub async fn reused_keys(stage: &Stage, keys: usize) -> Result<Row> {
    let mut row = Row::new("a key used again with other arguments", keys);
    let mut refused = 0;
    for number in 0..keys {
        let effect = unique("first");
        let first = stage.caller.make(&stage.url(number), &effect).await?;
        ensure!(first.status == 200, "the first use: {}", first.told());
        let other = unique("other");
        let url = stage.url(number + 1);
        let arguments = json!({ EFFECT: other });
        let again = stage
            .caller
            .call(&url, TOOL, &arguments, Some(&effect))
            .await?;
        let right = (again.status, load::slug(&again).as_str()) == (409, "idempotency-key-reused");
        refused += usize::from(right);
        row.promise(right, || again.told());
        let happened = stage.upstream.effects_of(&other);
        row.promise(happened == 0, || format!("{other} happened"));
    }
    Ok(row.seen(format!("{refused} refused with idempotency-key-reused")))
}

/// Repeats calls on another replica, by MCP: each gets the first one's result, marked as a repeat in
/// both places where a client may look.
///
/// # Errors
/// A replica does not answer at all.
pub async fn replays(stage: &Stage, keys: usize) -> Result<Row> {
    let mut row = Row::new("a repeat on another replica, by MCP", keys);
    let mut marked = 0;
    for number in 0..keys {
        let effect = unique("repeated");
        let first = stage.caller.make(&stage.url(number), &effect).await?;
        ensure!(first.status == 200, "the first use: {}", first.told());
        let client = stage.caller.mcp(&stage.url(number + 1))?;
        let meta = json!({"dev.portcullis/idempotency-key": effect});
        let params = json!({"name": TOOL, "arguments": {EFFECT: effect}, "_meta": meta});
        let again = client.send("tools/call", params).await?;
        let right = again.words() == "OK (idempotent)"
            && again.meta("dev.portcullis/idempotent-replay") == true
            && again.structured() == load::result(&first)
            && again.structured().is_object()
            && again.meta(RECEIPT).get("record") != first.at("/receipt").get("record")
            && stage.upstream.effects_of(&effect) == 1;
        marked += usize::from(right);
        row.promise(right, || again.told());
    }
    Ok(row.seen(format!(
        "{marked} answered with the first result and a fresh receipt"
    )))
}

/// Another principal of the tenant uses the same keys: it gets effects of its own and nothing of the
/// first one's answers.
///
/// # Errors
/// A replica does not answer at all.
pub async fn foreign_keys(stage: &Stage, keys: usize) -> Result<Row> {
    let mut row = Row::new("another principal with the same key", keys);
    let other = stage.another_caller().await?;
    let mut apart = 0;
    for number in 0..keys {
        let (key, own) = (unique("shared"), unique("own"));
        let first = stage.caller.make(&stage.url(number), &key).await?;
        ensure!(first.status == 200, "the first use: {}", first.told());
        let arguments = json!({ EFFECT: own });
        let url = stage.url(number + 1);
        let reply = other.call(&url, TOOL, &arguments, Some(&key)).await?;
        let clean = reply.status == 200
            && !load::is_replay(&reply)
            && !reply.text().contains(&key)
            && stage.upstream.effects_of(&own) == 1;
        apart += usize::from(clean);
        row.promise(clean, || reply.told());
    }
    Ok(row.seen(format!("{apart} answered with an effect of their own")))
}

/// Calls without a key: refused before anything happens.
///
/// # Errors
/// A replica does not answer at all.
pub async fn missing_keys(stage: &Stage, calls: usize) -> Result<Row> {
    let mut row = Row::new("a mutating call without a key", calls);
    for number in 0..calls {
        let effect = unique("keyless");
        let arguments = json!({ EFFECT: effect });
        let reply = stage
            .caller
            .call(&stage.url(number), TOOL, &arguments, None)
            .await?;
        let right =
            (reply.status, load::slug(&reply).as_str()) == (400, "idempotency-key-required");
        row.promise(right, || reply.told());
        let happened = stage.upstream.effects_of(&effect);
        row.promise(happened == 0, || format!("{effect} happened"));
    }
    Ok(row.seen("refused with idempotency-key-required".to_owned()))
}
