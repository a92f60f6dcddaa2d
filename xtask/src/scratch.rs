//! A database server for the length of one task: in a temporary folder, on a Unix socket, gone
//! afterwards.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::tools::{self, must, succeeds};

/// The server; stopped and removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    server: Child,
    folder: PathBuf,
    binaries: PathBuf,
    account: Option<(u32, u32)>,
}

impl Scratch {
    /// Starts an empty server.
    pub(crate) fn start() -> Result<Self> {
        let binaries = binaries()?;
        let account = account()?;
        let folder =
            std::env::temp_dir().join(format!("portcullis-scratch-{}", std::process::id()));
        std::fs::create_dir(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;
        if let Some((uid, gid)) = account {
            chown(&folder, Some(uid), Some(gid))?;
        }
        let data = folder.join("data");
        let mut initdb = as_account(&binaries.join("initdb"), account);
        initdb.arg("-D").arg(&data);
        must(initdb.args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]))?;
        let server = as_account(&binaries.join("postgres"), account)
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-c", "fsync=off"])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", folder.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut scratch = Self {
            server,
            folder,
            binaries,
            account,
        };
        scratch.wait()?;
        Ok(scratch)
    }

    fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_mins(1);
        while Instant::now() < deadline {
            if succeeds(&mut self.psql("postgres", &["-c", "select 1"])) {
                return Ok(());
            }
            if let Some(status) = self.server.try_wait()? {
                bail!("the scratch PostgreSQL ended at once: {status}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the scratch PostgreSQL was not ready after 60 s")
    }

    fn psql(&self, database: &str, arguments: &[&str]) -> Command {
        let mut command = as_account(&self.binaries.join("psql"), self.account);
        command
            .args([
                "-q",
                "-X",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "postgres",
                "-d",
                database,
            ])
            .arg("-h")
            .arg(&self.folder)
            .args(arguments);
        command
    }

    /// Runs one statement.
    pub(crate) fn run(&self, database: &str, sql: &str) -> Result<()> {
        must(&mut self.psql(database, &["-c", sql]))
    }

    /// Runs a file of statements in one transaction.
    pub(crate) fn run_file(&self, database: &str, file: &Path) -> Result<()> {
        // Read here: the server's user may not be let into this folder.
        let sql = std::fs::read_to_string(file)?;
        must(&mut self.psql(database, &["-1", "-c", &sql]))
            .with_context(|| format!("in {}", file.display()))
    }

    /// The URL of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{folder}/{database}")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SIGQUIT: there is nothing to save. A failure leaves a folder in /tmp, no more.
        let pid = self.server.id().to_string();
        let _stopped = succeeds(Command::new("kill").args(["-QUIT", &pid]));
        let _ended = self.server.wait();
        let _removed = std::fs::remove_dir_all(&self.folder);
    }
}

/// The user that the server runs as, where we are root, which PostgreSQL refuses.
fn account() -> Result<Option<(u32, u32)>> {
    let id = |arguments: &[&str]| -> Result<u32> {
        let output = Command::new("id").args(arguments).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    };
    if id(&["-u"])? != 0 {
        return Ok(None);
    }
    let name = if succeeds(Command::new("id").arg("postgres")) {
        "postgres"
    } else {
        "nobody"
    };
    Ok(Some((id(&["-u", name])?, id(&["-g", name])?)))
}

fn as_account(program: &Path, account: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").stdin(Stdio::null());
    if let Some((uid, gid)) = account {
        command.uid(uid).gid(gid);
    }
    command
}

/// The folder of a server's binaries; on Debian the package is installed where we may.
fn binaries() -> Result<PathBuf> {
    if let Some(folder) = found() {
        return Ok(folder);
    }
    tools::install_postgres()?;
    found().context("PostgreSQL was installed, but its binaries are not where they should be")
}

fn found() -> Option<PathBuf> {
    let whole = |folder: &PathBuf| {
        ["postgres", "initdb", "psql"]
            .iter()
            .all(|name| folder.join(name).is_file())
    };
    let asked = Command::new("pg_config").arg("--bindir").output().ok();
    let asked = asked.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let listed = [17, 16, 15].into_iter().flat_map(|major| {
        [
            format!("/usr/lib/postgresql/{major}/bin"),
            format!("/usr/pgsql-{major}/bin"),
            format!("/opt/homebrew/opt/postgresql@{major}/bin"),
        ]
    });
    listed.map(PathBuf::from).chain(asked).find(whole)
}
