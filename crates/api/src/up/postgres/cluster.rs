//! One private cluster: made once, started as our child, stopped with us.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use secrecy::{ExposeSecret, SecretString};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::super::account::Account;
use super::super::error::UpError;
use super::super::folder::{Folder, own_folder_of};
use super::binaries::Binaries;
use super::{install, leftover};
use crate::platform::create_private;

/// The superuser of the private cluster. Only bootstrap uses it.
pub(in crate::up) const SUPERUSER: &str = "portcullis_admin";

/// How long a start may take: crash recovery replays what the last checkpoint left.
const START: Duration = Duration::from_mins(2);
/// How long a fast shutdown may take before an immediate one.
const STOP: Duration = Duration::from_secs(20);
/// A log beyond this size is begun anew at the next start.
const LOG_BYTES: u64 = 8 << 20;

/// What the server is started with. Durability is said, not assumed; nothing listens on a network;
/// neither statements nor values go to the log.
const SETTINGS: &[&str] = &[
    "listen_addresses=",
    "port=5432",
    "unix_socket_permissions=0700",
    "fsync=on",
    "full_page_writes=on",
    "synchronous_commit=on",
    "max_connections=200",
    "password_encryption=scram-sha-256",
    "jit=off",
    "logging_collector=off",
    "log_destination=stderr",
    "log_error_verbosity=terse",
    "log_min_error_statement=panic",
    "log_statement=none",
];

/// How recovery makes sure that files are on the disk before it reads them: where the system can, all
/// of the file system at once, which takes a tenth of the time of one file after the other.
const RECOVERY: &str = if cfg!(target_os = "linux") {
    "recovery_init_sync_method=syncfs"
} else {
    "recovery_init_sync_method=fsync"
};

/// The running server.
#[derive(Debug)]
pub(in crate::up) struct Cluster {
    child: Child,
    log: PathBuf,
}

impl Cluster {
    /// Makes the cluster where there is none yet and starts it.
    ///
    /// Call it on the main thread: the server asks the kernel to be stopped when the thread that
    /// started it ends.
    pub(in crate::up) async fn start(
        folder: &Folder,
        account: &Account,
        binaries: &Binaries,
        superuser: &SecretString,
        sockets: &Path,
    ) -> Result<Self, UpError> {
        let cluster = folder.cluster();
        if !cluster.join("PG_VERSION").exists() {
            create(folder, account, binaries, superuser).await?;
        }
        leftover::clear(&cluster, sockets).await?;
        let child = spawn(folder, sockets, account, binaries)?;
        let mut running = Self {
            child,
            log: folder.log(),
        };
        running.wait_until_ready(&cluster).await?;
        Ok(running)
    }

    /// Waits until the server ends, which it should not do by itself.
    pub(in crate::up) async fn gone(&mut self) -> UpError {
        let status = match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        UpError::DatabaseGone {
            status,
            log: self.log.clone(),
        }
    }

    /// Stops the server: fast, which ends its clients' transactions, and if that hangs, at once.
    pub(in crate::up) async fn stop(mut self) -> Result<(), UpError> {
        self.signal(Signal::SIGINT);
        if timeout(STOP, self.child.wait()).await.is_ok() {
            return Ok(());
        }
        self.signal(Signal::SIGQUIT);
        match timeout(STOP, self.child.wait()).await {
            Ok(_) => Ok(()),
            Err(_) => Err(UpError::Program {
                program: "stopping PostgreSQL".to_owned(),
                reason: "it does not stop; end it by hand".to_owned(),
            }),
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid {
            // It may have ended meanwhile, which is what is wanted.
            let _gone = kill(Pid::from_raw(pid), signal);
        }
    }

    /// PostgreSQL writes its state into the eighth line of its lock file; that is how its own
    /// `pg_ctl` waits.
    async fn wait_until_ready(&mut self, cluster: &Path) -> Result<(), UpError> {
        let deadline = Instant::now() + START;
        let pid = self.child.id().map(|pid| pid.to_string());
        while Instant::now() < deadline {
            let text = std::fs::read_to_string(cluster.join("postmaster.pid")).unwrap_or_default();
            let mut lines = text.lines().map(str::trim);
            let ours = lines.next().map(str::to_owned) == pid;
            if ours && lines.nth(6) == Some("ready") {
                return Ok(());
            }
            let ended = self.child.try_wait();
            if let Some(status) = ended.map_err(UpError::file("cannot watch", cluster))? {
                return Err(self.not_started(status));
            }
            sleep(Duration::from_millis(10)).await;
        }
        self.signal(Signal::SIGQUIT);
        Err(UpError::NotStarted {
            reason: format!("it was not ready after {} s", START.as_secs()),
            log: self.log.clone(),
        })
    }

    fn not_started(&self, status: ExitStatus) -> UpError {
        let log = std::fs::read(&self.log).unwrap_or_default();
        UpError::NotStarted {
            reason: format!("{} ({status})", install::last_line(&log)),
            log: self.log.clone(),
        }
    }
}

/// Makes a cluster beside its final place and moves it there, so that a crash leaves none or a
/// whole one.
async fn create(
    folder: &Folder,
    account: &Account,
    binaries: &Binaries,
    superuser: &SecretString,
) -> Result<(), UpError> {
    let cluster = folder.cluster();
    let unfinished = folder.root().join("postgres.new");
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished)
            .map_err(UpError::file("cannot remove", &unfinished))?;
    }
    own_folder_of(&unfinished, account)?;
    let password = folder.sockets(account)?.join("password");
    let _stale = std::fs::remove_file(&password);
    create_private(&password, superuser.expose_secret().as_bytes())
        .map_err(UpError::file("cannot write", &password))?;
    account.give(&password)?;
    let program = binaries.path("initdb");
    let output = account
        .command(&program)
        .arg("--pgdata")
        .arg(&unfinished)
        .arg("--pwfile")
        .arg(&password)
        .args(["--username", SUPERUSER])
        .args(["--auth", "scram-sha-256"])
        .args(["--encoding", "UTF8", "--locale", "C"])
        .arg("--data-checksums")
        .output()
        .await;
    std::fs::remove_file(&password).map_err(UpError::file("cannot remove", &password))?;
    let failed = |reason| UpError::Program {
        program: program.display().to_string(),
        reason,
    };
    let output = output.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(install::last_line(&output.stderr)));
    }
    std::fs::rename(&unfinished, &cluster).map_err(UpError::file("cannot create", &cluster))
}

fn spawn(
    folder: &Folder,
    sockets: &Path,
    account: &Account,
    binaries: &Binaries,
) -> Result<Child, UpError> {
    let log = log_file(&folder.log())?;
    let errors = log
        .try_clone()
        .map_err(UpError::file("cannot open", folder.log()))?;
    let program = binaries.path("postgres");
    let mut command = stopped_with_us(&program, account);
    command.arg("-D").arg(folder.cluster());
    for setting in SETTINGS.iter().chain([&RECOVERY]) {
        command.args(["-c", setting]);
    }
    command
        .arg("-c")
        .arg(format!("unix_socket_directories={}", sockets.display()))
        .stdout(log)
        .stderr(errors)
        // A Ctrl-C is for us: calls under way end first, then the server.
        .process_group(0);
    command.spawn().map_err(|error| UpError::Program {
        program: program.display().to_string(),
        reason: error.to_string(),
    })
}

/// The server, told by the kernel to stop when we are killed, where `setpriv` can ask for that. Where
/// it cannot, the next start stops what was left.
fn stopped_with_us(program: &Path, account: &Account) -> Command {
    let asked = ["--pdeathsig", "INT", "--"];
    let can = std::process::Command::new("setpriv")
        .args(asked)
        .arg("true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if can {
        let mut command = account.command("setpriv");
        command.args(asked).arg(program);
        command
    } else {
        account.command(program)
    }
}

fn log_file(path: &Path) -> Result<File, UpError> {
    let full = path
        .metadata()
        .is_ok_and(|metadata| metadata.len() > LOG_BYTES);
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(UpError::file("cannot open", path))?;
    if full {
        file.set_len(0)
            .map_err(UpError::file("cannot empty", path))?;
    }
    Ok(file)
}
