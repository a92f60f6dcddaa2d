//! The composition root: from a configuration to a serving replica. It is the only place that knows
//! every room.

mod admin;
mod compose;
mod edge;
mod error;
mod health;
mod http;
mod jobs;
mod observer;
mod readings;
mod stores;
#[cfg(test)]
mod tests;
mod tls;

pub use compose::{NATIVE, api_state};
pub use error::ServeError;
pub use stores::{Stores, migrate};
pub use tls::TlsError;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use ipnet::IpNet;
use portcullis_domain::Clock;
use portcullis_keys::LocalKeys;
use portcullis_mcp_runtime::gate::Gate;
use portcullis_telemetry::Exporter;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{Config, Server};
use crate::platform::SystemClock;
use compose::{Composed, Parts};
use http::{Bounds, Door};
use jobs::Sweeper;
use readings::Backlog;
use tls::Certificates;

/// How long the records of cancelled calls may take at the end.
const RECORDS: Duration = Duration::from_secs(5);
/// How long the first answer of the control database is waited for. Without it nothing is served but
/// health, since the replica does not know what is forbidden.
const FIRST: Duration = Duration::from_secs(10);
/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1_024;
/// How many connections the admin listener serves at once.
const ADMIN_CONNECTIONS: usize = 64;

/// A replica with everything that it needs, ready to serve.
#[derive(Debug)]
pub struct Replica {
    gate: Arc<Gate>,
    router: Router,
    admin: Router,
    backlog: Arc<Backlog>,
    exporter: Option<Exporter>,
    sweeper: Sweeper,
    bounds: Bounds,
    proxies: Vec<IpNet>,
    certificates: Option<(Arc<Certificates>, [u8; 32])>,
    stopping: CancellationToken,
}

/// Where a replica listens.
#[derive(Debug)]
pub struct Listeners {
    listener: TcpListener,
    /// HTTPS on an address of its own.
    https: Option<TcpListener>,
    /// The operator's own tools.
    admin: Option<TcpListener>,
}

/// The addresses that were really given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// That of `server.listen`.
    pub listen: SocketAddr,
    /// That of `server.tls.listen`.
    pub https: Option<SocketAddr>,
    /// That of `admin.listen`.
    pub admin: Option<SocketAddr>,
}

impl Replica {
    /// Puts the rooms together.
    ///
    /// # Errors
    /// The keys cannot be used, or a setting does not fit a room.
    pub fn compose(config: Config, stores: Stores) -> Result<Self, ServeError> {
        warn_of(&config.server);
        let clock = SystemClock;
        let keys = LocalKeys::open_or_create(&config.keys.file, clock.now())?;
        let bounds = bounds(&config.server);
        let proxies = config.server.trusted_proxies.clone();
        let sweeper = Sweeper::new(&config)?;
        let tls = config.server.tls.as_ref();
        let certificates = tls
            .map(|tls| Certificates::load(tls, Arc::new(clock)))
            .transpose()?;
        let parts = Parts {
            config,
            stores,
            keys: Arc::new(keys),
            clock: Arc::new(clock),
        };
        let stopping = CancellationToken::new();
        let Composed {
            gate,
            router,
            admin,
            backlog,
            exporter,
        } = parts.compose(stopping.clone())?;
        Ok(Self {
            gate,
            router,
            admin,
            backlog,
            exporter,
            sweeper,
            bounds,
            proxies,
            certificates,
            stopping,
        })
    }

    /// Serves until `shutdown`. Then it is not ready any more, serves on until that is known, lets
    /// calls under way end and their records be written.
    ///
    /// # Errors
    /// The TLS library refuses its own settings; nothing was served then.
    pub async fn serve(
        self,
        mut listeners: Listeners,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let stop = CancellationToken::new();
        let admin = listeners.admin.take();
        let doors = doors(listeners, self.certificates.as_ref())?;
        let work = (self.sweeper, self.backlog, self.exporter);
        let jobs = jobs::start(&self.gate, work, &stop);
        know_the_configuration(&self.gate, &shutdown).await;
        if let Some((certificates, seen)) = self.certificates {
            jobs.spawn(certificates.follow(seen, stop.clone()));
        }
        let serving = http::serve(
            doors,
            self.router,
            self.bounds,
            self.proxies,
            self.stopping.clone(),
        );
        let own = serve_admin(admin, self.admin, self.bounds, self.stopping.clone());
        tokio::join!(pass_on(shutdown, self.stopping), serving, own);
        finish_calls(&self.gate, self.bounds.drain).await;
        stop.cancel();
        jobs.wait().await;
        for region in self.gate.regions.values() {
            region.writer.shutdown().await;
        }
        info!("stopped");
        Ok(())
    }
}

/// Serves the operator's own tools: few connections, and no longer than the last call.
async fn serve_admin(
    listener: Option<TcpListener>,
    router: Router,
    bounds: Bounds,
    shutdown: CancellationToken,
) {
    let Some(listener) = listener else { return };
    let door = Door {
        listener,
        tls: None,
    };
    let bounds = Bounds {
        connections: ADMIN_CONNECTIONS,
        ..bounds
    };
    http::serve(vec![door], router, bounds, Vec::new(), shutdown).await;
}

fn doors(
    listeners: Listeners,
    certificates: Option<&(Arc<Certificates>, [u8; 32])>,
) -> Result<Vec<Door>, ServeError> {
    let acceptor = || certificates.map(|(shown, _)| shown.acceptor()).transpose();
    let Listeners {
        listener, https, ..
    } = listeners;
    let doors = match https {
        Some(https) => vec![
            Door {
                listener,
                tls: None,
            },
            Door {
                listener: https,
                tls: acceptor()?,
            },
        ],
        None => vec![Door {
            listener,
            tls: acceptor()?,
        }],
    };
    Ok(doors)
}

/// What an operator should know of these settings.
fn warn_of(server: &Server) {
    let open = "plain HTTP beyond this machine: tokens can be read on the way";
    let read_only = "read-only: this replica refuses every call that changes something";
    let words = [
        (!server.is_loopback() && !server.listens_https()).then_some(open),
        server.read_only.then_some(read_only),
    ];
    for words in words.into_iter().flatten() {
        warn!("{words}");
    }
}

/// Waits until the replica knows what is forbidden. A database that does not answer is not waited for:
/// calls are refused, and health tells.
async fn know_the_configuration(gate: &Gate, shutdown: &CancellationToken) {
    let known = timeout(FIRST, gate.snapshots.first_confirmation());
    if let Some(Err(_late)) = shutdown.run_until_cancelled(known).await {
        warn!("the control database does not answer; calls are refused until it does");
    }
}

/// Lets health and the server know that the end was asked for.
async fn pass_on(shutdown: CancellationToken, stopping: CancellationToken) {
    shutdown.cancelled().await;
    info!("stopping; requests are served on for the lame-duck time");
    stopping.cancel();
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

/// Runs a replica until `shutdown`. `tell` hears where it really listens, once it is about to serve:
/// port 0 takes a free one.
///
/// # Errors
/// It cannot start or not tell; see [`ServeError`].
pub async fn run(
    mut config: Config,
    tell: impl FnOnce(Addresses) -> io::Result<()>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let listeners = listen(&mut config)?;
    let stores = Stores::connect(&config).await?;
    let addresses = config.addresses();
    let replica = Replica::compose(config, stores)?;
    info!(address = %addresses.listen, "listening");
    tell(addresses).map_err(ServeError::Tell)?;
    replica.serve(listeners, shutdown).await
}

/// Listens on the addresses of a configuration, and writes into it which were given: requests may name
/// them in `Host`.
///
/// # Errors
/// An address is taken or not of this machine.
pub fn listen(config: &mut Config) -> Result<Listeners, ServeError> {
    let Config { server, admin, .. } = config;
    let given = |listener: &TcpListener| listener.local_addr().map_err(ServeError::Address);
    let listener = listen_on(server.listen)?;
    server.listen = given(&listener)?;
    let own = |address: Option<&mut SocketAddr>| {
        let Some(address) = address else {
            return Ok(None);
        };
        let listener = listen_on(*address)?;
        *address = given(&listener)?;
        Ok::<_, ServeError>(Some(listener))
    };
    let https = own(server.tls.as_mut().and_then(|tls| tls.listen.as_mut()))?;
    let admin = own(admin.listen.as_mut())?;
    Ok(Listeners {
        listener,
        https,
        admin,
    })
}

impl Config {
    /// Where the replica listens, as far as the configuration says it.
    pub fn addresses(&self) -> Addresses {
        Addresses {
            listen: self.server.listen,
            https: self.server.tls.as_ref().and_then(|tls| tls.listen),
            admin: self.admin.listen,
        }
    }
}

fn listen_on(address: SocketAddr) -> Result<TcpListener, ServeError> {
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
        if source.kind() == io::ErrorKind::AddrInUse {
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
        write_timeout: Duration::from_secs(server.write_timeout_seconds),
        lame_duck: Duration::from_secs(server.lame_duck_seconds),
        drain: Duration::from_secs(server.drain_seconds),
    }
}
