//! A shell as a newcomer has it: runs commands as they were printed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// What a command did.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Whether it succeeded.
    pub success: bool,
    /// Its exit code, if no signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it complained about.
    pub err: String,
}

/// Runs a script with `sh -c`, with `portcullis` on the path.
///
/// # Errors
/// There is no shell.
pub fn run(script: &str, binary: &Path) -> Result<Ran> {
    let folder = binary.parent().context("find the binary's folder")?;
    let mut path = folder.as_os_str().to_owned();
    if let Some(inherited) = std::env::var_os("PATH") {
        path.push(":");
        path.push(inherited);
    }
    let output = Command::new("sh")
        .args(["-c", script])
        .env("PATH", path)
        .output()
        .context("run sh")?;
    Ok(Ran {
        success: output.status.success(),
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
