//! Why a request has no answer, and whether it can have had an effect.

use std::io;

use crate::resolve::ResolveError;
use crate::tls::TlsError;

/// Why a destination may not be reached. Names no address that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A name of the inside, or of a metadata service.
    #[error("the host's name is not a public one")]
    Name,
    /// A port that is not listed.
    #[error("the port is neither 80 nor 443 and not listed for this host")]
    Port,
    /// An address that is not public. The block is for the operator's log.
    #[error("the host is at an address that is not public ({0})")]
    Address(&'static str),
    /// Public and internal addresses in one answer.
    #[error("the host has public and internal addresses at once")]
    Mixed,
    /// A name without an address.
    #[error("the host has no address")]
    NoAddress,
    /// More addresses than a name has for good reasons.
    #[error("the host has too many addresses")]
    TooManyAddresses,
    /// A host that somebody blocked.
    #[error("the host is blocked")]
    Blocked,
    /// A host that is not on the list of the one who asks.
    #[error("the host is not on the egress allow-list")]
    NotListed,
    /// A redirect from https to http.
    #[error("the redirect leads from https to http")]
    Downgrade,
    /// A redirect to nowhere.
    #[error("the redirect names no plain http or https URL")]
    Redirect,
    /// More redirects than are followed.
    #[error("there are more than 3 redirects")]
    TooManyRedirects,
    /// The other end is not who was dialled.
    #[error("the connection reached another address than the one dialled")]
    Peer,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The destination may not be reached.
    #[error("the destination is refused: {0}")]
    Refused(#[source] Refusal),
    /// The name could not be resolved.
    #[error("the destination's name could not be resolved")]
    Resolve(#[source] ResolveError),
    /// No connection came about.
    #[error("no connection to the destination")]
    Connect(#[source] io::Error),
    /// TLS did not come about, or the certificate is not believed.
    #[error("no TLS with the destination")]
    Tls(#[source] io::Error),
    /// The request could not be built.
    #[error("the request cannot be written")]
    Request(#[source] http::Error),
    /// The deadline passed before anything was sent.
    #[error("the deadline passed before the request was sent")]
    DeadlineBeforeSend,
    /// The deadline passed before the whole answer was there.
    #[error("the deadline passed before the destination had answered")]
    Deadline,
    /// The connection broke, or what came was no HTTP.
    #[error("the connection broke before the destination had answered")]
    Exchange(#[source] hyper::Error),
    /// The answer is larger than the limit.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The most bytes that are read.
        limit: usize,
    },
    /// The answer is packed although nobody asked for it.
    #[error("the answer is compressed, which was not asked for")]
    Encoded,
    /// The answer unpacks to far more than what came.
    #[error("the answer unpacks to more than {ratio} times its size")]
    Bomb {
        /// The most that is unpacked.
        ratio: usize,
    },
    /// The answer's body broke off, or does not unpack.
    #[error("the answer's body broke off or cannot be unpacked")]
    Body(#[source] io::Error),
    /// The client could not be made.
    #[error("the outbound client cannot be set up")]
    SetUp(#[source] TlsError),
}

impl EgressError {
    /// Whether the destination certainly saw nothing of the request.
    pub const fn is_certainly_unsent(&self) -> bool {
        match self {
            Self::Refused(_)
            | Self::Resolve(_)
            | Self::Connect(_)
            | Self::Tls(_)
            | Self::Request(_)
            | Self::DeadlineBeforeSend
            | Self::SetUp(_) => true,
            Self::Deadline
            | Self::Exchange(_)
            | Self::TooLarge { .. }
            | Self::Encoded
            | Self::Bomb { .. }
            | Self::Body(_) => false,
        }
    }
}
