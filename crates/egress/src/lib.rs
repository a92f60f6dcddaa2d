//! The one outbound HTTP client for destinations that a caller or a tenant names.
//!
//! A name is resolved once, every address of the answer is checked, and only a checked address is
//! dialled; the peer is checked again after the connection stands. It must never follow a redirect
//! without checking anew where it leads, use a proxy, unpack more than was asked for, or reach an
//! address of a special-purpose registry, except those that the platform's operator opened by name.
//! Metadata services stay closed even then.

pub mod address;
mod allowance;
mod allowlist;
mod client;
#[cfg(any(test, feature = "corpus"))]
pub mod corpus;
mod decode;
mod destination;
mod dial;
mod error;
mod fetch;
mod headers;
pub mod inspect;
mod name;
mod resolve;
mod target;
#[cfg(test)]
mod tests;
mod tls;
mod watch;

pub use allowance::{Allowance, InternalNetwork, InternalNetworks};
pub use allowlist::{Allowlist, AllowlistError, MAX_ENTRIES};
pub use client::{Client, Connection, Limits, Request, Response};
pub use decode::MAX_RATIO;
pub use destination::Destination;
pub use dial::{Dial, DialFuture, TcpDial};
pub use error::{EgressError, Refusal};
pub use fetch::{Fetch, FetchError, Fetched, MAX_REDIRECTS};
pub use headers::{HeaderRefusal, Headers};
pub use resolve::{Resolve, ResolveError, ResolveFuture, SystemResolver};
pub use target::{Target, TargetError};
pub use tls::{TlsError, Trust};
pub use watch::{Block, BlockError, Unwatched, Watch};
