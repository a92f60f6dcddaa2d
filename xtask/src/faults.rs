//! `cargo xtask faults`: builds everything and plays the fault scenarios, which live in the end-to-end
//! crate.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::cargo;

/// Builds the platform and the scenarios, then becomes the program that plays them.
pub(crate) fn run(release: bool, arguments: &[String]) -> Result<ExitCode> {
    let profile = release.then_some("--release");
    let mut build = cargo();
    build.args(["build", "--locked", "--bins"]).args(profile);
    build.args(["--package", "portcullis-api", "--package", "portcullis-e2e"]);
    let status = build.status().context("cannot run cargo")?;
    ensure!(status.success(), "the build failed");
    let mut faults = cargo();
    // The same packages as above, so that nothing is built with other features.
    faults.args(["run", "--quiet", "--locked"]).args(profile);
    faults.args(["--package", "portcullis-e2e", "--bin", "faults-run", "--"]);
    Err(faults.args(arguments).exec()).context("cannot run cargo")
}
