//! One running platform: `portcullis up` as a child process, on a data directory of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::database::Database;
use crate::operator::Operator;
use crate::{binary, folder, processes, wait};

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_mins(2);
/// How long a stop may take on a busy machine.
const STOP: Duration = Duration::from_mins(1);

/// How a platform is started.
#[derive(Debug, Clone, Default)]
pub struct Options {
    environment: Vec<(String, String)>,
    listen: Option<SocketAddr>,
    for_people: bool,
    by_https: bool,
}

impl Options {
    /// With one `PORTCULLIS_*` variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With limits of a tenant that many principals cannot reach together.
    #[must_use]
    pub fn roomy(self) -> Self {
        self.with("PORTCULLIS_ADMISSION_TENANT_RPM", "1000000")
            .with("PORTCULLIS_ADMISSION_TENANT_BURST", "100000")
            .with("PORTCULLIS_ADMISSION_TENANT_CONCURRENCY", "5000")
    }

    /// With instructions for people instead of a line for programs.
    #[must_use]
    pub const fn for_people(mut self) -> Self {
        self.for_people = true;
        self
    }

    /// Known by its HTTPS address.
    #[must_use]
    pub const fn by_https(mut self) -> Self {
        self.by_https = true;
        self
    }

    fn listening_on(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }
}

/// A running platform. Dropping it stops it.
#[derive(Debug)]
pub struct Platform {
    child: Child,
    binary: PathBuf,
    place: PathBuf,
    data: PathBuf,
    options: Options,
    ready: Value,
    url: String,
    operator: Operator,
    started_in: Duration,
    // Declared last, so that the folder goes after the process.
    scratch: Option<TempDir>,
}

impl Platform {
    /// Starts a platform on a copy of the seeded data directory.
    ///
    /// # Errors
    /// It does not start; its last words are in the message.
    pub async fn start() -> Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts a platform with other settings.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(options: Options) -> Result<Self> {
        let binary = binary::portcullis()?;
        let template = folder::template(&binary).await?;
        let scratch = folder::scratch()?;
        let place = scratch.path().to_owned();
        let data = place.join("data");
        folder::copy(&template, &data)?;
        let mut platform = launch(&binary, &place, &data, options).await?;
        platform.scratch = Some(scratch);
        Ok(platform)
    }

    /// Starts a platform on an empty data directory, as a newcomer does.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_from_nothing() -> Result<Self> {
        let binary = binary::portcullis()?;
        let scratch = folder::scratch()?;
        let place = scratch.path().to_owned();
        let mut platform = launch(&binary, &place, &place.join("data"), Options::default()).await?;
        platform.scratch = Some(scratch);
        Ok(platform)
    }

    /// The platform that tests share which disturb nobody: each brings its own principals. It lives
    /// as long as the test process.
    ///
    /// # Errors
    /// It did not start.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Platform, String>> = OnceLock::new();
        let started = SHARED.get_or_init(|| on_a_lasting_thread().map_err(|e| format!("{e:#}")));
        started.as_ref().map_err(|error| anyhow!(error.clone()))
    }

    /// The public URL, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The MCP endpoint of a tenant.
    pub fn mcp_url(&self, tenant: &str) -> String {
        format!("{}/t/{tenant}/mcp", self.url)
    }

    /// The plain HTTP address of a tenant's tool.
    pub fn tool_url(&self, tenant: &str, tool: &str) -> String {
        format!("{}/t/{tenant}/tools/{tool}", self.url)
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// The public URL names no address.
    pub fn address(&self) -> Result<SocketAddr> {
        let authority = self.url.rsplit('/').next().unwrap_or_default();
        authority
            .parse()
            .with_context(|| format!("find an address in {}", self.url))
    }

    /// The authority that signed its certificate, where it is known by its HTTPS address.
    pub fn authority(&self) -> Option<PathBuf> {
        let https = self.url.starts_with("https:");
        https.then(|| self.data.join("tls/ca.pem"))
    }

    /// What it printed when it was ready: its line as JSON, or its instructions as one text.
    pub const fn ready(&self) -> &Value {
        &self.ready
    }

    /// The origin of its admin listener.
    ///
    /// # Errors
    /// The ready line names none.
    pub fn admin(&self) -> Result<&str> {
        let admin = self.ready.pointer("/admin").and_then(Value::as_str);
        admin.with_context(|| format!("find the admin listener in {}", self.ready))
    }

    /// The order of a tenant that the platform suggests to try.
    ///
    /// # Errors
    /// The ready line names none.
    pub fn an_order(&self, tenant: &str) -> Result<String> {
        let tenants = self.ready.pointer("/tenants").and_then(Value::as_array);
        tenants
            .into_iter()
            .flatten()
            .find(|known| known.pointer("/slug").and_then(Value::as_str) == Some(tenant))
            .and_then(|known| known.pointer("/order")?.as_str())
            .map(str::to_owned)
            .with_context(|| format!("find an order of {tenant} in {}", self.ready))
    }

    /// Who may do what.
    pub const fn operator(&self) -> &Operator {
        &self.operator
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The program that runs.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The process id of `portcullis`.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The settings that it was started with beside its file.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.options.environment.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The file of its errors, for others that belong to it to write to.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn error_log(&self) -> Result<File> {
        appending(&self.place.join("err.log"))
    }

    /// How long it took from the start of the process to its ready line.
    pub const fn started_in(&self) -> Duration {
        self.started_in
    }

    /// A database of its cluster, as the superuser.
    pub fn database(&self, name: &str) -> Database {
        Database::new(&self.data, name)
    }

    /// Everything that it has written to its output, its errors and the database server's log.
    ///
    /// # Errors
    /// A log cannot be read.
    pub fn logs(&self) -> Result<String> {
        let mut all = String::new();
        for path in [
            self.place.join("out.log"),
            self.place.join("err.log"),
            self.data.join("postgres.log"),
        ] {
            let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            all.push_str(&String::from_utf8_lossy(&bytes));
        }
        Ok(all)
    }

    /// Kills the process without any warning.
    ///
    /// # Errors
    /// It may not be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("kill the platform")?;
        self.child.wait().context("wait for the platform")?;
        Ok(())
    }

    /// Kills the database server's every process without any warning.
    ///
    /// # Errors
    /// One may not be killed.
    pub fn kill_database(&self) -> Result<()> {
        for pid in processes::inside(&self.data)? {
            processes::signal(pid, Signal::SIGKILL)?;
        }
        Ok(())
    }

    /// Starts again on the same data and the same address after [`Self::kill`] or [`Self::stop`].
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_again(&mut self) -> Result<()> {
        let options = self.options.clone().listening_on(self.address()?);
        let again = launch(&self.binary, &self.place, &self.data, options).await?;
        let old = std::mem::replace(self, again);
        self.scratch = old.into_scratch();
        Ok(())
    }

    /// Asks it to stop as Ctrl-C or a service manager does, and waits.
    ///
    /// # Errors
    /// It does not stop in time.
    pub async fn stop(&mut self, with: Signal) -> Result<ExitStatus> {
        processes::signal(pid_of(&self.child)?, with)?;
        let child = &mut self.child;
        let mut ended = || child.try_wait().context("watch the platform");
        let deadline = Instant::now() + STOP;
        loop {
            if let Some(status) = ended()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "the platform does not stop");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// It cannot be watched.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("watch the platform")
    }

    /// Waits until no process works in the data directory any more.
    ///
    /// # Errors
    /// One still does.
    pub async fn nothing_left(&self) -> Result<()> {
        wait::until("the end of every process", STOP, || async {
            Ok(processes::inside(&self.data)?.is_empty().then_some(()))
        })
        .await
    }

    fn into_scratch(mut self) -> Option<TempDir> {
        self.scratch.take()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if let (Ok(None), Ok(pid)) = (self.child.try_wait(), pid_of(&self.child)) {
            let _gone = processes::signal(pid, Signal::SIGTERM);
            let deadline = Instant::now() + STOP;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _gone = self.child.kill();
            let _waited = self.child.wait();
        }
        // After a crash the database server may still be here; without it the folder can go. Of a
        // platform that was started again, the folder and the server are the successor's.
        if self.scratch.is_some() {
            let _gone = self.kill_database();
        }
    }
}

/// Makes a data directory: starts a platform on nothing and stops it.
///
/// # Errors
/// It does not start or stop.
pub async fn seed(binary: &Path, place: &Path, data: &Path) -> Result<()> {
    let mut platform = launch(binary, place, data, Options::default()).await?;
    let status = platform.stop(Signal::SIGTERM).await?;
    ensure!(status.success(), "the platform ended with {status}");
    platform.nothing_left().await
}

/// The kernel stops the platform when the thread that started it ends, however that happens; so the
/// shared one is started on a thread that never does.
fn on_a_lasting_thread() -> Result<Platform> {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let started = runtime
            .context("make a runtime")
            .and_then(|runtime| runtime.block_on(Platform::start_with(Options::default().roomy())));
        let _nobody_waits = send.send(started);
        loop {
            std::thread::park();
        }
    });
    receive.recv().context("start the shared platform")?
}

async fn launch(binary: &Path, place: &Path, data: &Path, options: Options) -> Result<Platform> {
    let (out, err) = (place.join("out.log"), place.join("err.log"));
    let since = fs::metadata(&out).map_or(0, |metadata| metadata.len());
    let mut command = command(binary, data, &options);
    command.stdout(appending(&out)?).stderr(appending(&err)?);
    let started = Instant::now();
    let mut child = command.spawn().context("run portcullis through setpriv")?;
    let said = match ready(&mut child, &out, since, options.for_people).await {
        Ok(said) => said,
        Err(error) => {
            let _gone = child.kill();
            let _waited = child.wait();
            let last = fs::read_to_string(&err).unwrap_or_default();
            return Err(error.context(last_lines(&last)));
        }
    };
    let started_in = started.elapsed();
    let ready = if options.for_people {
        Value::String(said)
    } else {
        serde_json::from_str(&said).context("read the ready line as JSON")?
    };
    let operator = Operator::read(data)?;
    Ok(Platform {
        url: operator.server()?.trim_end_matches('/').to_owned(),
        binary: binary.to_owned(),
        place: place.to_owned(),
        data: data.to_owned(),
        child,
        options,
        ready,
        operator,
        started_in,
        scratch: None,
    })
}

fn command(binary: &Path, data: &Path, options: &Options) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "TERM", "--"])
        .arg(binary)
        .arg("up")
        .args((!options.for_people).then_some("--json"))
        .args(options.by_https.then_some("--https"))
        .arg("--data-dir")
        .arg(data)
        .arg("--listen")
        .arg(
            options
                .listen
                .map_or_else(|| "127.0.0.1:0".to_owned(), |at| at.to_string()),
        )
        .stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PORTCULLIS_") {
            command.env_remove(name);
        }
    }
    let pairs = options.environment.iter();
    command.envs(pairs.map(|(name, value)| (name, value)));
    command
}

fn appending(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}

/// What it says when it is ready: one line for programs, or instructions that end with how to stop.
async fn ready(child: &mut Child, out: &Path, since: u64, for_people: bool) -> Result<String> {
    let skip = usize::try_from(since)?;
    let end = if for_people { "Ctrl-C" } else { "" };
    let deadline = Instant::now() + START;
    loop {
        let text = fs::read(out).context("read the platform's output")?;
        let new = String::from_utf8_lossy(text.get(skip..).unwrap_or_default()).into_owned();
        let told = new.rsplit_once('\n').map(|(lines, _)| lines.trim());
        let said = told.filter(|told| !told.is_empty());
        if let Some(said) = said
            && said.lines().last().is_some_and(|line| line.contains(end))
        {
            return Ok(said.to_owned());
        }
        if let Some(status) = child.try_wait().context("watch the platform")? {
            bail!("the platform ended before it was ready ({status})");
        }
        ensure!(
            Instant::now() < deadline,
            "the platform is not ready in time"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(20);
    lines.get(from..).unwrap_or_default().join("\n")
}

fn pid_of(child: &Child) -> Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(child.id())?))
}
