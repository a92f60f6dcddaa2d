//! One request: check the destination, resolve once, dial a checked address, send, read with a cap.
//!
//! Every request has a connection of its own. A kept connection that the other side just closed
//! would leave it open whether a request had arrived; and nothing of one tenant's connection can
//! ever serve another.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::decode;
use crate::destination::Destination;
use crate::dial::Dial;
use crate::error::{EgressError, Refusal};
use crate::headers::Headers;
use crate::resolve::Resolve;
use crate::target::{Named, Target};
use crate::tls::Trust;

/// Addresses that are tried one after the other.
const MAX_DIALS: usize = 3;
const MAX_HEAD_BYTES: usize = 65_536;
const MAX_HEADERS: usize = 128;

/// What a request may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes of an answer's body.
    pub max_response_bytes: usize,
    /// How long one address may take to accept a connection.
    pub connect_timeout: Duration,
}

/// One request.
#[derive(Debug)]
pub struct Request {
    /// How.
    pub method: Method,
    /// With which headers, besides those of the client.
    pub headers: Headers,
    /// With which body.
    pub body: Bytes,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// The outbound client.
#[derive(Debug)]
pub struct Client {
    resolver: Arc<dyn Resolve>,
    dial: Arc<dyn Dial>,
    tls: Arc<ClientConfig>,
    limits: Limits,
}

impl Client {
    /// A client that asks `resolver`, connects by `dial` and believes `trust`.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(
        resolver: Arc<dyn Resolve>,
        dial: Arc<dyn Dial>,
        trust: Trust,
        limits: Limits,
    ) -> Result<Self, EgressError> {
        Ok(Self {
            resolver,
            dial,
            tls: trust.config().map_err(EgressError::SetUp)?,
            limits,
        })
    }

    /// Opens a connection, TLS included. Nothing of a request is sent yet.
    ///
    /// # Errors
    /// The destination is refused or out of reach, or the deadline passed.
    pub async fn open(
        &self,
        destination: Destination<'_>,
        deadline: Instant,
    ) -> Result<Connection, EgressError> {
        let opening = async {
            let stream = self.connect(destination).await?;
            let stream: Box<dyn Stream> = if destination.target.is_https() {
                Box::new(self.handshake(destination.target, stream).await?)
            } else {
                Box::new(stream)
            };
            Ok(Connection {
                stream,
                target: destination.target.clone(),
                limit: self.limits.max_response_bytes,
            })
        };
        timeout_at(deadline, opening)
            .await
            .unwrap_or(Err(EgressError::DeadlineBeforeSend))
    }

    /// The name is resolved here and nowhere else; what is dialled is what was checked.
    async fn connect(&self, destination: Destination<'_>) -> Result<TcpStream, EgressError> {
        destination.check().map_err(EgressError::Refused)?;
        watched(destination, &[])?;
        let addresses = match destination.target.named() {
            Named::Address(address) => vec![address],
            Named::Name(name) => self
                .resolver
                .resolve(name)
                .await
                .map_err(EgressError::Resolve)?,
        };
        destination
            .check_addresses(&addresses)
            .map_err(EgressError::Refused)?;
        watched(destination, &addresses)?;
        let mut failure = io::Error::from(io::ErrorKind::TimedOut);
        for address in addresses.into_iter().take(MAX_DIALS) {
            let address = SocketAddr::new(address, destination.target.port());
            match timeout(self.limits.connect_timeout, self.dial.dial(address)).await {
                Ok(Ok(stream)) => return reached(stream, address),
                Ok(Err(error)) => failure = error,
                Err(_elapsed) => failure = io::Error::from(io::ErrorKind::TimedOut),
            }
        }
        Err(EgressError::Connect(failure))
    }

    async fn handshake(
        &self,
        target: &Target,
        stream: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, EgressError> {
        let name = match target.named() {
            Named::Name(name) => ServerName::try_from(name.to_owned())
                .map_err(|error| EgressError::Tls(io::Error::other(error)))?,
            Named::Address(address) => ServerName::from(address),
        };
        TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, stream)
            .await
            .map_err(EgressError::Tls)
    }
}

/// A connection to a checked address, for one request.
pub struct Connection {
    stream: Box<dyn Stream>,
    target: Target,
    limit: usize,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.target).finish()
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Connection {
    /// Sends a request and reads the whole answer. A redirect is an answer like any other.
    ///
    /// # Errors
    /// Says why there is no answer; [`EgressError::is_certainly_unsent`] tells whether the request can
    /// have had an effect.
    pub async fn send(self, request: Request, deadline: Instant) -> Result<Response, EgressError> {
        self.exchange(request, Reading::Plain, deadline).await
    }

    /// Sends a request and reads its answer in one of the ways.
    pub(crate) async fn exchange(
        self,
        request: Request,
        reading: Reading,
        deadline: Instant,
    ) -> Result<Response, EgressError> {
        let limit = self.limit;
        let message = message(&self.target, request, reading.codings())?;
        let whole = async {
            let (mut sender, connection) = http1::Builder::new()
                .max_buf_size(MAX_HEAD_BYTES)
                .max_headers(MAX_HEADERS)
                .handshake(TokioIo::new(self.stream))
                .await
                .map_err(EgressError::Exchange)?;
            let answer = async {
                let response = sender
                    .send_request(message)
                    .await
                    .map_err(EgressError::Exchange)?;
                reading.read(response, limit).await
            };
            // The connection is driven beside the exchange and ends with it; how it ended, the
            // exchange learns by itself.
            let driven = async {
                drop(connection.await);
                std::future::pending::<Infallible>().await
            };
            tokio::select! {
                answer = answer => answer,
                never = driven => match never {},
            }
        };
        timeout_at(deadline, whole)
            .await
            .unwrap_or(Err(EgressError::Deadline))
    }
}

fn watched(destination: Destination<'_>, addresses: &[IpAddr]) -> Result<(), EgressError> {
    if destination.watch.admits(destination.target, addresses) {
        Ok(())
    } else {
        Err(EgressError::Refused(Refusal::Blocked))
    }
}

fn reached(stream: TcpStream, dialled: SocketAddr) -> Result<TcpStream, EgressError> {
    let peer = stream.peer_addr().map_err(EgressError::Connect)?;
    if peer.ip() == dialled.ip() && peer.port() == dialled.port() {
        Ok(stream)
    } else {
        Err(EgressError::Refused(Refusal::Peer))
    }
}

/// How an answer is read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reading {
    /// As it comes; what is packed is refused.
    Plain,
    /// Unpacked, up to so many bytes. Of a redirect only the head is read.
    Unpacked(usize),
}

impl Reading {
    const fn codings(self) -> &'static str {
        match self {
            Self::Plain => "identity",
            Self::Unpacked(_) => decode::ACCEPTED,
        }
    }

    async fn read(
        self,
        response: http::Response<Incoming>,
        limit: usize,
    ) -> Result<Response, EgressError> {
        let Self::Unpacked(most) = self else {
            return read(response, limit).await;
        };
        let (head, body) = response.into_parts();
        let body = if head.status.is_redirection() {
            Bytes::new()
        } else {
            decode::unpacked(&head.headers, body, most.min(limit)).await?
        };
        Ok(Response {
            status: head.status,
            headers: head.headers,
            body,
        })
    }
}

fn message(
    target: &Target,
    request: Request,
    codings: &'static str,
) -> Result<http::Request<Full<Bytes>>, EgressError> {
    let mut message = http::Request::builder()
        .method(request.method)
        .uri(target.path_and_query())
        .body(Full::new(request.body))
        .map_err(EgressError::Request)?;
    let headers = message.headers_mut();
    *headers = request.headers.into_map();
    let host = HeaderValue::from_str(&target.authority())
        .map_err(|error| EgressError::Request(error.into()))?;
    headers.insert(HOST, host);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(codings));
    headers.insert(USER_AGENT, HeaderValue::from_static("portcullis"));
    Ok(message)
}

async fn read(response: http::Response<Incoming>, limit: usize) -> Result<Response, EgressError> {
    let (head, mut body) = response.into_parts();
    let packed = head
        .headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| coding.as_bytes() != b"identity");
    if packed {
        return Err(EgressError::Encoded);
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(EgressError::Exchange)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len().saturating_add(data.len()) > limit {
            return Err(EgressError::TooLarge { limit });
        }
        whole.extend_from_slice(&data);
    }
    Ok(Response {
        status: head.status,
        headers: head.headers,
        body: whole.freeze(),
    })
}
