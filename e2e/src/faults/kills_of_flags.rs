//! Replicas killed without warning while they set flags: the effect is in the transaction that ends its
//! call, so a key has one change of its flag or none, and none is in doubt once its lease is over.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::kills::{REGION, UNKNOWN, UNRECORDED, under_load};
use super::load::{self, Ask, Fate};
use super::stage::Stage;
use super::table::Row;
use crate::database::Database;

/// How often each flag of the load was changed.
const CHANGES: &str =
    "select name, count(*) from flag_changes where name like 'load.%' group by name";
/// Changes whose call has no terminal record.
const UNENDED: &str = "select count(*) from flag_changes c where name like 'load.%' and not exists \
    (select from records r where r.tenant_id = c.tenant_id and r.intent_id = c.record_id)";

/// Kills replicas in turn while all of them set flags.
///
/// # Errors
/// A replica cannot be killed or does not come back.
pub async fn kills(stage: &mut Stage, kills: usize) -> Result<Row> {
    let mut row = Row::new("kill -9 under load of flag.set", kills);
    let (sent, seen) = under_load(stage, kills, Ask::Flag).await?;
    let region = stage.database(REGION);
    let before = changes(&region)?;
    let (mut doubtful, mut kept) = (0, 0);
    for call in &sent {
        let times = before.get(&call.effect).copied().unwrap_or(0);
        match call.fate {
            Fate::Done => row.promise(times == 1, || {
                format!("{} answered, {times} changes", call.effect)
            }),
            Fate::Lost => {
                doubtful += 1;
                kept += usize::from(times == 1);
                // Whoever asks again has it: the first time's answer, or that of now.
                let url = stage.url(doubtful);
                let again = stage.caller.set_flag(&url, &call.effect).await?;
                let right = again.status == 200 && load::is_replay(&again) == (times == 1);
                row.promise(right, || {
                    format!("{} ({times} changes) again: {}", call.effect, again.told())
                });
            }
            Fate::Refused(..) | Fate::Unsent => row.promise(times <= 1, || {
                format!("{} refused, {times} changes", call.effect)
            }),
        }
    }
    let after = changes(&region)?;
    let double = after.values().filter(|times| **times > 1).count();
    row.promise(double == 0, || format!("{double} double effects"));
    for (what, query) in [
        ("calls of unknown outcome", UNKNOWN),
        ("ends without a record", UNRECORDED),
        ("changes without an end on record", UNENDED),
    ] {
        let found = region.query(query)?;
        row.promise(found == "0", || format!("{found} {what}"));
    }
    let ended = seen.told(&mut row);
    let (calls, keys) = (sent.len(), after.len());
    let refused = load::counted(&load::refusals(&sent));
    Ok(row.seen(format!(
        "{calls} calls, {keys} keys with one change each, {double} double; {doubtful} cut off, {kept} of \
         them done; {ended}; refused meanwhile: {refused}"
    )))
}

fn changes(region: &Database) -> Result<BTreeMap<String, usize>> {
    let rows = region.query(CHANGES)?;
    let parsed = rows.lines().map(|row| {
        let (name, times) = row.split_once('|').context("read a flag's changes")?;
        Ok((name.to_owned(), times.parse()?))
    });
    parsed.collect()
}
