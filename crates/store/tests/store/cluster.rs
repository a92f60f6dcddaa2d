//! A private PostgreSQL. All test processes that run at once share one, whether a runner starts one
//! process or one a test; it goes when the last of them does, however that ends. Databases are clones
//! of a migrated template.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::net::UnixStream;
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

/// Starts a cluster in `$1` with the binaries of `$2`, the superuser `$3` and the options `$4`.
const START: &str = r#"set -e
    trap : INT TERM HUP
    PATH="$2:$PATH"
    initdb -D "$1/data" -A trust -U "$3" --no-sync -E UTF8 --locale=C >"$1/initdb.log" 2>&1
    pg_ctl -w -D "$1/data" -l "$1/server.log" -o "$4" start >/dev/null
    echo ready
    exec >/dev/null
"#;

/// Stops it when this process lets go of the supervisor's standard input.
const PRIVATE: &str = r#"
    cat
    pg_ctl -D "$1/data" -m immediate stop 2>/dev/null || true
    rm -rf "$1"
"#;

/// Stops it when no process holds `life.lock` for some seconds, with `start.lock` held so that none
/// can take it.
const SHARED_BY_ALL: &str = r#"
    idle=0
    while sleep 1; do
        exec 8<"$1/start.lock" && flock 8
        exec 9<"$1/life.lock"
        if flock -n 9; then idle=$((idle + 1)); else idle=0; fi
        if [ "$idle" = 3 ]; then
            pg_ctl -D "$1/data" -m immediate stop
            rm -rf "$1"
            exit
        fi
        exec 9<&- 8<&-
    done
"#;

static SHARED: OnceCell<Cluster> = OnceCell::const_new();
static NAMES: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Cluster {
    directory: PathBuf,
    binaries: PathBuf,
    user: Option<(u32, u32)>,
    // A shared one runs while anybody holds this lock.
    _life: Option<File>,
    // A private one runs until this process lets go of the supervisor's standard input.
    supervisor: Option<Child>,
}

impl Cluster {
    /// The cluster that all tests share.
    pub(crate) async fn shared() -> &'static Self {
        SHARED.get_or_init(Self::join).await
    }

    /// Joins the cluster of this build, starting it where there is none.
    async fn join() -> Self {
        let user = unprivileged();
        let build = std::fs::metadata(std::env::current_exe().unwrap()).unwrap();
        let name = format!(
            "portcullis-store-{}-{}-{}",
            std::fs::metadata("/proc/self").unwrap().uid(),
            build.ino(),
            build.mtime_nsec()
        );
        let directory = std::env::temp_dir().join(name);
        let start = lock_start(&directory, user);
        let life = File::create(directory.join("life.lock")).unwrap();
        life.lock_shared().unwrap();
        let mut cluster = Self {
            directory,
            binaries: binaries(),
            user,
            _life: Some(life),
            supervisor: None,
        };
        let ready = cluster.directory.join("ready");
        if !ready.exists() || UnixStream::connect(cluster.socket()).is_err() {
            // What a crash of the machine left behind.
            let _ = std::fs::remove_dir_all(cluster.directory.join("data"));
            let supervisor = supervise(&cluster.directory, user, SHARED_BY_ALL, Stdio::null());
            cluster.supervisor = Some(supervisor);
            cluster.prepare().await;
            File::create(ready).unwrap();
        }
        drop(start);
        cluster
    }

    /// A cluster of its own, for a test that stops it or changes its roles.
    pub(crate) async fn start() -> Self {
        let user = unprivileged();
        let directory = tempfile::Builder::new()
            .prefix("portcullis-store-")
            .tempdir()
            .unwrap()
            .keep();
        own(&directory, user);
        let supervisor = supervise(&directory, user, PRIVATE, Stdio::piped());
        let cluster = Self {
            directory,
            binaries: binaries(),
            user,
            _life: None,
            supervisor: Some(supervisor),
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
        let name = unique(&format!("test_{number}"));
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

/// A name that no other test process uses in the shared cluster.
pub(crate) fn unique(name: &str) -> String {
    format!("{name}_{}", std::process::id())
}

/// Holds off everybody else who would start or stop the cluster in `directory`.
fn lock_start(directory: &Path, user: Option<(u32, u32)>) -> File {
    let path = directory.join("start.lock");
    loop {
        if std::fs::create_dir(directory).is_ok() {
            own(directory, user);
        }
        let Ok(file) = File::create(&path) else {
            continue;
        };
        file.lock().unwrap();
        // The directory may have gone while this waited.
        let held = file.metadata().unwrap().ino();
        if std::fs::metadata(&path).is_ok_and(|there| there.ino() == held) {
            return file;
        }
    }
}

fn own(directory: &Path, user: Option<(u32, u32)>) {
    if let Some((uid, gid)) = user {
        chown(directory, Some(uid), Some(gid)).unwrap();
    }
}

/// Starts a server and whatever stops it, in a process group that the terminal's signals miss.
fn supervise(directory: &Path, user: Option<(u32, u32)>, stop: &str, stdin: Stdio) -> Child {
    let mut supervisor = command(Path::new("sh"), user)
        .arg("-c")
        .arg(format!("{START}{stop}"))
        .arg("supervisor")
        .arg(directory)
        .arg(binaries())
        .arg(SUPERUSER)
        .arg(server_options(directory))
        .current_dir(directory)
        .process_group(0)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(supervisor.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line.trim(), "ready", "no cluster: {}", log(directory));
    supervisor
}

fn server_options(directory: &Path) -> String {
    // Tests of crashes stop the server, not the machine: what it handed to the kernel survives.
    format!(
        "-c listen_addresses='' -k {} -c fsync=off -c max_connections=300 -c max_wal_size=256MB",
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
