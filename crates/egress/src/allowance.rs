//! What the platform's operator opened of the inside, and to whom.
//!
//! A tenant can name its tool servers as it likes, so an opening always names the tenant and the
//! server. It must never open what `address` calls forbidden.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::address::{Class, class};

/// One opening: these addresses, at these ports, for these tool servers of these tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalNetwork {
    /// The addresses.
    pub network: IpNet,
    /// The ports.
    pub ports: Vec<u16>,
    /// Slugs of the tenants.
    pub tenants: Vec<String>,
    /// Names of the tool servers.
    pub servers: Vec<String>,
}

/// All openings.
#[derive(Debug, Clone, Default)]
pub struct InternalNetworks(Vec<InternalNetwork>);

impl InternalNetworks {
    /// What the operator lists.
    pub const fn new(networks: Vec<InternalNetwork>) -> Self {
        Self(networks)
    }

    /// What is open to one tool server of one tenant.
    pub fn allowance(&self, tenant: &str, server: &str) -> Allowance {
        let holds = |list: &[String], name: &str| list.iter().any(|one| one == name);
        let open = self
            .0
            .iter()
            .filter(|one| holds(&one.tenants, tenant) && holds(&one.servers, server));
        Allowance {
            open: open.map(|one| (one.network, one.ports.clone())).collect(),
        }
    }
}

/// What is open to one tool server of one tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowance {
    open: Vec<(IpNet, Vec<u16>)>,
}

impl Allowance {
    /// Nothing but the public net.
    pub const fn none() -> Self {
        Self { open: Vec::new() }
    }

    /// Whether anything of the inside is open at a port.
    pub(crate) fn opens_port(&self, port: u16) -> bool {
        self.open.iter().any(|(_, ports)| ports.contains(&port))
    }

    /// Whether an internal address is open at a port.
    pub(crate) fn opens(&self, address: IpAddr, port: u16) -> bool {
        let internal = match class(address) {
            Class::Internal(_) => true,
            Class::Public | Class::Forbidden(_) => false,
        };
        internal
            && self
                .open
                .iter()
                .any(|(network, ports)| network.contains(&address) && ports.contains(&port))
    }
}
