//! The hosts that a tenant's tools may call: `host`, for the ports 80 and 443, or `host:port`.
//!
//! It tells policy what is listed, and egress which further ports are. It opens nothing inside.

use std::collections::BTreeSet;

use portcullis_egress::Target;

/// The most entries of a list.
pub const MAX_ENTRIES: usize = 1_000;

/// A tenant's list. The empty one lists nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowlist(BTreeSet<(String, Option<u16>)>);

/// Why an entry is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowlistError {
    /// No host.
    #[error(
        "the entry {number} is neither `host` nor `host:port`; write the host in lower case, as a \
         URL names it"
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

    /// Whether a target's host is listed for its port.
    pub fn lists(&self, target: &Target) -> bool {
        let (host, port) = (target.host(), target.port());
        let plain = matches!(port, 80 | 443) && self.0.contains(&(host.clone(), None));
        plain || self.0.contains(&(host, Some(port)))
    }

    /// The ports that are listed for a host by number.
    pub(super) fn ports(&self, host: &str) -> Vec<u16> {
        let own = self.0.iter().filter(|(name, _)| name == host);
        own.filter_map(|(_, port)| *port).collect()
    }
}

fn entry(text: &str) -> Option<(String, Option<u16>)> {
    // There are no wildcards: what looks like one would list nobody, silently.
    if text.contains('*') {
        return None;
    }
    // Read as a URL's authority, so that an entry and a base URL mean the same by the same text.
    let target = Target::parse(&format!("http://{text}")).ok()?;
    let host = target.host();
    if text == host {
        return Some((host, None));
    }
    let port = target.port();
    (text == format!("{host}:{port}")).then_some((host, Some(port)))
}
