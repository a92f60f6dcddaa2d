//! What an address is: public, internal, or nobody's to reach.
//!
//! The tables are IANA's special-purpose registries for IPv4 and IPv6 with every entry in them,
//! those that are marked globally reachable too, and the addresses at which clouds answer with
//! credentials. It must never call an address public by the lack of an entry alone: in IPv6 only
//! global unicast (`2000::/3`) can be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What an address is. The text names the block, for the operator's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Anybody may be sent there.
    Public,
    /// Inside somebody's network: reached only where the platform's operator opened it.
    Internal(&'static str),
    /// Reached by nobody, whatever the configuration says.
    Forbidden(&'static str),
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::from_segments(segments), prefix)
}

/// Where clouds give credentials to whoever asks from inside. Looked at first: some of these lie
/// within networks that an operator may open, one in public space.
const METADATA_V4: [(Ipv4Net, &str); 4] = [
    (v4(169, 254, 0, 0, 16), "link-local and metadata services"),
    (v4(168, 63, 129, 16, 32), "Azure's wire server"),
    (v4(100, 100, 100, 200, 32), "Alibaba's metadata service"),
    (v4(192, 0, 0, 192, 32), "Oracle's metadata service"),
];

/// What an operator may open.
const INTERNAL_V4: [(Ipv4Net, &str); 5] = [
    (v4(10, 0, 0, 0, 8), "private use"),
    (v4(172, 16, 0, 0, 12), "private use"),
    (v4(192, 168, 0, 0, 16), "private use"),
    (v4(100, 64, 0, 0, 10), "shared address space"),
    (v4(127, 0, 0, 0, 8), "loopback"),
];

/// What nobody may open.
const FORBIDDEN_V4: [(Ipv4Net, &str); 12] = [
    (v4(0, 0, 0, 0, 8), "this network"),
    (v4(192, 0, 0, 0, 24), "IETF protocol assignments"),
    (v4(192, 0, 2, 0, 24), "documentation"),
    (v4(192, 31, 196, 0, 24), "AS112"),
    (v4(192, 52, 193, 0, 24), "AMT"),
    (v4(192, 88, 99, 0, 24), "6to4 relays"),
    (v4(192, 175, 48, 0, 24), "AS112"),
    (v4(198, 18, 0, 0, 15), "benchmarking"),
    (v4(198, 51, 100, 0, 24), "documentation"),
    (v4(203, 0, 113, 0, 24), "documentation"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(240, 0, 0, 0, 4), "reserved and broadcast"),
];

const METADATA_V6: [(Ipv6Net, &str); 7] = [
    (
        v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
        "link-local and metadata services",
    ),
    (
        v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32),
        "AWS's metadata services",
    ),
    (
        v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0], 32),
        "Google's metadata service",
    ),
    (
        v6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128),
        "Oracle's metadata service",
    ),
    (
        v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128),
        "Scaleway's metadata service",
    ),
    (
        v6([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1], 128),
        "Linode's metadata service",
    ),
    (
        v6([0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200], 128),
        "Alibaba's metadata service",
    ),
];

const INTERNAL_V6: [(Ipv6Net, &str); 2] = [
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "loopback"),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), "unique local"),
];

/// Within global unicast. What lies outside is refused without a table.
const FORBIDDEN_V6: [(Ipv6Net, &str); 6] = [
    (
        v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
        "IETF protocol assignments, Teredo among them",
    ),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), "documentation"),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), "6to4"),
    (v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48), "AS112"),
    (v6([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16), "the former 6bone"),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), "documentation"),
];

const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// What an address is.
pub fn class(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(address) => class_v4(address),
        IpAddr::V6(address) => class_v6(address),
    }
}

/// Whether a network lies wholly within one that an operator may open. Forbidden addresses within it
/// stay forbidden.
pub fn may_be_opened(network: IpNet) -> bool {
    match network {
        IpNet::V4(network) => INTERNAL_V4
            .iter()
            .any(|(whole, _)| whole.contains(&network)),
        IpNet::V6(network) => INTERNAL_V6
            .iter()
            .any(|(whole, _)| whole.contains(&network)),
    }
}

fn class_v4(address: Ipv4Addr) -> Class {
    let within = |table: &[(Ipv4Net, &'static str)]| {
        let found = table.iter().find(|(network, _)| network.contains(&address));
        found.map(|(_, block)| *block)
    };
    if let Some(block) = within(&METADATA_V4).or_else(|| within(&FORBIDDEN_V4)) {
        return Class::Forbidden(block);
    }
    within(&INTERNAL_V4).map_or(Class::Public, Class::Internal)
}

/// An IPv6 address that carries an IPv4 address (mapped, compatible, translated, NAT64, 6to4, Teredo,
/// ISATAP) is refused whatever it carries: who means the IPv4 address can say so.
fn class_v6(address: Ipv6Addr) -> Class {
    let within = |table: &[(Ipv6Net, &'static str)]| {
        let found = table.iter().find(|(network, _)| network.contains(&address));
        found.map(|(_, block)| *block)
    };
    if let Some(block) = within(&METADATA_V6).or_else(|| within(&FORBIDDEN_V6)) {
        return Class::Forbidden(block);
    }
    if let Some(block) = within(&INTERNAL_V6) {
        return if is_isatap(address) {
            Class::Forbidden("ISATAP")
        } else {
            Class::Internal(block)
        };
    }
    if !GLOBAL_UNICAST.contains(&address) {
        return Class::Forbidden("outside global unicast");
    }
    if is_isatap(address) {
        return Class::Forbidden("ISATAP");
    }
    Class::Public
}

/// An interface identifier of RFC 5214: `0000:5efe` or `0200:5efe` before an IPv4 address.
const fn is_isatap(address: Ipv6Addr) -> bool {
    let [_, _, _, _, scope, marker, _, _] = address.segments();
    marker == 0x5efe && (scope == 0 || scope == 0x0200)
}
