//! What a killed predecessor left: a server that still runs, or files of one that does not.
//!
//! The caller holds the data folder's lock, so no other `up` can be starting or stopping the server
//! meanwhile.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::super::error::UpError;

/// A signal and how long it may take to work.
type Patience = (Signal, Duration);
/// For a server: fast shutdown, then immediate.
const SERVER: [Patience; 2] = [
    (Signal::SIGINT, Duration::from_secs(20)),
    (Signal::SIGQUIT, Duration::from_secs(5)),
];
/// For a backend whose server is gone: it has nobody to answer.
const BACKEND: [Patience; 2] = [
    (Signal::SIGTERM, Duration::from_secs(5)),
    (Signal::SIGKILL, Duration::from_secs(5)),
];

/// Ends what a killed predecessor left of this cluster's server, and removes lock files whose process
/// number now belongs to some other program (PostgreSQL itself sorts out the rest).
pub(super) async fn clear(cluster: &Path, sockets: &Path) -> Result<(), UpError> {
    let recorded = postmaster(cluster)?;
    if let Some(pid) = recorded.filter(|pid| is_server_of(*pid, cluster)) {
        warn!(
            pid = pid.as_raw(),
            "stopping the PostgreSQL of a killed predecessor"
        );
        stop(pid, cluster, SERVER).await?;
    }
    // Its backends end by themselves, each when it next waits. With one of them still writing, a
    // second server would ruin the cluster.
    for backend in processes_of(cluster) {
        stop(backend, cluster, BACKEND).await?;
    }
    if !recorded.is_some_and(is_alive) {
        return Ok(());
    }
    for path in [
        cluster.join("postmaster.pid"),
        sockets.join(".s.PGSQL.5432.lock"),
    ] {
        remove(&path)?;
    }
    Ok(())
}

/// Every process that works inside the cluster. Where there is no `/proc` it finds none, and
/// PostgreSQL's own check of its shared memory is what stops a second server.
fn processes_of(cluster: &Path) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
        .filter(|pid| is_server_of(*pid, cluster))
        .collect()
}

/// The process number in the cluster's lock file.
pub(super) fn postmaster(cluster: &Path) -> Result<Option<Pid>, UpError> {
    let path = cluster.join("postmaster.pid");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text
            .lines()
            .next()
            .and_then(|line| line.trim().parse().ok())
            .map(Pid::from_raw)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(UpError::file("cannot read", path)(error)),
    }
}

fn is_alive(pid: Pid) -> bool {
    pid.as_raw() > 0 && !matches!(kill(pid, None), Err(Errno::ESRCH))
}

/// Whether a process is PostgreSQL's and this cluster's: each of them works inside the data folder.
fn is_server_of(pid: Pid, cluster: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    if process.exists() {
        let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
        let folder = std::fs::read_link(process.join("cwd"));
        return name.starts_with("post") && folder.is_ok_and(|folder| folder == cluster);
    }
    // Without /proc, the command line names the data folder that we started it with.
    let listed = std::process::Command::new("ps")
        .args(["-o", "command=", "-p", &pid.to_string()])
        .output();
    listed.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout).contains(&*cluster.to_string_lossy())
    })
}

async fn stop(pid: Pid, cluster: &Path, how: [Patience; 2]) -> Result<(), UpError> {
    for (signal, patience) in how {
        match kill(pid, signal) {
            Ok(()) => {}
            Err(Errno::ESRCH) => return Ok(()),
            Err(error) => {
                return Err(UpError::Program {
                    program: format!("stopping the PostgreSQL left behind (process {pid})"),
                    reason: error.to_string(),
                });
            }
        }
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            // Asked by its folder, since a process that nobody waited for still has its number.
            if !is_server_of(pid, cluster) {
                return Ok(());
            }
            // No child of ours: there is no signal to wait for.
            sleep(Duration::from_millis(20)).await;
        }
    }
    Err(UpError::Program {
        program: format!("stopping the PostgreSQL left behind (process {pid})"),
        reason: "it does not stop; end it by hand".to_owned(),
    })
}

fn remove(path: &Path) -> Result<(), UpError> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(UpError::file("cannot remove", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reused_process_number_does_not_block_the_next_start() {
        let place = tempfile::tempdir().unwrap();
        // This test's own process is alive and no server.
        let pid = std::process::id();
        std::fs::write(place.path().join("postmaster.pid"), format!("{pid}\n")).unwrap();
        clear(place.path(), place.path()).await.unwrap();
        assert!(!place.path().join("postmaster.pid").exists());
        assert!(is_alive(Pid::from_raw(i32::try_from(pid).unwrap())));
    }

    #[tokio::test]
    async fn a_backend_without_its_server_is_ended_and_a_bystander_is_not() {
        let place = tempfile::tempdir().unwrap();
        let cluster = place.path().canonicalize().unwrap();
        let program = cluster.join("postgres");
        std::fs::copy("/bin/sleep", &program).unwrap();
        let start = |program: &Path| {
            let mut command = std::process::Command::new(program);
            command.arg("60").current_dir(&cluster).spawn().unwrap()
        };
        let mut backend = start(&program);
        let mut bystander = start(Path::new("/bin/sleep"));
        clear(&cluster, &cluster).await.unwrap();
        assert!(!backend.wait().unwrap().success());
        assert!(bystander.try_wait().unwrap().is_none());
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }

    #[tokio::test]
    async fn the_lock_file_of_a_dead_server_is_left_to_postgres() {
        let place = tempfile::tempdir().unwrap();
        // A child that has ended and was waited for: its number is free again.
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        std::fs::write(place.path().join("postmaster.pid"), format!("{pid}\n")).unwrap();
        clear(place.path(), place.path()).await.unwrap();
        assert!(place.path().join("postmaster.pid").exists());
    }

    #[test]
    fn nonsense_in_the_lock_file_is_no_process() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("postmaster.pid"), "x\n").unwrap();
        assert_eq!(postmaster(place.path()).unwrap(), None);
        assert!(!is_alive(Pid::from_raw(0)));
        assert!(!is_alive(Pid::from_raw(-1)));
    }
}
