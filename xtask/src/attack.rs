//! `cargo xtask attack-egress`: builds the attack on the outbound client, which lives in the end-to-end
//! crate, and runs it.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::cargo;

/// Becomes the program that attacks.
pub(crate) fn egress(arguments: &[String]) -> Result<ExitCode> {
    let mut attack = cargo();
    attack.args(["run", "--quiet", "--locked", "--package", "portcullis-e2e"]);
    attack.args(["--bin", "attack-egress", "--"]);
    Err(attack.args(arguments).exec()).context("cannot run cargo")
}
