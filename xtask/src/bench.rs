//! `cargo xtask bench`: builds everything optimised and runs the comparison, which lives in the
//! end-to-end crate.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::cargo;

/// Builds the platform, the bare servers and the load, then becomes the program that runs them.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "--bins"]);
    build.args(["--package", "portcullis-api", "--package", "portcullis-e2e"]);
    let status = build.status().context("cannot run cargo")?;
    ensure!(status.success(), "the optimised build failed");
    let mut bench = cargo();
    // The same packages as above, so that nothing is built with other features.
    bench.args(["run", "--quiet", "--release", "--locked"]);
    bench.args(["--package", "portcullis-e2e", "--bin", "bench-run", "--"]);
    Err(bench.args(arguments).exec()).context("cannot run cargo")
}
