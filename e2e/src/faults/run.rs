//! Every scenario, one after the other, at the size that is asked for.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Parser;

use super::stage::Stage;
use super::table::Row;
use super::{idempotency, kills, kills_of_flags, lines, restarts, switches};
use crate::proxy::Line;

/// The most that a drop may take until the last call has started.
pub const DROPPED: Duration = Duration::from_millis(250);
/// The same with notifications lost.
pub const DROPPED_MUTE: Duration = Duration::from_millis(2_500);

/// Every scenario's name.
const SCENARIOS: &[&str] = &[
    "duplicates",
    "replays",
    "reused",
    "foreign",
    "keyless",
    "kills",
    "flag-kills",
    "drops",
    "mute",
    "cut-off",
    "away",
    "restarts",
];

/// How often everything is done.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask faults")]
pub struct Arguments {
    /// Replicas.
    #[arg(long, default_value_t = 3)]
    replicas: usize,
    /// Keys that are used by duplicates.
    #[arg(long, default_value_t = 200)]
    keys: usize,
    /// Duplicates of each key.
    #[arg(long, default_value_t = 50)]
    copies: usize,
    /// Kills.
    #[arg(long, default_value_t = 500)]
    kills: usize,
    /// Drops of a switch.
    #[arg(long, default_value_t = 200)]
    drops: usize,
    /// Drops with one replica cut off, which take up to ten seconds each.
    #[arg(long, default_value_t = 20)]
    cut_off_drops: usize,
    /// Times that the control database goes away.
    #[arg(long, default_value_t = 4)]
    away: usize,
    /// Times that every replica is restarted.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// These scenarios alone.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// Plays the scenarios; each has a stage of its own, so that none stands in what another left.
///
/// # Errors
/// A stage cannot be set, or a name is no scenario's.
pub async fn all(arguments: &Arguments, say: &mut (dyn FnMut(&str) + Send)) -> Result<Vec<Row>> {
    for name in &arguments.only {
        ensure!(
            SCENARIOS.contains(&name.as_str()),
            "{name} is none of: {}",
            SCENARIOS.join(", ")
        );
    }
    let mut rows = Vec::new();
    for name in SCENARIOS {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|only| only == name) {
            continue;
        }
        let mut stage = Stage::set(arguments.replicas).await?;
        say(&format!("{name}: on {}", stage.postgres()));
        // A scenario that breaks off is a promise that was not kept, and no reason to skip the others.
        let row = play(name, &mut stage, arguments)
            .await
            .unwrap_or_else(|error| {
                let mut row = Row::new(name, 0);
                row.promise(false, || format!("{error:#}"));
                row
            });
        say(&format!(
            "{}: {} {}",
            row.scenario,
            row.result,
            row.broken.join("; ")
        ));
        rows.push(row);
    }
    Ok(rows)
}

async fn play(name: &str, stage: &mut Stage, arguments: &Arguments) -> Result<Row> {
    let Arguments { keys, drops, .. } = *arguments;
    match name {
        "duplicates" => idempotency::duplicates(stage, keys, arguments.copies).await,
        "replays" => idempotency::replays(stage, keys).await,
        "reused" => idempotency::reused_keys(stage, keys).await,
        "foreign" => idempotency::foreign_keys(stage, keys).await,
        "keyless" => idempotency::missing_keys(stage, keys).await,
        "kills" => kills::kills(stage, arguments.kills).await,
        "flag-kills" => kills_of_flags::kills(stage, arguments.kills).await,
        "drops" => switches::drops(stage, drops, Line::Open, DROPPED).await,
        "mute" => switches::drops(stage, drops, Line::Mute, DROPPED_MUTE).await,
        "cut-off" => switches::cut_off(stage, arguments.cut_off_drops).await,
        "away" => lines::control_away(stage, arguments.away).await,
        "restarts" => restarts::rolling(stage, arguments.rounds).await,
        _ => bail!("{name} is no scenario"),
    }
}
