//! Another replica beside a running platform: `portcullis serve` with the configuration that `up`
//! wrote, on the same databases and keys.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

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
        // The port is free when we ask; nobody else is told of it.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "--"])
            .arg(platform.binary())
            .args(["serve", "--config"])
            .arg(platform.data().join("portcullis.toml"))
            .env("PORTCULLIS_SERVER_LISTEN", address.to_string())
            .envs(platform.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(platform.error_log()?);
        let child = command.spawn().context("run portcullis serve")?;
        let mut replica = Self { child, address };
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

impl Drop for Replica {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _waited = self.child.wait();
    }
}
