//! A private PostgreSQL, started once a test process and gone with it, however that ends. Databases
//! are clones of a migrated template.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use portcullis_domain::Pool;
use portcullis_store::{migrate, roles};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::sync::OnceCell;

use crate::fixture::NOW;

/// The superuser that the cluster is made with.
pub(crate) const SUPERUSER: &str = "postgres";

static SHARED: OnceCell<Cluster> = OnceCell::const_new();
static NAMES: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Cluster {
    directory: PathBuf,
    binaries: PathBuf,
    user: Option<(u32, u32)>,
    // The supervisor stops the server when this process lets go of its standard input.
    _supervisor: Child,
}

impl Cluster {
    /// The cluster that the tests of this process share.
    pub(crate) async fn shared() -> &'static Self {
        SHARED.get_or_init(Self::start).await
    }

    /// A cluster of its own, for a test that stops it.
    pub(crate) async fn start() -> Self {
        let binaries = binaries();
        let user = unprivileged();
        let directory = tempfile::Builder::new()
            .prefix("portcullis-store-")
            .tempdir()
            .unwrap()
            .keep();
        if let Some((uid, gid)) = user {
            chown(&directory, Some(uid), Some(gid)).unwrap();
        }
        let mut supervisor = command(Path::new("sh"), user)
            .args([
                "-c",
                r#"set -e
                   trap : INT TERM
                   trap 'pg_ctl -D "$1/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$1"' EXIT
                   PATH="$2:$PATH"
                   initdb -D "$1/data" -A trust -U "$3" --no-sync -E UTF8 --locale=C >"$1/initdb.log" 2>&1
                   pg_ctl -w -D "$1/data" -l "$1/server.log" -o "$4" start >/dev/null
                   echo ready
                   cat >/dev/null"#,
                "supervisor",
                directory.to_str().unwrap(),
                binaries.to_str().unwrap(),
                SUPERUSER,
                &server_options(&directory),
            ])
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(supervisor.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line.trim(), "ready", "no cluster: {}", log(&directory));
        let cluster = Self {
            directory,
            binaries,
            user,
            _supervisor: supervisor,
        };
        cluster.prepare().await;
        cluster
    }

    async fn prepare(&self) {
        let password = || SecretString::from("a quote ' and a backslash \\ in it");
        let passwords = roles::Passwords {
            owner: password(),
            app: password(),
            recorder: password(),
            sweeper: password(),
        };
        let administrator = self.url(SUPERUSER, "postgres");
        roles::bootstrap(&administrator, &passwords).await.unwrap();
        for name in ["control_template", "region_template"] {
            assert!(roles::create_database(&administrator, name).await.unwrap());
        }
        migrate::control(&self.url(roles::OWNER, "control_template"))
            .await
            .unwrap();
        migrate::region(
            &self.url(roles::OWNER, "region_template"),
            Pool::EuWest,
            NOW,
        )
        .await
        .unwrap();
    }

    /// The address of a database for a role, over the cluster's socket.
    pub(crate) fn url(&self, role: &str, database: &str) -> SecretString {
        SecretString::from(format!(
            "postgres://{role}@localhost/{database}?host={}",
            self.directory.display()
        ))
    }

    /// The socket that the server listens on.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join(".s.PGSQL.5432")
    }

    /// A new empty control database.
    pub(crate) async fn control(&self) -> Database<'_> {
        self.clone_of("control_template").await
    }

    /// A new empty database of the pool `eu-west`.
    pub(crate) async fn region(&self) -> Database<'_> {
        self.clone_of("region_template").await
    }

    async fn clone_of(&self, template: &str) -> Database<'_> {
        let number = NAMES.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        self.administer(&format!(
            "create database {name} template {template} owner {}",
            roles::OWNER
        ))
        .await;
        Database {
            cluster: self,
            name,
        }
    }

    /// Runs statements as the superuser, outside any database of ours.
    pub(crate) async fn administer(&self, sql: &str) {
        let mut connection = connect(&self.url(SUPERUSER, "postgres")).await;
        run(&mut connection, sql).await;
    }

    /// Stops the server as a crash does.
    pub(crate) fn crash(&self) {
        self.control_server(&["-m", "immediate", "stop"]);
    }

    /// Starts the server again.
    pub(crate) fn restart(&self) {
        let log = self.directory.join("server.log");
        let options = server_options(&self.directory);
        self.control_server(&["-l", log.to_str().unwrap(), "-o", &options, "start"]);
    }

    fn control_server(&self, arguments: &[&str]) {
        let status = command(&self.binaries.join("pg_ctl"), self.user)
            .arg("-w")
            .arg("-D")
            .arg(self.directory.join("data"))
            .args(arguments)
            .current_dir(&self.directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{}", log(&self.directory));
    }
}

/// A database of one test.
pub(crate) struct Database<'c> {
    pub(crate) cluster: &'c Cluster,
    name: String,
}

impl Database<'_> {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self, role: &str) -> SecretString {
        self.cluster.url(role, &self.name)
    }

    pub(crate) async fn connect(&self, role: &str) -> PgConnection {
        connect(&self.url(role)).await
    }

    /// Runs statements as the superuser.
    pub(crate) async fn administer(&self, sql: &str) {
        let mut connection = self.connect(SUPERUSER).await;
        run(&mut connection, sql).await;
    }

    /// What the superuser counts: everything, whoever's.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let mut connection = self.connect(SUPERUSER).await;
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&mut connection)
            .await
            .unwrap()
    }
}

pub(crate) async fn connect(url: &SecretString) -> PgConnection {
    PgConnection::connect(url.expose_secret()).await.unwrap()
}

pub(crate) async fn run(connection: &mut PgConnection, sql: &str) {
    connection
        .execute(AssertSqlSafe(sql.to_owned()))
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
}

fn server_options(directory: &Path) -> String {
    // Tests of crashes stop the server, not the machine: what it handed to the kernel survives.
    format!(
        "-c listen_addresses='' -k {} -c fsync=off -c max_connections=200",
        directory.display()
    )
}

fn command(program: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

/// PostgreSQL refuses to run as root: then it runs as the user that its package made, or nobody.
fn unprivileged() -> Option<(u32, u32)> {
    let this = std::fs::metadata("/proc/self").unwrap();
    if this.uid() != 0 {
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
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    })
}

fn log(directory: &Path) -> String {
    ["initdb.log", "server.log"]
        .into_iter()
        .filter_map(|name| std::fs::read_to_string(directory.join(name)).ok())
        .collect()
}
