//! A private PostgreSQL, started once a test process and gone with it, however that ends. Its data
//! folder is a copy of one that was migrated once for all processes; each test has databases of its
//! own, cloned from templates.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use portcullis_domain::Pool;
use portcullis_store::{ConnectOptions, ControlStore, RegionStore, migrate, roles};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, OnceCell};

use crate::platform::at;

/// What the server's supervisor does: it stops the server when its standard input ends.
const SUPERVISE: &str = r#"set -e
trap : INT TERM
trap 'pg_ctl -D "$1/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$1"' EXIT
PATH="$2:$PATH"
[ -d "$1/data" ] || initdb -D "$1/data" -A trust -U postgres --no-sync --wal-segsize=1 -E UTF8 --locale=C >/dev/null 2>&1
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
        Self::on(Some(&prepared().await))
    }

    /// A server on a copy of a data folder, or on an empty one.
    fn on(data: Option<&Path>) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("portcullis-management-")
            .tempdir()
            .unwrap()
            .keep();
        if let Some(data) = data {
            must(
                Command::new("cp")
                    .arg("-a")
                    .args([data, &directory.join("data")]),
            );
        }
        let mut command = Command::new("sh");
        if let Some((uid, gid)) = unprivileged() {
            let whose = format!("{uid}:{gid}");
            must(Command::new("chown").args(["-R", &whose]).arg(&directory));
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
        Self {
            directory,
            _supervisor: supervisor,
        }
    }

    async fn prepare(&self) {
        let administrator = self.url("postgres", "postgres");
        roles::bootstrap(&administrator, &passwords())
            .await
            .unwrap();
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
        self.watched_region(pool).await.0
    }

    /// The same, and a superuser's view of it.
    pub(crate) async fn watched_region(&self, pool: Pool) -> (RegionStore, Superuser) {
        let template = pool.as_str().replace('-', "_");
        let name = self.clone_of(&template).await;
        let app = self.url(roles::APP, &name);
        let recorder = self.url(roles::RECORDER, &name);
        let store = RegionStore::connect(pool, app, recorder, options())
            .await
            .unwrap();
        (store, Superuser(name))
    }
}

/// A data folder with roles and migrated templates. The first process that needs it makes it; a
/// change of the migrations makes another.
async fn prepared() -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let lock = File::create(place.join("management.lock")).unwrap();
    lock.lock().unwrap();
    let ready = place.join(format!("management-{}", fingerprint()));
    if !ready.exists() {
        let making = Cluster::on(None);
        making.prepare().await;
        let data = making.directory.join("data");
        let mut stop = Command::new(binaries().join("pg_ctl"));
        if let Some((uid, gid)) = unprivileged() {
            stop.uid(uid).gid(gid);
        }
        must(
            stop.current_dir("/")
                .arg("-D")
                .arg(&data)
                .args(["-m", "fast", "-w", "stop"]),
        );
        let half = place.join("management-half-made");
        must(Command::new("rm").arg("-rf").arg(&half));
        must(Command::new("cp").arg("-a").args([&data, &half]));
        std::fs::rename(half, &ready).unwrap();
    }
    ready
}

/// Of everything that goes into a prepared data folder.
fn fingerprint() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
    let mut files: Vec<PathBuf> = ["control", "region"]
        .iter()
        .flat_map(|kind| std::fs::read_dir(root.join(kind)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut digest = Sha256::new();
    digest.update(roles::bootstrap_sql(&passwords()).expose_secret());
    digest.update(binaries().as_os_str().as_encoded_bytes());
    for file in files {
        digest.update(std::fs::read(file).unwrap());
    }
    hex::encode(digest.finalize()).chars().take(16).collect()
}

fn passwords() -> roles::Passwords {
    let password = || SecretString::from("a password");
    roles::Passwords {
        owner: password(),
        app: password(),
        recorder: password(),
        sweeper: password(),
    }
}

fn must(command: &mut Command) {
    let status = command.stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}");
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

    /// Runs a statement.
    pub(crate) async fn run(&self, sql: &str) {
        self.ask(sql).await;
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
