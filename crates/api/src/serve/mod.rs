//! The composition root: from a configuration to a serving replica. It is the only place that knows
//! every room.

mod compose;
mod edge;
mod error;
mod health;
mod http;
mod jobs;
mod stores;
#[cfg(test)]
mod tests;

pub use compose::{NATIVE, api_state};
pub use error::ServeError;
pub use stores::{Stores, migrate};

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use ipnet::IpNet;
use portcullis_domain::Clock;
use portcullis_keys::LocalKeys;
use portcullis_mcp_runtime::gate::Gate;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{Config, Server};
use crate::platform::SystemClock;
use compose::Parts;
use http::Bounds;
use jobs::Sweeper;

/// How long the records of cancelled calls may take at the end.
const RECORDS: Duration = Duration::from_secs(5);
/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1_024;

/// A replica with everything that it needs, ready to serve.
#[derive(Debug)]
pub struct Replica {
    gate: Arc<Gate>,
    router: Router,
    sweeper: Sweeper,
    bounds: Bounds,
    proxies: Vec<IpNet>,
}

impl Replica {
    /// Puts the rooms together.
    ///
    /// # Errors
    /// The keys cannot be used, or a setting does not fit a room.
    pub fn compose(config: Config, stores: Stores) -> Result<Self, ServeError> {
        if !config.server.is_loopback() {
            warn!("plain HTTP beyond this machine: tokens can be read on the way");
        }
        let clock = SystemClock;
        let keys = LocalKeys::open_or_create(&config.keys.file, clock.now())?;
        let bounds = bounds(&config.server);
        let proxies = config.server.trusted_proxies.clone();
        let sweeper = Sweeper::new(&config)?;
        let parts = Parts {
            config,
            stores,
            keys: Arc::new(keys),
            clock: Arc::new(clock),
        };
        let (gate, router) = parts.compose()?;
        Ok(Self {
            gate,
            router,
            sweeper,
            bounds,
            proxies,
        })
    }

    /// Serves until `shutdown`, then lets calls under way end and their records be written.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let stop = CancellationToken::new();
        let jobs = jobs::start(&self.gate, self.sweeper, &stop);
        http::serve(listener, self.router, self.bounds, self.proxies, shutdown).await;
        finish_calls(&self.gate, self.bounds.drain).await;
        stop.cancel();
        jobs.wait().await;
        for region in self.gate.regions.values() {
            region.writer.shutdown().await;
        }
        info!("stopped");
    }
}

async fn finish_calls(gate: &Gate, patience: Duration) {
    gate.tasks.close();
    if timeout(patience, gate.tasks.wait()).await.is_ok() {
        return;
    }
    // Tools are cancelled; what is left to do is to write the records that say so.
    gate.stopping.cancel();
    if timeout(RECORDS, gate.tasks.wait()).await.is_err() {
        warn!("calls under way were cut off; their records are missing");
    }
}

/// Runs a replica until `shutdown`.
///
/// # Errors
/// It cannot start; see [`ServeError`].
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), ServeError> {
    let listener = listen(config.server.listen)?;
    let stores = Stores::connect(&config).await?;
    let replica = Replica::compose(config, stores)?;
    replica.serve(listener, shutdown).await;
    Ok(())
}

/// Listens on an address.
///
/// # Errors
/// The address is taken or not of this machine.
pub fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let listening = socket.and_then(|socket| {
        // A port that a replica just left can be taken at once.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    });
    listening.map_err(|source| {
        if source.kind() == std::io::ErrorKind::AddrInUse {
            ServeError::AddressTaken { address }
        } else {
            ServeError::Listen { address, source }
        }
    })
}

fn bounds(server: &Server) -> Bounds {
    Bounds {
        connections: server.max_connections,
        head_timeout: Duration::from_secs(server.head_timeout_seconds),
        head_bytes: server.max_head_bytes,
        drain: Duration::from_secs(server.drain_seconds),
    }
}
