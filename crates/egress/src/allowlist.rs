//! The hosts that a tenant's tools may call: `host` or `*.host`, for the ports 80 and 443, or with
//! `:port`.
//!
//! A list tells policy what is listed, and egress which further ports are. It opens nothing inside.

use std::collections::BTreeSet;

use crate::destination::PORTS;
use crate::name::is_host_name;
use crate::target::{Named, Target};

/// The most entries of a list.
pub const MAX_ENTRIES: usize = 1_000;

/// A list of hosts. The empty one lists nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowlist(BTreeSet<Entry>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    host: String,
    /// Whether it is for the names below the host, and not for the host.
    below: bool,
    port: Option<u16>,
}

impl Entry {
    /// A suffix counts at a label's boundary alone.
    fn names(&self, host: &str) -> bool {
        if self.below {
            host.strip_suffix(self.host.as_str())
                .and_then(|front| front.strip_suffix('.'))
                .is_some_and(|front| !front.is_empty())
        } else {
            self.host == host
        }
    }
}

/// Why an entry is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowlistError {
    /// No host.
    #[error(
        "the entry {number} is none of `host`, `*.host`, `host:port` and `*.host:port`; write the \
         host in lower case, as a URL names it, and after `*.` a name of at least two labels"
    )]
    Entry {
        /// Its place in the list, from 1.
        number: usize,
    },
    /// Too many.
    #[error("there may be at most 1000 entries")]
    TooMany,
}

impl Allowlist {
    /// Reads a list.
    ///
    /// # Errors
    /// Names the entry that is none.
    pub fn read<S: AsRef<str>>(entries: &[S]) -> Result<Self, AllowlistError> {
        if entries.len() > MAX_ENTRIES {
            return Err(AllowlistError::TooMany);
        }
        let mut list = BTreeSet::new();
        for (number, text) in (1..).zip(entries) {
            list.insert(entry(text.as_ref()).ok_or(AllowlistError::Entry { number })?);
        }
        Ok(Self(list))
    }

    /// This list and another one.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// Whether a target's host is listed for its port.
    pub fn lists(&self, target: &Target) -> bool {
        let (host, port) = (target.host(), target.port());
        self.0.iter().any(|entry| {
            let fits = match entry.port {
                Some(listed) => listed == port,
                None => PORTS.contains(&port),
            };
            fits && entry.names(&host)
        })
    }

    /// The ports that are listed for a host by number.
    pub fn ports(&self, host: &str) -> Vec<u16> {
        let own = self.0.iter().filter(|entry| entry.names(host));
        own.filter_map(|entry| entry.port).collect()
    }
}

fn entry(text: &str) -> Option<Entry> {
    let (below, rest) = match text.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    // Any other wildcard would list nobody, silently.
    if rest.contains('*') {
        return None;
    }
    // Read as a URL's authority, so that an entry and a URL mean the same by the same text.
    let target = Target::parse(&format!("http://{rest}")).ok()?;
    let host = target.host();
    let fits = match target.named() {
        // `*.com` would list most of the net.
        Named::Name(name) => is_host_name(name) && (!below || name.contains('.')),
        // Addresses have nothing below them.
        Named::Address(_) => !below,
    };
    if !fits {
        return None;
    }
    let port = if rest == host {
        None
    } else if rest == format!("{host}:{}", target.port()) {
        Some(target.port())
    } else {
        return None;
    };
    Some(Entry { host, below, port })
}
