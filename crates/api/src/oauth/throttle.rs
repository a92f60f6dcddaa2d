//! How often one address may ask for tokens, right or wrong: counted before anything of a request is
//! read, so that asking costs us less than it costs whoever asks. Failures are counted elsewhere
//! (`crate::attempts`), and far fewer of them are allowed.
//!
//! Memory is bounded: addresses share so many counts, by a hash that nobody outside can compute. Two
//! that share one have less each, never more. It must never tell an address to a log.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use governor::middleware::NoOpMiddleware;
use http::Request;
use portcullis_mcp_runtime::token::TrustedProxies;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};

use super::error::OAuthError;
use crate::attempts::{TooMany, network};

/// How often one address, or one /64 of IPv6, may ask for tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestRate {
    /// In the long run.
    pub per_minute: u32,
    /// At once.
    pub burst: u32,
}

impl Default for RequestRate {
    /// As much as some thousand clients behind one address need that renew each token once.
    fn default() -> Self {
        Self {
            per_minute: 600,
            burst: 200,
        }
    }
}

/// The layer that holds a rate. None where a number of it is 0, which would let nobody in.
pub(super) fn layer(
    rate: RequestRate,
    proxies: TrustedProxies,
) -> Option<GovernorLayer<Asker, NoOpMiddleware, Body>> {
    let between = Duration::from_mins(1).checked_div(rate.per_minute)?;
    let asker = Asker {
        proxies,
        secret: RandomState::new(),
    };
    let config = GovernorConfigBuilder::default()
        .period(between)
        .burst_size(rate.burst)
        .key_extractor(asker)
        .finish()?;
    Some(GovernorLayer::new(config).error_handler(refused))
}

/// Finds out whose count a request is of.
#[derive(Clone)]
pub(super) struct Asker {
    proxies: TrustedProxies,
    secret: RandomState,
}

impl KeyExtractor for Asker {
    type Key = u16;

    fn extract<T>(&self, request: &Request<T>) -> Result<u16, GovernorError> {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let ConnectInfo(peer) = peer.ok_or(GovernorError::UnableToExtractKey)?;
        // Where a proxy hides its client, the proxy itself is counted.
        let client = self.proxies.client_of(request.headers(), peer.ip());
        let network = network(client.unwrap_or(peer.ip()));
        let hash = self.secret.hash_one(network) & u64::from(u16::MAX);
        Ok(u16::try_from(hash).unwrap_or(u16::MAX))
    }
}

fn refused(error: GovernorError) -> Response {
    match error {
        // What is left of a second is a second: whoever comes back too early is refused again.
        GovernorError::TooManyRequests { wait_time, .. } => OAuthError::TooMany(TooMany {
            retry_after_seconds: wait_time.saturating_add(1),
        }),
        GovernorError::UnableToExtractKey | GovernorError::Other { .. } => OAuthError::Peerless,
    }
    .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn asker() -> Asker {
        Asker {
            proxies: TrustedProxies::new(vec!["198.51.100.0/24".parse().unwrap()]),
            secret: RandomState::new(),
        }
    }

    fn key(asker: &Asker, peer: &str, forwarded: Option<&str>) -> u16 {
        let peer: IpAddr = peer.parse().unwrap();
        let mut request = Request::new(());
        let connection = ConnectInfo(SocketAddr::new(peer, 40_000));
        request.extensions_mut().insert(connection);
        if let Some(forwarded) = forwarded {
            let value = forwarded.parse().unwrap();
            request.headers_mut().insert("forwarded", value);
        }
        asker.extract(&request).unwrap()
    }

    #[test]
    fn a_network_has_one_count_however_it_is_reached_and_names_itself() {
        let asker = asker();
        let one = key(&asker, "2001:db8::1", None);
        assert_eq!(one, key(&asker, "2001:db8::ffff:1", None));
        let by_proxy = key(&asker, "198.51.100.7", Some("for=\"[2001:db8::2]:4711\""));
        assert_eq!(one, by_proxy);
        // What somebody writes who is no proxy is not believed.
        let claimed = key(&asker, "192.0.2.1", Some("for=\"[2001:db8::2]\""));
        assert_eq!(claimed, key(&asker, "192.0.2.1", None));
        assert_eq!(claimed, key(&asker, "::ffff:192.0.2.1", None));
    }

    #[test]
    fn networks_are_spread_over_the_counts() {
        let asker = asker();
        let mut seen = std::collections::HashSet::new();
        for number in 0..1_000 {
            seen.insert(key(&asker, &format!("2001:db8:0:{number:x}::1"), None));
        }
        assert!(seen.len() > 950, "{} counts", seen.len());
    }

    #[test]
    fn a_request_of_nobody_is_let_in_by_nobody() {
        assert!(asker().extract(&Request::new(())).is_err());
    }

    #[test]
    fn a_rate_of_nothing_is_none() {
        for (per_minute, burst) in [(0, 1), (1, 0)] {
            let rate = RequestRate { per_minute, burst };
            assert!(layer(rate, TrustedProxies::default()).is_none());
        }
    }
}
