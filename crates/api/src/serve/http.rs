//! The HTTP server: accepting connections, bounding what each may take, ending in good order.
//!
//! HTTP/1.1 alone, over TLS too: one request at a time has a connection's bounds to itself. Every bound
//! here is a refusal to wait for ever: handshakes and request heads have a deadline, heads a size,
//! answers are given up when nobody takes them, connections have a number, in all and of one peer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use futures_util::future::join_all;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use ipnet::IpNet;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, warn};

/// How many headers a request may have.
const MAX_HEADERS: usize = 100;
/// How long to wait when the system has no more descriptors to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long, after the last connection was accepted, requests are awaited that are on their way.
const LINGER: Duration = Duration::from_millis(500);
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
    /// How long an answer may wait for its reader without any progress.
    pub(super) write_timeout: Duration,
    /// How long to serve on after the end was asked for, until whoever sends requests knows.
    pub(super) lame_duck: Duration,
    /// How long requests under way may go on after that.
    pub(super) drain: Duration,
}

/// A listener and what it speaks.
pub(super) struct Door {
    pub(super) listener: TcpListener,
    /// Plain HTTP without it.
    pub(super) tls: Option<TlsAcceptor>,
}

/// Marks a request that came over TLS of our own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Secured;

/// Serves until `shutdown` and a lame-duck time more, then lets requests under way end. From
/// `shutdown` on, each answer asks its client to come back on another connection.
pub(super) async fn serve(
    doors: Vec<Door>,
    router: Router,
    bounds: Bounds,
    proxies: Vec<IpNet>,
    shutdown: CancellationToken,
) {
    let server = Server::new(router, bounds, proxies, shutdown.clone());
    join_all(doors.iter().map(|door| server.attend(door))).await;
    for door in doors {
        server.last(door);
    }
    server.drain().await;
}

/// What accepted connections share.
struct Server {
    router: Router,
    bounds: Bounds,
    builder: http1::Builder,
    peers: Arc<Peers>,
    places: Arc<Semaphore>,
    graceful: GracefulShutdown,
    connections: TaskTracker,
    shutdown: CancellationToken,
}

impl Server {
    fn new(
        router: Router,
        bounds: Bounds,
        proxies: Vec<IpNet>,
        shutdown: CancellationToken,
    ) -> Self {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(bounds.head_timeout)
            .max_buf_size(bounds.head_bytes)
            .max_headers(MAX_HEADERS);
        Self {
            router,
            bounds,
            builder,
            peers: Arc::new(Peers::new(bounds.connections, proxies)),
            places: Arc::new(Semaphore::new(bounds.connections)),
            graceful: GracefulShutdown::new(),
            connections: TaskTracker::new(),
            shutdown,
        }
    }

    /// Serves who comes to a door, until the end.
    async fn attend(&self, door: &Door) {
        let end = async {
            self.shutdown.cancelled().await;
            if !self.bounds.lame_duck.is_zero() {
                tokio::time::sleep(self.bounds.lame_duck).await;
            }
        };
        tokio::pin!(end);
        loop {
            tokio::select! {
                biased;
                () = &mut end => break,
                accepted = self.next(&door.listener) => match accepted {
                    Some((stream, peer, place)) => {
                        self.serve(stream, peer, place, door.tls.as_ref());
                    }
                    None => break,
                },
            }
        }
    }

    /// The next connection that there is a place for.
    async fn next(&self, listener: &TcpListener) -> Option<(TcpStream, SocketAddr, Place)> {
        // The semaphore is never closed; if it were, nothing more would be served.
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if let Some(share) = self.welcome(&stream, peer) {
                        return Some((stream, peer, (place, share)));
                    }
                }
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Readies an accepted connection; none if it is to be closed.
    fn welcome(&self, stream: &TcpStream, peer: SocketAddr) -> Option<Share> {
        // Small answers must not wait for the acknowledgement of the one before. The kernel gives up
        // a connection whose peer acknowledges nothing, or takes nothing, for too long.
        let patience = Some(self.bounds.write_timeout);
        let readied = stream
            .set_nodelay(true)
            .and_then(|()| SockRef::from(stream).set_tcp_user_timeout(patience));
        if let Err(error) = readied {
            debug!(%error, "a connection was gone at once");
            return None;
        }
        self.peers.enter(peer.ip())
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, place: Place, tls: Option<&TlsAcceptor>) {
        let service = service(&self.router, peer, &self.shutdown, tls.is_some());
        let (builder, watcher) = (self.builder.clone(), self.graceful.watcher());
        let Some(tls) = tls.cloned() else {
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            self.connections.spawn(async move {
                ended(watcher.watch(connection).await);
                drop(place);
            });
            return;
        };
        let patience = self.bounds.head_timeout;
        self.connections.spawn(async move {
            match timeout(patience, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let connection = builder.serve_connection(TokioIo::new(stream), service);
                    ended(watcher.watch(connection).await);
                }
                Ok(Err(error)) => debug!(%error, "a TLS handshake failed"),
                Err(_elapsed) => debug!("a TLS handshake took too long"),
            }
            drop(place);
        });
    }

    /// Takes in the connections that were made before the end and wait in the kernel's queue: with
    /// the listener they would be cut off.
    fn last(&self, door: Door) {
        let Ok(listener) = door.listener.into_std() else {
            return;
        };
        while let Ok((stream, peer)) = listener.accept() {
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                return;
            };
            let stream = stream
                .set_nonblocking(true)
                .and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream
                && let Some(share) = self.welcome(&stream, peer)
            {
                self.serve(stream, peer, (place, share), door.tls.as_ref());
            }
        }
    }

    async fn drain(self) {
        self.connections.close();
        // Shutting down closes a connection at once whose first request was not read yet.
        if timeout(LINGER, self.connections.wait()).await.is_ok() {
            return;
        }
        tokio::select! {
            () = self.graceful.shutdown() => {}
            () = tokio::time::sleep(self.bounds.drain) => warn!("requests under way were cut off"),
        }
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

fn ended(outcome: Result<(), hyper::Error>) {
    if let Err(error) = outcome {
        // A client that breaks off is no fault of ours.
        debug!(%error, "a connection ended early");
    }
}

type Place = (tokio::sync::OwnedSemaphorePermit, Share);

/// The routes, told who calls. Once the end was asked for, a connection ends with its answer, told in
/// time: a client that sent its next request on it would lose that.
fn service(
    router: &Router,
    peer: SocketAddr,
    shutdown: &CancellationToken,
    secured: bool,
) -> impl hyper::service::Service<
    hyper::Request<Incoming>,
    Response = hyper::Response<Body>,
    Error = Infallible,
    Future: Send,
> + use<> {
    let (router, shutdown) = (router.clone(), shutdown.clone());
    service_fn(move |request: hyper::Request<Incoming>| {
        let (router, shutdown) = (router.clone(), shutdown.clone());
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        if secured {
            request.extensions_mut().insert(Secured);
        }
        async move {
            let mut response = router.oneshot(request).await?;
            if shutdown.is_cancelled() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok(response)
        }
    })
}
