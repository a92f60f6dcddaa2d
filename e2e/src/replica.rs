//! Another replica beside a running platform: `portcullis serve` with the configuration that `up`
//! wrote, on the same databases and keys.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::http::{Http, Reply};
use crate::mcp::McpClient;
use crate::platform::Platform;
use crate::{processes, wait};

/// Any free port of this machine.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const START: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_mins(1);

/// A running replica. Dropping it kills it.
#[derive(Debug)]
pub struct Replica {
    child: Child,
    address: SocketAddr,
    settings: PathBuf,
    environment: Vec<(String, String)>,
}

impl Replica {
    /// Starts a replica beside a platform, with the same settings.
    ///
    /// # Errors
    /// It does not serve in time.
    pub async fn beside(platform: &Platform) -> Result<Self> {
        Self::beside_with(platform, &[]).await
    }

    /// Starts a replica beside a platform, with some settings of its own.
    ///
    /// # Errors
    /// It does not serve in time.
    pub async fn beside_with(platform: &Platform, own: &[(&str, &str)]) -> Result<Self> {
        let settings = platform.data().join("portcullis.toml");
        Self::configured(platform, &settings, own).await
    }

    /// Starts a replica beside a platform, with a configuration file and some settings of its own.
    ///
    /// # Errors
    /// It does not serve in time.
    pub async fn configured(
        platform: &Platform,
        settings: &Path,
        own: &[(&str, &str)],
    ) -> Result<Self> {
        let own = own.iter().map(|(name, value)| (*name, *value));
        let environment: Vec<_> = platform
            .environment()
            .chain(own)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut replica = Self {
            child: launch(platform, settings, ANY, &environment)?,
            address: ANY,
            settings: settings.to_owned(),
            environment,
        };
        replica.served().await?;
        Ok(replica)
    }

    /// Its origin.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address that it listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The same caller, calling this replica.
    #[must_use]
    pub fn called_by(&self, client: &McpClient) -> McpClient {
        client.clone().at(self.address)
    }

    /// Kills it without any warning.
    ///
    /// # Errors
    /// It may not be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("kill a replica")?;
        self.child.wait().context("wait for a replica")?;
        Ok(())
    }

    /// Asks it to stop as a service manager does, and waits.
    ///
    /// # Errors
    /// It does not stop in time.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        processes::signal(pid, Signal::SIGTERM)?;
        let child = &mut self.child;
        wait::until("the end of a replica", STOP, || {
            let ended = child.try_wait().context("watch a replica");
            async move { ended }
        })
        .await
    }

    /// Starts a replica at the same address with the same settings, as another process.
    ///
    /// # Errors
    /// It does not serve in time.
    pub async fn start_again(&mut self, platform: &Platform) -> Result<()> {
        self.child = launch(platform, &self.settings, self.address, &self.environment)?;
        self.served().await
    }

    async fn served(&mut self) -> Result<()> {
        let said = self.child.stdout.take().context("hear the replica")?;
        let told = TaskTracker::new().spawn_blocking(|| address(said));
        let told = timeout(START, told).await;
        self.address = told.context("wait for a word of the replica")???;
        let (http, url) = (Http::new()?, format!("{}/readyz", self.url()));
        let child = &mut self.child;
        wait::until("a replica that serves", START, || {
            let ended = child.try_wait();
            let asked = Reply::to(http.get(&url));
            async move {
                ensure!(ended?.is_none(), "the replica ended");
                Ok(asked.await.ok().filter(|reply| reply.status == 200))
            }
        })
        .await?;
        Ok(())
    }
}

/// Where a replica says that it listens; an error if it ends without a word.
fn address(said: ChildStdout) -> Result<SocketAddr> {
    let mut line = String::new();
    BufReader::new(said).read_line(&mut line)?;
    let told: Value = serde_json::from_str(&line).context("read where the replica listens")?;
    let listen = told.pointer("/listen").and_then(Value::as_str);
    Ok(listen.context("the replica names no address")?.parse()?)
}

fn launch(
    platform: &Platform,
    settings: &Path,
    address: SocketAddr,
    environment: &[(String, String)],
) -> Result<Child> {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "TERM", "--"])
        .arg(platform.binary())
        .args(["--json", "serve", "--config"])
        .arg(settings)
        .env("PORTCULLIS_SERVER_LISTEN", address.to_string())
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(platform.error_log()?);
    command.spawn().context("run portcullis serve")
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _waited = self.child.wait();
    }
}
