//! First uses: one for all replicas, decided by the database.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use portcullis_domain::ReplayMode;
use portcullis_mcp_runtime::token::{Binding, BindingKind, BindingStore, TokenError, Use};
use time::Duration;
use tokio_util::task::TaskTracker;

use crate::platform::{Platform, at, key};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

/// 10,000 uses from 500 networks over 3 replicas: memory joins only those of one network, so the
/// database decides among at least 500 claims a replica.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_uses_of_a_one_time_token_are_one() {
    let platform = Arc::new(Platform::start(3).await);
    let acme = platform.tenant("acme").await;
    let tenant = key(acme.tenant, "acme", ReplayMode::OneTime);
    let token = platform.token(&acme).await;
    let tasks = TaskTracker::new();
    let uses: Vec<_> = (0..10_000_u32)
        .map(|n| {
            let (platform, tenant, token) = (Arc::clone(&platform), tenant.clone(), token.clone());
            let peer = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + (n % 500) * 256));
            let replica = usize::try_from(n % 3).unwrap();
            tasks.spawn(async move { platform.present(replica, &token, peer, &tenant).await })
        })
        .collect();
    let mut accepted = 0;
    for one in uses {
        match one.await.unwrap() {
            Ok(_) => accepted += 1,
            Err(error) => assert!(matches!(error, TokenError::Spent), "{error:?}"),
        }
    }
    assert_eq!(accepted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_stays_with_its_network_on_every_replica() {
    let platform = Platform::start(3).await;
    let acme = platform.tenant("acme").await;
    let globex = platform.tenant("globex").await;
    let tenant = key(acme.tenant, "acme", ReplayMode::Network);
    let token = platform.token(&acme).await;
    for replica in 0..3 {
        let own = platform
            .present(replica, &token, HERE, &tenant)
            .await
            .unwrap();
        assert_eq!(own.client_id(), Some(acme.principal.to_string().as_str()));
        let stolen = platform.present(replica, &token, ELSEWHERE, &tenant).await;
        assert!(matches!(stolen, Err(TokenError::Replayed)), "{replica}");
    }
    let other = key(globex.tenant, "globex", ReplayMode::Network);
    let foreign = platform.present(0, &token, HERE, &other).await;
    assert!(matches!(foreign, Err(TokenError::Audience)));
    platform.clock.advance(Duration::seconds(661));
    let late = platform.present(0, &token, HERE, &tenant).await;
    assert!(matches!(late, Err(TokenError::Expired)));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_id_is_bound_once_a_tenant_and_issuer() {
    let platform = Platform::start(0).await;
    let acme = platform.tenant("acme").await;
    let globex = platform.tenant("globex").await;
    let binding = |issuer: &str, hash: u8, kind| Binding {
        tenant: acme.tenant,
        issuer: issuer.to_owned(),
        token_id: "é".repeat(128),
        hash: [hash; 32],
        kind,
        used_at: at(0),
        keep_until: at(900),
    };
    let bind = async |binding| platform.store.bind(binding).await.unwrap();
    let network = BindingKind::Network;
    assert_eq!(bind(binding("a", 1, network)).await, Use::First);
    assert_eq!(bind(binding("a", 1, network)).await, Use::Same);
    assert_eq!(bind(binding("a", 2, network)).await, Use::Different);
    assert_eq!(
        bind(binding("a", 1, BindingKind::OneTime)).await,
        Use::Different
    );
    assert_eq!(bind(binding("b", 1, network)).await, Use::First);
    let foreign = Binding {
        tenant: globex.tenant,
        ..binding("a", 2, network)
    };
    assert_eq!(bind(foreign).await, Use::First);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_no_token_is_accepted_for_the_first_time() {
    let platform = Platform::start(1).await;
    let acme = platform.tenant("acme").await;
    let tenant = key(acme.tenant, "acme", ReplayMode::Network);
    let (known, fresh) = (platform.token(&acme).await, platform.token(&acme).await);
    platform.present(0, &known, HERE, &tenant).await.unwrap();
    platform.bindings[0].close().await;
    assert!(platform.present(0, &known, HERE, &tenant).await.is_ok());
    for token in [&known, &fresh] {
        let refused = platform.present(0, token, ELSEWHERE, &tenant).await;
        assert!(matches!(refused, Err(TokenError::Unavailable(_))));
    }
    let refused = platform.present(0, &fresh, HERE, &tenant).await;
    assert!(matches!(refused, Err(TokenError::Unavailable(_))));
}
