//! The binary under test: built once a test process, in the profile of the tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, ensure};

/// The path of `portcullis`, built from the present sources.
///
/// # Errors
/// Cargo cannot build it.
pub fn portcullis() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(|error| anyhow!(error))
}

/// What the binary is made of, beside the crates of the registry that the lock file names.
const SOURCES: &[&str] = &[
    "crates",
    "migrations",
    "policies",
    "Cargo.toml",
    "Cargo.lock",
];

fn build() -> Result<PathBuf> {
    let folder = profile_folder()?;
    let binary = folder.join("portcullis");
    // A run of the whole workspace has just built it. Asking for it alone could choose other
    // features of what it is made of, and so build everything anew.
    if is_fresh(&binary)? {
        return Ok(binary);
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--package", "portcullis-api"])
        .args(["--bin", "portcullis", "--target-dir"])
        .arg(folder.parent().context("find the target folder")?)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if folder.file_name().is_some_and(|name| name == "release") {
        cargo.arg("--release");
    }
    // Cargo itself lets one build at a time into a target folder.
    let status = cargo.status().context("run cargo")?;
    ensure!(status.success(), "cargo build of portcullis failed");
    ensure!(binary.is_file(), "cargo made no {}", binary.display());
    Ok(binary)
}

/// Whether the binary is there and younger than everything that it is made of.
fn is_fresh(binary: &Path) -> Result<bool> {
    let Ok(built) = binary.metadata().and_then(|metadata| metadata.modified()) else {
        return Ok(false);
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = root.parent().context("find the workspace")?;
    let mut youngest = SystemTime::UNIX_EPOCH;
    let mut paths: Vec<_> = SOURCES.iter().map(|source| root.join(source)).collect();
    while let Some(path) = paths.pop() {
        let metadata = path.metadata();
        let metadata = metadata.with_context(|| format!("look at {}", path.display()))?;
        if metadata.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                paths.push(entry?.path());
            }
        }
        // A folder changes when a file in it goes.
        youngest = youngest.max(metadata.modified()?);
    }
    Ok(youngest < built)
}

/// The folder of the running program's profile, `target/debug` or `target/release`.
///
/// # Errors
/// The running program has no path.
pub fn profile_folder() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the running program")?;
    let folder = own.parent().context("find the running program's folder")?;
    let folder = if folder.ends_with("deps") {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    };
    Ok(Path::to_path_buf(folder))
}
