//! Reads a body, packed or not, into memory that is bounded beforehand.
//!
//! What is unpacked is counted as it appears, and nothing is read beyond the limit: a bomb costs the
//! decoder's window and the limit, whatever it holds. It must never unpack what was packed twice, nor
//! by a coding that nobody asked for.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyDataStream;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::StreamReader;

use crate::error::EgressError;

/// The codings that are asked for.
pub(crate) const ACCEPTED: &str = "gzip, br, zstd";
/// How many times larger than what came the unpacked may be.
pub const MAX_RATIO: usize = 100;
/// Below this size no ratio tells a bomb from a page of blanks.
const RATIO_FROM: usize = 16 * 1_024;
/// What a packed body may be larger than its content: headers, checksums and blocks without content.
const OVERHEAD: usize = 4_096;
/// 8 MiB, the most that RFC 9659 lets a sender ask for.
const ZSTD_WINDOW_LOG: u32 = 23;
/// The first seven bits of a brotli stream with a window beyond 16 MiB, which is no stream of RFC 7932 §9.1.
/// The decoder would take it, and grow up to 1 GiB before it hands out a byte.
const BROTLI_LARGE_WINDOW: u8 = 0b001_0001;
const CHUNK: usize = 8 * 1_024;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    Brotli,
    Zstd,
}

/// One coding at most: what was packed twice is refused.
fn coding(headers: &HeaderMap) -> Result<Coding, EgressError> {
    let mut named = headers.get_all(CONTENT_ENCODING).iter();
    let (first, more) = (named.next(), named.next());
    let Some(first) = first else {
        return Ok(Coding::Identity);
    };
    let name = first.to_str().unwrap_or_default().to_ascii_lowercase();
    match (name.as_str(), more) {
        ("identity", None) => Ok(Coding::Identity),
        ("gzip" | "x-gzip", None) => Ok(Coding::Gzip),
        ("br", None) => Ok(Coding::Brotli),
        ("zstd", None) => Ok(Coding::Zstd),
        _ => Err(EgressError::Encoded),
    }
}

/// Reads a body and unpacks it, up to `limit` bytes.
pub(crate) async fn unpacked(
    headers: &HeaderMap,
    body: Incoming,
    limit: usize,
) -> Result<Bytes, EgressError> {
    let coding = coding(headers)?;
    let arrived = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&arrived);
    // Also what never becomes content is counted: empty blocks without an end.
    let most = limit.saturating_add(OVERHEAD);
    let stream = BodyDataStream::new(body).map(move |chunk| {
        let chunk = chunk.map_err(io::Error::other)?;
        let before = counted.fetch_add(chunk.len(), Ordering::Relaxed);
        if before.saturating_add(chunk.len()) > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let begins = chunk
            .first()
            .filter(|_| before == 0 && coding == Coding::Brotli);
        if begins.is_some_and(|first| first & 0x7f == BROTLI_LARGE_WINDOW) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "brotli with a window beyond 16 MiB",
            ));
        }
        Ok(chunk)
    });
    let reader = unpacking(coding, StreamReader::new(Box::pin(stream)));
    let caps = Caps {
        limit,
        packed: coding != Coding::Identity,
        arrived: &arrived,
    };
    read(reader, &caps).await
}

fn unpacking<S>(coding: Coding, packed: StreamReader<S, Bytes>) -> Box<dyn AsyncRead + Send + Unpin>
where
    S: Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
{
    match coding {
        Coding::Identity => Box::new(packed),
        Coding::Gzip => Box::new(GzipDecoder::new(packed)),
        Coding::Brotli => Box::new(BrotliDecoder::new(packed)),
        Coding::Zstd => {
            let window = [DParameter::window_log_max(ZSTD_WINDOW_LOG)];
            Box::new(ZstdDecoder::with_params(packed, &window))
        }
    }
}

struct Caps<'a> {
    limit: usize,
    packed: bool,
    /// How much came over the wire so far.
    arrived: &'a AtomicUsize,
}

impl Caps<'_> {
    fn check(&self, unpacked: usize) -> Result<(), EgressError> {
        let arrived = self.arrived.load(Ordering::Relaxed);
        let ratio = unpacked / arrived.max(1);
        if self.packed && unpacked > RATIO_FROM && ratio > MAX_RATIO {
            return Err(EgressError::Bomb { ratio: MAX_RATIO });
        }
        if unpacked > self.limit {
            return Err(self.too_large());
        }
        Ok(())
    }

    const fn too_large(&self) -> EgressError {
        EgressError::TooLarge { limit: self.limit }
    }

    fn broken(&self, error: io::Error) -> EgressError {
        if error.kind() == io::ErrorKind::FileTooLarge {
            self.too_large()
        } else {
            EgressError::Body(error)
        }
    }
}

async fn read(
    mut reader: Box<dyn AsyncRead + Send + Unpin>,
    caps: &Caps<'_>,
) -> Result<Bytes, EgressError> {
    let mut whole = Vec::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = reader.read(&mut chunk).await;
        let read = read.map_err(|error| caps.broken(error))?;
        caps.check(whole.len().saturating_add(read))?;
        match chunk.get(..read) {
            Some(some) if !some.is_empty() => whole.extend_from_slice(some),
            Some(_) | None => return Ok(Bytes::from(whole)),
        }
    }
}
