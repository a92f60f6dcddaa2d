//! The whole attack, or a short form of it.

use anyhow::Result;
use clap::Parser;

use super::{answers, corpus, rebinding};
use crate::faults::Row;

/// How much of it.
#[derive(Debug, Clone, Parser)]
#[command(name = "attack-egress")]
pub struct Arguments {
    /// Every kind of attack, less often.
    #[arg(long)]
    pub short: bool,
}

/// Plays every attack; says each row as it comes.
///
/// # Errors
/// The attack itself cannot be played.
pub async fn all(arguments: &Arguments, say: &mut (dyn FnMut(&Row) + Send)) -> Result<Vec<Row>> {
    let (attempts, times) = if arguments.short {
        (100, 1)
    } else {
        (1_000, 5)
    };
    let mut rows = corpus::rows().await?;
    rows.iter().for_each(&mut *say);
    for row in [
        rebinding::row(attempts).await?,
        answers::redirects().await?,
        answers::headers().await?,
    ] {
        say(&row);
        rows.push(row);
    }
    for row in answers::bombs().await? {
        say(&row);
        rows.push(row);
    }
    let row = answers::slowness(times).await?;
    say(&row);
    rows.push(row);
    Ok(rows)
}
