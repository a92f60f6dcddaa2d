//! Hosts that nobody may reach now, and who is asked about them on the way.
//!
//! A block is of a host and of every name below it, at every port, or of one address however it is
//! reached. It must never depend on how a host is written: both sides are read by the same parser.

use std::fmt;
use std::net::IpAddr;

use crate::name::is_host_name;
use crate::target::{Named, Target};

/// Is told where each request goes, before the name is resolved and again with the addresses, and may
/// forbid it.
pub trait Watch: Send + Sync + fmt::Debug {
    /// Whether this target may be reached at these addresses; none are known yet at the first question.
    fn admits(&self, target: &Target, addresses: &[IpAddr]) -> bool;
}

/// Forbids nothing: where there are no blocks to heed, as in a check before anything is called.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn admits(&self, _target: &Target, _addresses: &[IpAddr]) -> bool {
        true
    }
}

/// Why a text is no block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a host as a URL names it, without a port: `example.com` or `93.184.216.34`")]
pub struct BlockError;

/// A host that is blocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    host: String,
    address: Option<IpAddr>,
}

impl Block {
    /// Reads a block.
    ///
    /// # Errors
    /// The text is no host in its plain form.
    pub fn parse(text: &str) -> Result<Self, BlockError> {
        let target = Target::parse(&format!("http://{text}")).map_err(|_unfit| BlockError)?;
        if target.host() != text || target.path() != "/" {
            return Err(BlockError);
        }
        let address = match target.named() {
            Named::Name(name) if !is_host_name(name) => return Err(BlockError),
            Named::Name(_) => None,
            Named::Address(address) => Some(address),
        };
        Ok(Self {
            host: target.host(),
            address,
        })
    }

    /// Whether a host falls under the block: it is the one, or a name below it.
    pub fn stops_host(&self, host: &str) -> bool {
        if self.address.is_some() {
            return host == self.host;
        }
        host.strip_suffix(self.host.as_str())
            .is_some_and(|front| front.is_empty() || front.ends_with('.'))
    }

    /// Whether an address falls under the block.
    pub fn stops_address(&self, address: IpAddr) -> bool {
        self.address == Some(address)
    }
}
