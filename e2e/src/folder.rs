//! Where the tests keep data directories: a seeded template, made once a binary, and copies of it.
//!
//! Every folder is one that the database server's user can walk to, which matters when the tests run
//! as root.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::platform;

/// The folder of everything that the tests make: beside the build, or in the temporary folder where
/// the build stands in a place that only root can enter.
///
/// # Errors
/// It cannot be made.
pub fn base() -> Result<PathBuf> {
    let test = std::env::current_exe().context("find the test's own program")?;
    let beside = test
        .ancestors()
        .skip(1)
        .find(|folder| folder.file_name().is_none_or(|name| name != "deps"))
        .context("find the build's folder")?
        .join("e2e");
    let all_may_pass = beside
        .ancestors()
        .skip(1)
        .all(|step| step.metadata().is_ok_and(|of| of.mode() & 0o001 != 0));
    let root = nix::unistd::geteuid().is_root();
    let folder = if all_may_pass || !root {
        beside
    } else {
        std::env::temp_dir().join("portcullis-e2e")
    };
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder)
}

/// A lock that other test processes respect, held until it is dropped.
///
/// # Errors
/// The lock file cannot be made.
pub fn lock(name: &str) -> Result<File> {
    let path = base()?.join(name);
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    file.lock()
        .with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

/// A fresh folder that goes with its value. What earlier runs were killed over is removed.
///
/// # Errors
/// It cannot be made.
pub fn scratch() -> Result<TempDir> {
    let base = base()?;
    remove_orphans(&base)?;
    let folder = tempfile::Builder::new()
        .prefix(&format!("run-{}-", std::process::id()))
        .tempdir_in(&base)
        .context("create a folder for one run")?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    Ok(folder)
}

fn remove_orphans(base: &Path) -> Result<()> {
    for entry in fs::read_dir(base)? {
        let path = entry?.path();
        let owner = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_prefix("run-"))
            .and_then(|rest| rest.split('-').next())
            .and_then(|pid| pid.parse::<u32>().ok());
        let orphaned = owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        // Its platform may still be stopping; then a later run removes it.
        if orphaned && crate::processes::inside(&path)?.is_empty() {
            let _another_run_may_be_faster = fs::remove_dir_all(&path);
        }
    }
    Ok(())
}

/// A data directory of the present binary, started and stopped once.
///
/// # Errors
/// The platform does not start or does not stop.
pub async fn template(binary: &Path) -> Result<PathBuf> {
    let base = base()?;
    let _held = lock("template.lock")?;
    let of = binary.metadata().context("look at the binary")?;
    let fingerprint = format!("{}-{}-{}", of.len(), of.mtime(), of.mtime_nsec());
    let ready = base.join(format!("template-{fingerprint}"));
    if ready.exists() {
        return Ok(ready);
    }
    for entry in fs::read_dir(&base)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.starts_with("template-")) {
            fs::remove_dir_all(&path)?;
        }
    }
    let place = scratch()?;
    let data = place.path().join("data");
    platform::seed(binary, place.path(), &data).await?;
    fs::rename(&data, &ready).context("keep the template")?;
    Ok(ready)
}

/// Copies a data directory whole: owners, modes and times too.
///
/// # Errors
/// `cp` fails.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp")
        .args(["--archive", "--reflink=auto"])
        .arg(from)
        .arg(to)
        .status()
        .context("run cp")?;
    ensure!(status.success(), "cp {} failed", from.display());
    Ok(())
}
