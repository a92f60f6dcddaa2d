//! The processes that work inside a folder: a platform's database server and its children.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Every process whose working directory is in `folder`.
///
/// # Errors
/// `/proc` cannot be read.
pub fn inside(folder: &Path) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("list processes")? {
        let path = entry?.path();
        let pid = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.parse::<i32>().ok());
        // One that ends while we look is not there.
        let works_there = fs::read_link(path.join("cwd")).is_ok_and(|at| at.starts_with(folder));
        if let (Some(pid), true) = (pid, works_there) {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}

/// Sends a signal; a process that is gone already is no fault.
///
/// # Errors
/// The signal may not be sent.
pub fn signal(pid: Pid, signal: Signal) -> Result<()> {
    match kill(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("send {signal} to {pid}")),
    }
}

/// Processes that were stopped and go on when this is dropped.
#[derive(Debug)]
pub struct Frozen(Vec<Pid>);

impl Frozen {
    /// Stops every process inside a folder.
    ///
    /// # Errors
    /// A signal may not be sent.
    pub fn inside(folder: &Path) -> Result<Self> {
        let mut frozen = Self(Vec::new());
        // A server that is stopped last may have started a child meanwhile.
        loop {
            let new: Vec<_> = inside(folder)?
                .into_iter()
                .filter(|pid| !frozen.0.contains(pid))
                .collect();
            if new.is_empty() {
                return Ok(frozen);
            }
            for pid in new {
                frozen.0.push(pid);
                signal(pid, Signal::SIGSTOP)?;
            }
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _gone = signal(*pid, Signal::SIGCONT);
        }
    }
}
