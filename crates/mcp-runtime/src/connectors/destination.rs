//! Destinations of tools: a tenant's allow-lists, the URL that a call's argument names, and the words of
//! a refusal.
//!
//! The words must never name an address that was found, nor a host that only the far side named and that
//! is not public.

use std::collections::BTreeMap;

use portcullis_egress::{Allowlist, AllowlistError, Refusal, Target};
use serde_json::{Map, Value};

use super::Refused;

/// The argument of a fetching tool that names where to.
pub const URL: &str = "url";
/// The most tools with a list of their own.
pub const MAX_TOOLS: usize = 100;

/// A tenant's allow-lists: one for every tool, and more for single tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lists {
    every: Allowlist,
    tools: BTreeMap<String, Allowlist>,
}

/// Why a list of a tenant is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListsError {
    /// The list for every tool.
    #[error("{0}")]
    Every(#[source] AllowlistError),
    /// That of one tool.
    #[error("of the tool {tool}: {source}")]
    Tool {
        /// The tool.
        tool: String,
        /// What is wrong.
        source: AllowlistError,
    },
    /// Too many.
    #[error("there may be lists of at most 100 single tools")]
    TooMany,
}

impl Lists {
    /// Reads a tenant's lists.
    ///
    /// # Errors
    /// Names the list and the entry that is none.
    pub fn read(
        hosts: &[String],
        tools: &BTreeMap<String, Vec<String>>,
    ) -> Result<Self, ListsError> {
        if tools.len() > MAX_TOOLS {
            return Err(ListsError::TooMany);
        }
        let every = Allowlist::read(hosts).map_err(ListsError::Every)?;
        let tools = tools.iter().map(|(tool, hosts)| {
            let list = Allowlist::read(hosts).map_err(|source| ListsError::Tool {
                tool: tool.clone(),
                source,
            })?;
            Ok((tool.clone(), list))
        });
        Ok(Self {
            every,
            tools: tools.collect::<Result<_, _>>()?,
        })
    }

    /// The hosts that a tool may call.
    pub fn of(&self, tool: &str) -> Allowlist {
        let own = self.tools.get(tool);
        own.map_or_else(|| self.every.clone(), |own| self.every.and(own))
    }
}

/// Where a tool may go whose arguments name it.
#[derive(Debug)]
pub struct Reach {
    /// The tenant's slug.
    pub tenant: String,
    /// The hosts that it may reach.
    pub allowlist: Allowlist,
}

/// The URL that a call's arguments name, where it can be read.
pub fn target(arguments: &Map<String, Value>) -> Option<Target> {
    Target::parse(arguments.get(URL)?.as_str()?).ok()
}

/// Who asked for what, for the words of a refusal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) tenant: &'a str,
    pub(super) tool: &'a str,
    /// The host with its port, where it may be named.
    pub(super) host: Option<&'a str>,
}

/// The words of a refusal.
pub(super) fn refused(refusal: Refusal, asking: Asking<'_>) -> Refused {
    let Asking { tenant, tool, host } = asking;
    let listing = || {
        let host = host.unwrap_or("HOST[:PORT]");
        format!(
            "An owner of the tenant lists it: portcullis egress allow {host} --tenant {tenant} --tool \
             {tool}"
        )
    };
    let (reason, remedy) = match refusal {
        Refusal::NotListed => (
            format!("{} is not on the egress allow-list", host.unwrap_or("a host")),
            listing(),
        ),
        Refusal::Port => (refusal.to_string(), listing()),
        Refusal::Name | Refusal::Address(_) | Refusal::Mixed => (
            "the host is not at public addresses alone".to_owned(),
            "Name a public host. Networks inside are opened by the platform's operator alone, by name \
             (egress.internal_networks)."
                .to_owned(),
        ),
        Refusal::Blocked => (
            refusal.to_string(),
            "Ask whoever dropped the switch to lift it.".to_owned(),
        ),
        Refusal::NoAddress | Refusal::TooManyAddresses | Refusal::Peer => (
            refusal.to_string(),
            "Check the host's name; portcullis egress check shows what it resolves to.".to_owned(),
        ),
        Refusal::Downgrade | Refusal::Redirect | Refusal::TooManyRedirects => (
            refusal.to_string(),
            "Name the URL that the redirects end at.".to_owned(),
        ),
    };
    Refused { reason, remedy }
}
