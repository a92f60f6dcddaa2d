//! The HTTP server: accepting connections, bounding what each may take, ending in good order.
//!
//! HTTP/1.1 alone: HTTP/2 in the clear has no client of ours, and comes with TLS. Every bound here
//! is a refusal to wait for ever: request heads have a deadline and a size, connections a number, in
//! all and of one peer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, warn};

/// How many headers a request may have.
const MAX_HEADERS: usize = 100;
/// How long to wait when the system has no more descriptors to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How many connections anybody may have, however few there are in all.
const LEAST_SHARE: usize = 64;

/// Bounds of the server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Connections served at once.
    pub(super) connections: usize,
    /// How long a request head may take, and how long an idle connection is kept.
    pub(super) head_timeout: Duration,
    /// The largest request head.
    pub(super) head_bytes: usize,
    /// How long requests under way may go on after the end was asked for.
    pub(super) drain: Duration,
}

/// Serves until `shutdown`, then lets requests under way end.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    proxies: Vec<IpNet>,
    shutdown: CancellationToken,
) {
    let peers = Arc::new(Peers::new(bounds.connections, proxies));
    let places = Arc::new(Semaphore::new(bounds.connections));
    let graceful = GracefulShutdown::new();
    let connections = TaskTracker::new();
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_timeout)
        .max_buf_size(bounds.head_bytes)
        .max_headers(MAX_HEADERS);
    while let Some((stream, peer, place)) = next(&listener, &places, &peers, &shutdown).await {
        let connection = builder.serve_connection(TokioIo::new(stream), service(&router, peer));
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                // A client that breaks off is no fault of ours.
                debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(bounds.drain) => warn!("requests under way were cut off"),
    }
}

/// How many connections each peer has, so that one cannot take every place. Peers without a
/// connection are forgotten, so there are never more than places.
#[derive(Debug)]
pub(super) struct Peers {
    counts: Mutex<HashMap<IpAddr, usize>>,
    share: usize,
    /// Of this machine and of the operator's proxies, behind which many clients stand.
    large_share: usize,
    proxies: Vec<IpNet>,
}

impl Peers {
    pub(super) fn new(connections: usize, proxies: Vec<IpNet>) -> Self {
        Self {
            counts: Mutex::default(),
            share: (connections / 16).max(LEAST_SHARE),
            large_share: (connections / 2).max(LEAST_SHARE),
            proxies,
        }
    }

    /// One more connection of a peer; none if it has its share.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Share> {
        let address = peer.to_canonical();
        let near = address.is_loopback() || self.proxies.iter().any(|net| net.contains(&address));
        let most = if near { self.large_share } else { self.share };
        let subscriber = subscriber(address);
        let mut counts = self.counts();
        let count = counts.entry(subscriber).or_default();
        if *count >= most {
            debug!("a peer has too many connections; one more was closed");
            return None;
        }
        *count = count.saturating_add(1);
        Some(Share {
            peers: Arc::clone(self),
            subscriber,
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Nothing panics while it holds the lock; if it did, the counts would still be whole.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A counted connection of a peer, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    peers: Arc<Peers>,
    subscriber: IpAddr,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.peers.counts();
        if let Entry::Occupied(mut entry) = counts.entry(self.subscriber) {
            let left = entry.get().saturating_sub(1);
            if left == 0 {
                entry.remove();
            } else {
                entry.insert(left);
            }
        }
    }
}

/// An IPv4 address, or the /64 of an IPv6 address: what one subscriber has.
fn subscriber(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

type Place = (tokio::sync::OwnedSemaphorePermit, Share);

/// The next connection that there is a place for; none once the end was asked for.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    peers: &Arc<Peers>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, Place)> {
    let accepted = async {
        // The semaphore is never closed; if it were, nothing more would be served.
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if let Some(share) = welcome(&stream, peer, peers) {
                        return Some((stream, peer, (place, share)));
                    }
                }
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => None,
        accepted = accepted => accepted,
    }
}

/// Readies an accepted connection; none if it is to be closed.
fn welcome(stream: &TcpStream, peer: SocketAddr, peers: &Arc<Peers>) -> Option<Share> {
    // Small answers must not wait for the acknowledgement of the one before.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "a connection was gone at once");
        return None;
    }
    peers.enter(peer.ip())
}

/// The routes, told who calls.
fn service(
    router: &Router,
    peer: SocketAddr,
) -> impl hyper::service::Service<
    hyper::Request<Incoming>,
    Response = hyper::Response<Body>,
    Error = Infallible,
    Future: Send,
> + use<> {
    let router = router.clone();
    service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        async move { router.oneshot(request).await }
    })
}
