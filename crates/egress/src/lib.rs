//! The one outbound HTTP client for destinations that a caller or a tenant names.
//!
//! A name is resolved once, every address of the answer is checked, and only a checked address is
//! dialled; the peer is checked again after the connection stands. It must never follow a redirect,
//! use a proxy, unpack an answer, or reach an address of a special-purpose registry, except those
//! that the platform's operator opened by name. Metadata services stay closed even then.

pub mod address;
mod allowance;
mod client;
mod dial;
mod error;
mod headers;
mod name;
mod resolve;
mod target;
#[cfg(test)]
mod tests;
mod tls;

pub use allowance::{Allowance, InternalNetwork, InternalNetworks};
pub use client::{Client, Connection, Destination, Limits, Request, Response};
pub use dial::{Dial, DialFuture, TcpDial};
pub use error::{EgressError, Refusal};
pub use headers::{HeaderRefusal, Headers};
pub use resolve::{Resolve, ResolveError, ResolveFuture, SystemResolver};
pub use target::{Target, TargetError};
pub use tls::{TlsError, Trust};
