//! Which collector, and how it is spoken to. Everything is checked before a replica starts.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_domain::id::{Id, Replica};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC; collectors listen on port 4317.
    Grpc,
    /// Protobuf over HTTP; collectors listen on port 4318.
    Http,
}

/// A collector, as the operator names it.
#[derive(Debug)]
pub struct Collector {
    /// `http://` or `https://`, host and port. Over HTTP a path may follow, to which `/v1/traces` and
    /// `/v1/metrics` are added.
    pub endpoint: Url,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// What goes with each request, a field a line, `name: value`: a token of the collector's.
    pub headers: Option<SecretString>,
    /// PEM: the authorities whose certificates are believed. Without it, those of the system are.
    pub authorities: Option<Vec<u8>>,
    /// How often metrics are sent.
    pub metrics_every: Duration,
}

/// Who sends.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// The version that runs.
    pub version: &'static str,
    /// Which replica.
    pub replica: Id<Replica>,
}

/// Why a collector cannot be spoken to. No message holds a header's value.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// A line of the headers is none.
    #[error(
        "line {line} of the headers must be `name: value`, with a name and a value that HTTP allows"
    )]
    Header {
        /// Which line, from 1.
        line: usize,
    },
    /// No certificate is in the authorities.
    #[error("the authorities must be PEM certificates, at least one")]
    Authorities,
    /// The endpoint cannot be used.
    #[error("the endpoint cannot be used: {0}")]
    Endpoint(String),
    /// A file of the operator's cannot be read.
    #[error("{path} cannot be read: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Collector {
    /// The headers, each marked as one that is never shown.
    pub(super) fn header_map(&self) -> Result<HeaderMap, CollectorError> {
        let mut map = HeaderMap::new();
        let text = self
            .headers
            .as_ref()
            .map_or("", ExposeSecret::expose_secret);
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = field(line).ok_or(CollectorError::Header { line: index + 1 })?;
            map.append(name, value);
        }
        Ok(map)
    }
}

fn field(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let name = HeaderName::from_str(name.trim()).ok()?;
    let mut value = HeaderValue::from_str(value.trim()).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grpc => "gRPC",
            Self::Http => "HTTP",
        })
    }
}
