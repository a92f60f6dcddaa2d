//! `cargo xtask attack-egress`: attacks on the outbound client; a row a class of cases or a kind of
//! attack, with how many there were and what was seen.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use portcullis_e2e::attack::{self, Arguments};
use portcullis_e2e::faults::Row;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut say = |row: &Row| {
        let held = if row.held() { "held" } else { "BROKEN" };
        // Nobody to tell is no reason to stop.
        let _closed = writeln!(
            std::io::stdout(),
            "{:<28} {:>5} cases  {held:<6}  {}",
            row.scenario,
            row.number,
            row.result
        );
        for broken in &row.broken {
            let _closed = writeln!(std::io::stdout(), "    {broken}");
        }
    };
    let rows = attack::all(&Arguments::parse(), &mut say).await?;
    let cases: usize = rows.iter().map(|row| row.number).sum();
    let held = rows.iter().filter(|row| row.held()).count();
    writeln!(
        std::io::stdout(),
        "\n{cases} cases in {} rows, {held} of them held",
        rows.len()
    )?;
    Ok(if held == rows.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
