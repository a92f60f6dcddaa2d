//! `cargo xtask bench`: the platform with everything on, beside a bare axum and a bare rmcp server,
//! in one run. Limits are raised through the management API, not skipped; tokens are the platform's
//! own; every call of the platform leaves its signed record before it is answered.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use portcullis_e2e::bench::comparison::{self, Arguments};

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let report = comparison::run(&Arguments::parse()).await?;
    writeln!(std::io::stdout(), "{}", report.text())?;
    Ok(if report.is_sound() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
