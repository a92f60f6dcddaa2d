//! A private PostgreSQL, started once a test process and gone with it, however that ends. Each test
//! has databases of its own, cloned from migrated templates.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use portcullis_domain::Pool;
use portcullis_store::{ConnectOptions, ControlStore, RegionStore, migrate, roles};
use secrecy::SecretString;
use tokio::sync::{Mutex, OnceCell};

use crate::platform::at;

/// What the server's supervisor does: it stops the server when its standard input ends.
const SUPERVISE: &str = r#"set -e
trap : INT TERM
trap 'pg_ctl -D "$1/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$1"' EXIT
PATH="$2:$PATH"
initdb -D "$1/data" -A trust -U postgres --no-sync -E UTF8 --locale=C >/dev/null 2>&1
pg_ctl -w -D "$1/data" -l "$1/log" -o "-c listen_addresses='' -k $1 -c fsync=off -c max_connections=200" start >/dev/null
echo ready
cat >/dev/null"#;

static SHARED: OnceCell<Cluster> = OnceCell::const_new();
static NAMES: AtomicU32 = AtomicU32::new(0);
/// A template cannot be cloned twice at once.
static CLONING: Mutex<()> = Mutex::const_new(());

pub(crate) struct Cluster {
    directory: PathBuf,
    // The supervisor stops the server when this process lets go of its standard input.
    _supervisor: Child,
}

impl Cluster {
    /// The cluster that the tests of this process share.
    pub(crate) async fn shared() -> &'static Self {
        SHARED.get_or_init(Self::start).await
    }

    async fn start() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("portcullis-management-")
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
            // The test's own standard error must not stay open behind it.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(supervisor.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line.trim(), "ready", "PostgreSQL did not start");
        let cluster = Self {
            directory,
            _supervisor: supervisor,
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
        for name in ["control", "eu_west", "us_east"] {
            roles::create_database(&administrator, name).await.unwrap();
        }
        let owner = |name| self.url(roles::OWNER, name);
        migrate::control(&owner("control")).await.unwrap();
        migrate::region(&owner("eu_west"), Pool::EuWest, at(0))
            .await
            .unwrap();
        migrate::region(&owner("us_east"), Pool::UsEast, at(0))
            .await
            .unwrap();
    }

    fn url(&self, role: &str, database: &str) -> SecretString {
        let socket = self.directory.display();
        SecretString::from(format!(
            "postgres://{role}@localhost/{database}?host={socket}"
        ))
    }

    /// Runs a statement as the superuser, who sees everything; gives what it answers.
    async fn psql(&self, database: &str, sql: &str) -> String {
        let output = tokio::process::Command::new(binaries().join("psql"))
            .args([
                "-X",
                "-A",
                "-t",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "postgres",
            ])
            .arg("-h")
            .arg(&self.directory)
            .args(["-d", database, "-c", sql])
            .output()
            .await
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {told}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A new database like `template`; gives its name.
    async fn clone_of(&self, template: &str) -> String {
        let number = NAMES.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        let sql = format!(
            "create database {name} template {template} owner {}",
            roles::OWNER
        );
        let _one_at_a_time = CLONING.lock().await;
        self.psql("postgres", &sql).await;
        name
    }

    /// A new control database, opened as the role that serves; and a superuser's view of it.
    pub(crate) async fn control(&self) -> (ControlStore, Superuser) {
        let name = self.clone_of("control").await;
        let store = ControlStore::connect(self.url(roles::APP, &name), options())
            .await
            .unwrap();
        (store, Superuser(name))
    }

    /// A new database of a pool, opened as the role that serves.
    pub(crate) async fn region(&self, pool: Pool) -> RegionStore {
        let template = pool.as_str().replace('-', "_");
        let name = self.clone_of(&template).await;
        let app = self.url(roles::APP, &name);
        let recorder = self.url(roles::RECORDER, &name);
        RegionStore::connect(pool, app, recorder, options())
            .await
            .unwrap()
    }
}

/// What a test counts in a database, whoever's it is.
pub(crate) struct Superuser(String);

impl Superuser {
    async fn ask(&self, sql: &str) -> String {
        Cluster::shared().await.psql(&self.0, sql).await
    }

    pub(crate) async fn count(&self, sql: &str) -> i64 {
        self.ask(sql).await.trim().parse().unwrap()
    }

    /// Everything that the columns of a table hold, as text.
    pub(crate) async fn dump(&self, table: &str) -> String {
        self.ask(&format!("select t::text from {table} t")).await
    }
}

fn options() -> ConnectOptions {
    ConnectOptions {
        max_connections: 8,
        acquire_timeout: Duration::from_mins(1),
        ..ConnectOptions::default()
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

fn binaries() -> PathBuf {
    let packaged = (15..=17)
        .rev()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
        .find(|directory| directory.join("initdb").exists());
    packaged.unwrap_or_else(|| {
        let output = Command::new("pg_config").arg("--bindir").output().unwrap();
        Path::new(String::from_utf8(output.stdout).unwrap().trim()).to_owned()
    })
}
