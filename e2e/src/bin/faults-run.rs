//! `cargo xtask faults`: duplicates, kills, switches, lost lines and restarts on three replicas, with
//! effects counted outside of the platform; a row each with how often it was done and what was seen.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use portcullis_e2e::faults::run::{self, Arguments};

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut say = |line: &str| {
        // Nobody to tell is no reason to stop.
        let _closed = writeln!(std::io::stdout(), "{line}");
    };
    let rows = run::all(&Arguments::parse(), &mut say).await?;
    writeln!(
        std::io::stdout(),
        "\n{}",
        portcullis_e2e::faults::markdown(&rows)
    )?;
    let held = rows.iter().filter(|row| row.held()).count();
    writeln!(std::io::stdout(), "{held} of {} held", rows.len())?;
    Ok(if held == rows.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
