//! A private PostgreSQL with an empty control database, gone with the process that started it,
//! however that ends.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use portcullis_store::{ConnectOptions, ControlStore, migrate, roles};
use secrecy::SecretString;

const DATABASE: &str = "portcullis_control";

/// What the server's supervisor does: it stops the server when its standard input ends.
const SUPERVISE: &str = r#"set -e
trap : INT TERM
trap 'pg_ctl -D "$1/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$1"' EXIT
PATH="$2:$PATH"
initdb -D "$1/data" -A trust -U postgres --no-sync -E UTF8 --locale=C >/dev/null 2>&1
pg_ctl -w -D "$1/data" -l "$1/log" -o "-c listen_addresses='' -k $1 -c fsync=off" start >/dev/null
echo ready
cat >/dev/null"#;

pub(crate) struct Cluster {
    directory: PathBuf,
    supervisor: Child,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("portcullis-tokens-")
            .tempdir()
            .unwrap()
            .keep();
        let mut command = Command::new("sh");
        if let Some((uid, gid)) = unprivileged() {
            chown(&directory, Some(uid), Some(gid)).unwrap();
            command.uid(uid).gid(gid);
        }
        let mut supervisor = command
            .args(["-c", SUPERVISE, "supervisor"])
            .args([directory.as_path(), &binaries()])
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(supervisor.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line.trim(), "ready", "PostgreSQL did not start");
        let cluster = Self {
            directory,
            supervisor,
        };
        cluster.prepare().await;
        cluster
    }

    async fn prepare(&self) {
        let password = || SecretString::from("a password");
        let passwords = roles::Passwords {
            owner: password(),
            app: password(),
            recorder: password(),
            sweeper: password(),
        };
        let administrator = self.url("postgres", "postgres");
        roles::bootstrap(&administrator, &passwords).await.unwrap();
        assert!(
            roles::create_database(&administrator, DATABASE)
                .await
                .unwrap()
        );
        migrate::control(&self.url(roles::OWNER, DATABASE))
            .await
            .unwrap();
    }

    pub(crate) fn url(&self, role: &str, database: &str) -> SecretString {
        let socket = self.directory.display();
        SecretString::from(format!(
            "postgres://{role}@localhost/{database}?host={socket}"
        ))
    }

    /// The control database as a replica opens it: as the role that serves.
    pub(crate) async fn open(&self) -> ControlStore {
        let options = ConnectOptions {
            max_connections: 8,
            acquire_timeout: Duration::from_mins(1),
            ..ConnectOptions::default()
        };
        ControlStore::connect(self.url(roles::APP, DATABASE), options)
            .await
            .unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ended = self.supervisor.wait();
    }
}

/// PostgreSQL refuses to run as root: then it runs as its package's user, or as nobody.
fn unprivileged() -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let entry = |name: &str| {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2).map(|field| field.parse().unwrap());
        Some((fields.next()?, fields.next()?))
    };
    Some(entry("postgres").or_else(|| entry("nobody")).unwrap())
}

pub(crate) fn binaries() -> PathBuf {
    let packaged = (15..=17)
        .rev()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
        .find(|directory| directory.join("initdb").exists());
    packaged.unwrap_or_else(|| {
        let output = Command::new("pg_config").arg("--bindir").output().unwrap();
        Path::new(String::from_utf8(output.stdout).unwrap().trim()).to_owned()
    })
}
