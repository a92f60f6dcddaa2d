//! Another replica beside a running platform: `portcullis serve` with the configuration that `up`
//! wrote, on the same databases and keys.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::http::{Http, Reply};
use crate::mcp::McpClient;
use crate::platform::Platform;
use crate::wait;

const START: Duration = Duration::from_mins(1);

/// A running replica. Dropping it kills it.
#[derive(Debug)]
pub struct Replica {
    child: Child,
    address: SocketAddr,
}

impl Replica {
    /// Starts a replica beside a platform, with the same settings.
    ///
    /// # Errors
    /// It does not serve in time.
    pub async fn beside(platform: &Platform) -> Result<Self> {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "--"])
            .arg(platform.binary())
            .args(["--json", "serve", "--config"])
            .arg(platform.data().join("portcullis.toml"))
            .env("PORTCULLIS_SERVER_LISTEN", "127.0.0.1:0")
            .envs(platform.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(platform.error_log()?);
        let mut child = command.spawn().context("run portcullis serve")?;
        let said = child.stdout.take().context("hear the replica")?;
        let told = TaskTracker::new().spawn_blocking(|| address(said));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut replica = Self { child, address };
        let told = timeout(START, told).await;
        let address = told.context("wait for a word of the replica")???;
        replica.address = address;
        let (http, url) = (Http::new()?, format!("http://{address}/readyz"));
        wait::until("a replica that serves", START, || {
            let ended = replica.child.try_wait();
            let asked = Reply::to(http.get(&url));
            async move {
                ensure!(ended?.is_none(), "the replica ended");
                Ok(asked.await.ok().filter(|reply| reply.status == 200))
            }
        })
        .await?;
        Ok(replica)
    }

    /// The same caller, calling this replica.
    #[must_use]
    pub fn called_by(&self, client: &McpClient) -> McpClient {
        client.clone().at(self.address)
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

impl Drop for Replica {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _waited = self.child.wait();
    }
}
