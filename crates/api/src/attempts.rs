//! How often somebody may fail to prove who they are, and how often they may do it, counted in this
//! replica's memory.
//!
//! Whoever fails too often from one network is not even looked up any more. Failures against one
//! client are counted too, whoever makes them: the answer becomes 429, but a right secret is still
//! accepted, since otherwise a stranger could lock a client out by failing in its name. (A secret has
//! 256 random bits; the count is there to be noticed, not to keep them from being guessed.)
//!
//! Tokens that are issued are counted by client as well, since each costs a signature and a write.
//!
//! How often one address asks at all is bounded before that, in `oauth::throttle`.
//!
//! Memory is bounded: old counts make room for new ones.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_domain::id::{Id, Principal};
use quick_cache::sync::Cache;
use time::OffsetDateTime;

/// The length of a counting period.
const WINDOW_SECONDS: u64 = 60;
/// Failures from one network in a period.
const PER_NETWORK: u64 = 30;
/// Failures against one client in a period.
const PER_CLIENT: u64 = 10;
/// Tokens of one client in a period.
const TOKENS_PER_CLIENT: u64 = 120;
/// How many networks, and how many clients, are remembered.
const REMEMBERED: usize = 16_384;

/// Failures of a period: its number in the upper half, how many in the lower.
type Count = Arc<AtomicU64>;

/// Counts of failures.
pub(crate) struct Attempts {
    networks: Cache<u128, Count>,
    clients: Cache<Id<Principal>, Count>,
    tokens: Cache<Id<Principal>, Count>,
}

/// Too many failures or tokens; when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany {
    pub(crate) retry_after_seconds: u64,
}

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempts")
            .field("networks", &self.networks.len())
            .field("clients", &self.clients.len())
            .finish_non_exhaustive()
    }
}

impl Attempts {
    pub(crate) fn new() -> Self {
        Self {
            networks: Cache::new(REMEMBERED),
            clients: Cache::new(REMEMBERED),
            tokens: Cache::new(REMEMBERED),
        }
    }

    /// Whether a network may try.
    pub(crate) fn check(&self, address: IpAddr, now: OffsetDateTime) -> Result<(), TooMany> {
        let count = self.networks.get(&network(address));
        let failures = count.map_or(0, |count| failures(count.load(Ordering::SeqCst), now));
        within(failures < PER_NETWORK, now)
    }

    /// Counts a failure, and says whether it was one too many against the client.
    pub(crate) fn failed(
        &self,
        address: IpAddr,
        client: Option<Id<Principal>>,
        now: OffsetDateTime,
    ) -> Result<(), TooMany> {
        count_one(&self.networks, network(address), now);
        let against = client.map_or(0, |client| count_one(&self.clients, client, now));
        within(against <= PER_CLIENT, now)
    }

    /// Counts a token for a client that proved itself, and says whether it may have it. Who did not
    /// prove himself uses up nothing here.
    pub(crate) fn issuing(
        &self,
        client: Id<Principal>,
        now: OffsetDateTime,
    ) -> Result<(), TooMany> {
        let tokens = count_one(&self.tokens, client, now);
        within(tokens <= TOKENS_PER_CLIENT, now)
    }
}

fn within(allowed: bool, now: OffsetDateTime) -> Result<(), TooMany> {
    if allowed {
        return Ok(());
    }
    let into = seconds(now) % WINDOW_SECONDS;
    Err(TooMany {
        retry_after_seconds: WINDOW_SECONDS.saturating_sub(into),
    })
}

/// An IPv4 address, or the /64 of an IPv6 address: what one subscriber has.
pub(crate) fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits() & !u128::from(u64::MAX),
    }
}

fn seconds(now: OffsetDateTime) -> u64 {
    u64::try_from(now.unix_timestamp()).unwrap_or(0)
}

fn period(now: OffsetDateTime) -> u64 {
    seconds(now) / WINDOW_SECONDS
}

/// The failures that a count holds for the present period.
fn failures(count: u64, now: OffsetDateTime) -> u64 {
    if count >> 32 == period(now) {
        count & u64::from(u32::MAX)
    } else {
        0
    }
}

fn count_one<K>(counts: &Cache<K, Count>, key: K, now: OffsetDateTime) -> u64
where
    K: std::hash::Hash + Eq + Clone,
{
    let made: Result<Count, std::convert::Infallible> =
        counts.get_or_insert_with(&key, || Ok(Count::default()));
    let Ok(count) = made;
    let next = |before: u64| {
        let failures = failures(before, now).saturating_add(1);
        (period(now) << 32) | failures.min(u64::from(u32::MAX))
    };
    let before = count
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |before| {
            Some(next(before))
        })
        .unwrap_or_default();
    failures(next(before), now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_760_000_040 + seconds).unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_that_fails_too_often_waits_for_the_next_period() {
        let attempts = Attempts::new();
        let peer = address("192.0.2.1");
        for _ in 0..PER_NETWORK {
            assert_eq!(attempts.check(peer, at(0)), Ok(()));
            attempts.failed(peer, None, at(0)).unwrap();
        }
        let refused = attempts.check(peer, at(0)).unwrap_err();
        let wait = i64::try_from(refused.retry_after_seconds).unwrap();
        assert!((1..=60).contains(&wait));
        assert!(attempts.check(peer, at(wait - 1)).is_err());
        assert_eq!(attempts.check(peer, at(wait)), Ok(()));
        assert_eq!(attempts.check(address("192.0.2.2"), at(0)), Ok(()));
    }

    #[test]
    fn one_subscriber_does_not_become_many_by_changing_addresses() {
        let attempts = Attempts::new();
        for n in 0..PER_NETWORK {
            let peer = address(&format!("2001:db8::{n:x}"));
            attempts.failed(peer, None, at(0)).unwrap();
        }
        assert!(attempts.check(address("2001:db8::ffff"), at(0)).is_err());
        assert!(attempts.check(address("2001:db8:0:1::1"), at(0)).is_ok());
        for _ in 0..PER_NETWORK {
            attempts.failed(address("192.0.2.1"), None, at(0)).unwrap();
        }
        assert!(attempts.check(address("::ffff:192.0.2.1"), at(0)).is_err());
    }

    #[test]
    fn failures_against_one_client_are_counted_whoever_makes_them() {
        let attempts = Attempts::new();
        let client = Id::from_row(Uuid::from_u128(7));
        let fail = |n: u64, now| {
            let peer = address(&format!("192.0.2.{n}"));
            attempts.failed(peer, Some(client), now)
        };
        for n in 0..PER_CLIENT {
            assert_eq!(fail(n, at(0)), Ok(()));
        }
        assert!(fail(100, at(0)).is_err());
        let other = Id::from_row(Uuid::from_u128(8));
        let elsewhere = attempts.failed(address("192.0.2.200"), Some(other), at(0));
        assert_eq!(elsewhere, Ok(()));
        assert_eq!(fail(101, at(60)), Ok(()));
    }

    #[test]
    fn a_client_gets_so_many_tokens_a_period_and_takes_none_from_another() {
        let attempts = Attempts::new();
        let client = Id::from_row(Uuid::from_u128(7));
        for _ in 0..TOKENS_PER_CLIENT {
            assert_eq!(attempts.issuing(client, at(0)), Ok(()));
        }
        assert!(attempts.issuing(client, at(0)).is_err());
        let other = Id::from_row(Uuid::from_u128(8));
        assert_eq!(attempts.issuing(other, at(0)), Ok(()));
        assert_eq!(attempts.issuing(client, at(60)), Ok(()));
    }

    #[test]
    fn strangers_do_not_fill_the_memory() {
        let attempts = Attempts::new();
        for n in 0..200_000_u32 {
            let peer = IpAddr::V4(n.into());
            attempts.failed(peer, None, at(0)).unwrap();
        }
        assert!(attempts.networks.len() <= REMEMBERED);
    }
}
