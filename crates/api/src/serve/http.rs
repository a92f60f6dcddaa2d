//! The HTTP server: accepting connections, bounding what each may take, ending in good order.
//!
//! HTTP/1.1 alone: HTTP/2 in the clear has no client of ours, and comes with TLS. Every bound here
//! is a refusal to wait for ever: request heads have a deadline and a size, connections a number.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
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
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    let graceful = GracefulShutdown::new();
    let connections = TaskTracker::new();
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_timeout)
        .max_buf_size(bounds.head_bytes)
        .max_headers(MAX_HEADERS);
    while let Some((stream, peer, place)) = next(&listener, &places, &shutdown).await {
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

type Place = tokio::sync::OwnedSemaphorePermit;

/// The next connection that there is a place for; none once the end was asked for.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, Place)> {
    let accepted = async {
        // The semaphore is never closed; if it were, nothing more would be served.
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // Small answers must not wait for the acknowledgement of the one before.
                    if let Err(error) = stream.set_nodelay(true) {
                        debug!(%error, "a connection was gone at once");
                        continue;
                    }
                    return Some((stream, peer, place));
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
