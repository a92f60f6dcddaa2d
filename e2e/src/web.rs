//! A web server of this machine that answers each path as it is told: with any bytes, drop by drop, not at
//! all, or with a stream that unpacks to gigabytes. It writes down every request.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use async_compression::Level;
use async_compression::tokio::bufread::{BrotliEncoder, GzipEncoder, ZstdEncoder};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// The codings of a packed stream.
pub const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];

/// How a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// With these bytes, and the end of the connection.
    Bytes(Vec<u8>),
    /// With these bytes, and nothing after them for ever.
    Hang(Vec<u8>),
    /// With these bytes, one after the other, each after a wait.
    Drip(Vec<u8>, Duration),
    /// With so many zeros, packed by a coding as the client reads them; plain where there is none.
    Zeros(Option<&'static str>, u64),
}

impl Answer {
    /// 200 with a text.
    pub fn text(text: &str) -> Self {
        Self::said("200 OK", "content-type: text/plain; charset=utf-8", text)
    }

    /// A redirect.
    pub fn redirect(to: &str) -> Self {
        Self::said("302 Found", &format!("location: {to}"), "")
    }

    /// A status, one more header, and a body.
    pub fn said(status: &str, header: &str, body: &str) -> Self {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\n{header}\r\ncontent-length: {length}\r\n\r\n");
        Self::Bytes(format!("{head}{body}").into_bytes())
    }
}

type Manners = Arc<dyn Fn(&str) -> Answer + Send + Sync>;

/// A running web server. Dropping it ends it.
pub struct Web {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
    _stop: DropGuard,
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Web {
    /// Starts one on any free port of this machine that answers each path so.
    ///
    /// # Errors
    /// Nothing can be listened on.
    pub async fn start(manners: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), manners).await
    }

    /// Starts one at an address.
    ///
    /// # Errors
    /// It cannot be listened on.
    pub async fn start_at(
        address: SocketAddr,
        manners: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.context("listen as a web server")?;
        let address = listener.local_addr()?;
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (counting, count) = watch::channel(0);
        let stop = CancellationToken::new();
        let (seen, manners): (_, Manners) = (Arc::clone(&requests), Arc::new(manners));
        let tasks = TaskTracker::new();
        let (own, ended) = (tasks.clone(), stop.clone());
        tasks.spawn(async move {
            let accepting = async {
                while let Ok((stream, _from)) = listener.accept().await {
                    let (seen, manners) = (Arc::clone(&seen), Arc::clone(&manners));
                    let counting = counting.clone();
                    let served = async move {
                        // A client that goes away is no fault of the server.
                        let _gone = talk(stream, &seen, &counting, &manners).await;
                    };
                    own.spawn(ended.clone().run_until_cancelled_owned(served));
                }
            };
            ended.run_until_cancelled(accepting).await;
        });
        Ok(Self {
            address,
            requests,
            count,
            _stop: stop.drop_guard(),
        })
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Every request's head since the start.
    pub fn requests(&self) -> Vec<String> {
        locked(&self.requests).clone()
    }

    /// Waits until so many requests came.
    pub async fn until_asked(&self, count: usize) {
        let mut seen = self.count.clone();
        // The sender lives as long as the server.
        let _ever = seen.wait_for(|now| *now >= count).await;
    }
}

fn locked(requests: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    requests.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn talk(
    mut stream: TcpStream,
    seen: &Mutex<Vec<String>>,
    count: &watch::Sender<usize>,
    manners: &Manners,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    locked(seen).push(head);
    count.send_modify(|count| *count += 1);
    match manners(&path) {
        Answer::Bytes(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await
        }
        Answer::Hang(bytes) => {
            stream.write_all(&bytes).await?;
            std::future::pending().await
        }
        Answer::Drip(bytes, wait) => {
            for byte in bytes {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(wait).await;
            }
            stream.shutdown().await
        }
        Answer::Zeros(coding, bytes) => zeros(&mut stream, coding, bytes).await,
    }
}

async fn zeros(stream: &mut TcpStream, coding: Option<&str>, bytes: u64) -> io::Result<()> {
    let named = coding.map_or_else(String::new, |coding| {
        format!("content-encoding: {coding}\r\n")
    });
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n{named}\r\n");
    stream.write_all(head.as_bytes()).await?;
    let plain = BufReader::new(tokio::io::repeat(0).take(bytes));
    let mut packed: Box<dyn AsyncRead + Send + Unpin> = match coding {
        Some("gzip") => Box::new(GzipEncoder::with_quality(plain, Level::Fastest)),
        Some("br") => Box::new(BrotliEncoder::with_quality(plain, Level::Fastest)),
        Some("zstd") => Box::new(ZstdEncoder::with_quality(plain, Level::Fastest)),
        _ => Box::new(plain),
    };
    tokio::io::copy(&mut packed, stream).await?;
    stream.shutdown().await
}
