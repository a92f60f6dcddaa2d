//! Where a request comes from: the peer, or what a trusted proxy says of it (RFC 7239).
//!
//! Only a configured proxy is believed, and only as far as the proxies reach: of the chain in
//! `Forwarded`, the last element that no trusted proxy wrote about another proxy is the client.
//! What a client writes into the header itself stands further left and is never reached.

use std::net::IpAddr;

use http::header::FORWARDED;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use super::error::TokenError;

/// The longest chain that is read, over all header lines.
const MAX_FORWARDED_BYTES: usize = 8 * 1024;

/// How much of an address counts as the client's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkPrefix {
    v4: u8,
    v6: u8,
}

/// A prefix so short that unrelated clients would share a network, or longer than an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a client's network is /8 to /32 of IPv4 and /32 to /128 of IPv6")]
pub struct NetworkPrefixError;

impl Default for NetworkPrefix {
    /// A /24, and a /64: what one site or one subscriber usually has.
    fn default() -> Self {
        Self { v4: 24, v6: 64 }
    }
}

impl NetworkPrefix {
    /// Prefix lengths for IPv4 and IPv6.
    ///
    /// # Errors
    /// Refuses lengths outside /8 to /32 and /32 to /128.
    pub fn new(v4: u8, v6: u8) -> Result<Self, NetworkPrefixError> {
        if (8..=32).contains(&v4) && (32..=128).contains(&v6) {
            Ok(Self { v4, v6 })
        } else {
            Err(NetworkPrefixError)
        }
    }

    /// The network of an address. An IPv4 address in IPv6 clothes counts as IPv4.
    pub(super) fn network(self, address: IpAddr) -> ClientNetwork {
        let address = address.to_canonical();
        let length = match address {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        };
        // The lengths were checked; were one wrong, the address alone is the strictest network.
        let network = IpNet::new(address, length).unwrap_or_else(|_| IpNet::from(address));
        ClientNetwork(network.trunc())
    }
}

/// A client's network. It is personal data: `Debug` shows nothing of it, and only its keyed hash
/// leaves a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientNetwork(IpNet);

impl ClientNetwork {
    /// The bytes to hash: four or sixteen and the prefix's length, so that the two families and two
    /// prefixes never collide.
    pub(super) fn octets(&self) -> Vec<u8> {
        let mut octets = match self.0.network() {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        octets.push(self.0.prefix_len());
        octets
    }
}

impl std::fmt::Debug for ClientNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientNetwork")
    }
}

/// The proxies whose `Forwarded` header is believed. None by default.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// The networks that only the operator's own proxies are in.
    pub const fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client's address, for a request that carries no token.
    ///
    /// # Errors
    /// As for a request with one: [`TokenError::ClientUnknown`].
    pub fn client_of(&self, headers: &HeaderMap, peer: IpAddr) -> Result<IpAddr, TokenError> {
        let forwarded: Vec<&HeaderValue> = headers.get_all(FORWARDED).iter().collect();
        self.client(peer, &forwarded)
    }

    /// The client's address.
    ///
    /// # Errors
    /// [`TokenError::ClientUnknown`] if a trusted proxy's header does not lead to an address: the
    /// proxy's own would put all its clients in one network.
    pub(super) fn client(
        &self,
        peer: IpAddr,
        forwarded: &[&HeaderValue],
    ) -> Result<IpAddr, TokenError> {
        let peer = peer.to_canonical();
        if !self.contain(peer) {
            return Ok(peer);
        }
        let mut chain = chain(forwarded).ok_or(TokenError::ClientUnknown)?;
        let mut client = None;
        while let Some(hop) = chain.pop() {
            let Hop::Known(address) = hop else {
                return Err(TokenError::ClientUnknown);
            };
            client = Some(address);
            if !self.contain(address) {
                break;
            }
        }
        client.ok_or(TokenError::ClientUnknown)
    }
}

/// One proxy's word about the one before it.
enum Hop {
    /// The address in `for`.
    Known(IpAddr),
    /// No `for`, or one that names no address (`unknown`, `_hidden`).
    Hidden,
}

/// The hops of a chain, in order. A header that breaks the grammar gives no chain at all.
fn chain(lines: &[&HeaderValue]) -> Option<Vec<Hop>> {
    let mut length = 0_usize;
    let mut hops = Vec::new();
    for line in lines {
        let line = line.to_str().ok()?;
        length = length.saturating_add(line.len());
        if length > MAX_FORWARDED_BYTES {
            return None;
        }
        for element in split_outside_quotes(line, ',')? {
            hops.push(hop(element)?);
        }
    }
    Some(hops)
}

/// One element: its `for` parameter, which may stand once.
fn hop(element: &str) -> Option<Hop> {
    let mut named: Option<String> = None;
    for pair in split_outside_quotes(element, ';')? {
        let (name, value) = pair.trim().split_once('=')?;
        let value = unquoted(value)?;
        if name.eq_ignore_ascii_case("for") && named.replace(value).is_some() {
            return None;
        }
    }
    let address = named.and_then(|node| node_address(&node));
    Some(address.map_or(Hop::Hidden, Hop::Known))
}

/// Splits at a delimiter that no quoted string contains. An open quote gives none.
fn split_outside_quotes(text: &str, delimiter: char) -> Option<Vec<&str>> {
    let mut quoted = false;
    let mut escaped = false;
    let parts = text
        .split(|c: char| {
            if escaped {
                escaped = false;
            } else if quoted && c == '\\' {
                escaped = true;
            } else if c == '"' {
                quoted = !quoted;
            }
            c == delimiter && !quoted
        })
        .collect();
    if quoted { None } else { Some(parts) }
}

/// A token as it is, a quoted string without its quotes and escapes.
fn unquoted(value: &str) -> Option<String> {
    let Some(inner) = value.strip_prefix('"') else {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        return (!value.is_empty() && value.bytes().all(token)).then(|| value.to_owned());
    };
    let inner = inner.strip_suffix('"')?;
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push(characters.next()?),
            '"' => return None,
            plain => text.push(plain),
        }
    }
    Some(text)
}

/// The address of a node (RFC 7239 §6), whose port does not matter here.
fn node_address(node: &str) -> Option<IpAddr> {
    let (address, port) = if let Some(rest) = node.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        (IpAddr::V6(address.parse().ok()?), port)
    } else {
        let end = node.find(':').unwrap_or(node.len());
        let (address, port) = node.split_at_checked(end)?;
        (IpAddr::V4(address.parse().ok()?), port)
    };
    let obfuscated = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let sound_port = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(number) => {
            let hidden = number.strip_prefix('_').unwrap_or_default();
            number.parse::<u16>().is_ok() || (!hidden.is_empty() && hidden.bytes().all(obfuscated))
        }
    };
    sound_port.then(|| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn client(proxies: &[&str], peer: &str, lines: &[&str]) -> Option<IpAddr> {
        let proxies =
            TrustedProxies::new(proxies.iter().map(|text| text.parse().unwrap()).collect());
        let lines: Vec<HeaderValue> = lines
            .iter()
            .map(|line| HeaderValue::from_str(line).unwrap())
            .collect();
        let lines: Vec<&HeaderValue> = lines.iter().collect();
        proxies.client(address(peer), &lines).ok()
    }

    #[test]
    fn a_forwarded_header_of_a_stranger_is_not_read() {
        let peer = Some(address("203.0.113.9"));
        assert_eq!(client(&[], "203.0.113.9", &["for=192.0.2.1"]), peer);
        let proxies = ["10.0.0.0/8"];
        assert_eq!(client(&proxies, "203.0.113.9", &["for=192.0.2.1"]), peer);
        assert_eq!(client(&proxies, "203.0.113.9", &["for=\""]), peer);
    }

    #[test]
    fn the_client_is_the_last_hop_that_is_no_trusted_proxy() {
        let proxies = ["10.0.0.0/8", "2001:db8:f::/48"];
        for (lines, expected) in [
            (&["for=192.0.2.1"][..], "192.0.2.1"),
            (&["for=198.51.100.7, for=192.0.2.1"], "192.0.2.1"),
            (
                &["for=198.51.100.7", "For=192.0.2.1;proto=https"],
                "192.0.2.1",
            ),
            (&["for=192.0.2.1, for=10.1.1.1"], "192.0.2.1"),
            (&["for=192.0.2.1, for=\"[2001:db8:f::1]:443\""], "192.0.2.1"),
            (&["for=\"192.0.2.1:4711\";by=_x"], "192.0.2.1"),
            (
                &["by=\"a,b;c\\\"\";for=\"[2001:db8::1]:_p\""],
                "2001:db8::1",
            ),
            (&["for=\"[::ffff:192.0.2.1]\""], "192.0.2.1"),
            (&["for=10.9.9.9, for=10.1.1.1"], "10.9.9.9"),
            (&["for=unknown, for=192.0.2.1"], "192.0.2.1"),
        ] {
            assert_eq!(
                client(&proxies, "10.0.0.1", lines),
                Some(address(expected)),
                "{lines:?}"
            );
        }
        let mapped = client(&proxies, "::ffff:10.0.0.1", &["for=192.0.2.1"]);
        assert_eq!(mapped, Some(address("192.0.2.1")));
    }

    #[test]
    fn a_chain_that_names_no_client_is_refused() {
        let proxies = ["10.0.0.0/8"];
        for lines in [
            &[][..],
            &[""],
            &["for="],
            &["for=unknown"],
            &["for=_hidden"],
            &["proto=https"],
            &["for=192.0.2.1, for=unknown"],
            &["for=192.0.2.1, proto=https"],
            &["for=192.0.2.1, "],
            &["for=192.0.2.1;for=192.0.2.2"],
            &["for=\"192.0.2.1"],
            &["for=192.0.2.1\""],
            &["for=\"192.0.2.1\\\""],
            &["for=192.0.2.1:80"],
            &["for=\"192.0.2.1:99999\""],
            &["for=\"192.0.2.1:_\""],
            &["for=2001:db8::1"],
            &["for=\"2001:db8::1\""],
            &["for=\"[2001:db8::1\""],
            &["for=\"[2001:db8::1]x\""],
            &["for=\"[192.0.2.1]\""],
            &["for=192.0.2"],
            &["for=0xc0.0.2.1"],
            &["for =192.0.2.1"],
            &["192.0.2.1"],
        ] {
            assert_eq!(client(&proxies, "10.0.0.1", lines), None, "{lines:?}");
        }
        let endless = "for=192.0.2.1,".repeat(1000);
        assert_eq!(client(&proxies, "10.0.0.1", &[&endless]), None);
    }

    #[test]
    fn a_network_is_the_prefix_of_an_address() {
        let same = |prefix: NetworkPrefix, a: &str, b: &str| {
            prefix.network(address(a)) == prefix.network(address(b))
        };
        let default = NetworkPrefix::default();
        assert!(same(default, "192.0.2.1", "192.0.2.255"));
        assert!(same(default, "192.0.2.1", "::ffff:192.0.2.9"));
        assert!(same(default, "127.0.0.1", "::ffff:127.0.0.1"));
        assert!(!same(default, "192.0.2.1", "192.0.3.1"));
        assert!(same(default, "2001:db8::1", "2001:db8::ffff:0:0:1"));
        assert!(!same(default, "2001:db8::1", "2001:db8:0:1::1"));
        assert!(!same(default, "127.0.0.1", "::1"));
        let exact = NetworkPrefix::new(32, 128).unwrap();
        assert!(!same(exact, "127.0.0.1", "127.0.0.2"));
        assert!(!same(exact, "::1", "::2"));
        assert!(same(exact, "127.0.0.1", "127.0.0.1"));
    }

    #[test]
    fn a_prefix_that_merges_strangers_is_refused() {
        for (v4, v6) in [(0, 64), (7, 64), (33, 64), (24, 0), (24, 31), (24, 129)] {
            assert!(NetworkPrefix::new(v4, v6).is_err(), "{v4} {v6}");
        }
    }

    #[test]
    fn a_network_prints_nothing_of_itself() {
        let network = NetworkPrefix::default().network(address("192.0.2.1"));
        assert!(!format!("{network:?}").contains("192"));
    }
}
