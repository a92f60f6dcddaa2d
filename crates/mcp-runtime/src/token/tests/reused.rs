//! Second uses: from where, how often, on which replica, and what the database has to do with it.

use futures_util::future::join_all;
use portcullis_domain::ReplayMode;
use portcullis_domain::caller::AuthStrength;
use portcullis_domain::id::Id;
use portcullis_wire::Slug;
use time::Duration;

use crate::token::testing::{
    ISSUER, KEYS, Platform, PrivateKey, accept, acme, claims, headers, token,
};
use crate::token::{NetworkPrefix, Presented, TenantKey, TokenError, TrustedProxies};

const HERE: &str = "192.0.2.1";
const ELSEWHERE: &str = "198.51.100.1";

#[tokio::test]
async fn a_token_costs_one_round_trip_a_replica() {
    let platform = Platform::new(2);
    let tenant = acme(ReplayMode::Network);
    let token = token("t1");
    for replica in [0, 0, 0, 1, 1, 0, 1] {
        let verified = platform.present(replica, &token, HERE, &tenant).await;
        let verified = verified.unwrap();
        assert_eq!(verified.subject().as_str(), "agent:copilot");
        assert_eq!(verified.auth(), AuthStrength::Bearer);
        assert_eq!(verified.tenant(), tenant.id);
    }
    assert_eq!(platform.bindings.asked(), 2);
}

#[tokio::test]
async fn a_token_from_another_network_is_replayed_on_every_replica() {
    let platform = Platform::new(3);
    let tenant = acme(ReplayMode::Network);
    let token = token("t1");
    platform.present(0, &token, HERE, &tenant).await.unwrap();
    for replica in [0, 1, 2, 0, 1, 2] {
        let stolen = platform.present(replica, &token, ELSEWHERE, &tenant).await;
        let error = stolen.unwrap_err();
        assert!(matches!(error, TokenError::Replayed), "{error}");
        assert_eq!(error.slug(), Slug::TokenReplayed);
    }
    // The thief's attempts do not take the token from its owner, nor hammer the database: each
    // replica asked once for either network.
    for replica in 0..3 {
        let own = platform.present(replica, &token, HERE, &tenant).await;
        assert!(own.is_ok());
    }
    assert_eq!(platform.bindings.asked(), 6);
}

#[tokio::test]
async fn networks_are_compared_by_the_tenants_prefix() {
    let platform = Platform::new(1);
    let wide = TenantKey {
        prefix: NetworkPrefix::default(),
        ..acme(ReplayMode::Network)
    };
    let token = token("t1");
    let present = |peer| platform.present(0, &token, peer, &wide);
    present("192.0.2.1").await.unwrap();
    present("192.0.2.254").await.unwrap();
    present("::ffff:192.0.2.7").await.unwrap();
    for peer in ["192.0.3.1", "2001:db8::1", "::192.0.2.1"] {
        assert!(
            matches!(present(peer).await, Err(TokenError::Replayed)),
            "{peer}"
        );
    }
}

#[tokio::test]
async fn a_client_behind_a_trusted_proxy_is_known_by_its_own_address() {
    let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
    let platform = Platform::behind(1, proxies);
    let tenant = acme(ReplayMode::Network);
    let token = token("t1");
    let present = async |peer: [u8; 4], chain: Option<&str>| {
        let headers = headers(&token, chain);
        let presented = Presented::of(&headers, peer.into());
        accept(&platform.replicas[0], &presented, &tenant).await
    };
    let proxy = [10, 0, 0, 1];
    present(proxy, Some("for=192.0.2.1")).await.unwrap();
    present([10, 0, 0, 2], Some("for=192.0.2.1")).await.unwrap();
    let other = present(proxy, Some("for=192.0.2.1, for=198.51.100.1")).await;
    assert!(matches!(other, Err(TokenError::Replayed)));
    let direct = present([198, 51, 100, 1], Some("for=192.0.2.1")).await;
    assert!(matches!(direct, Err(TokenError::Replayed)));
    for chain in [None, Some("for=unknown"), Some("for=\"")] {
        let hidden = present(proxy, chain).await;
        assert!(
            matches!(hidden, Err(TokenError::ClientUnknown)),
            "{chain:?}"
        );
    }
}

#[tokio::test]
async fn a_one_time_token_is_accepted_once_over_all_replicas() {
    let platform = Platform::new(3);
    let tenant = acme(ReplayMode::OneTime);
    let token = token("t1");
    let uses = (0..600).map(|n| platform.present(n % 3, &token, HERE, &tenant));
    let outcomes = join_all(uses).await;
    let accepted: Vec<_> = outcomes.iter().flatten().collect();
    assert_eq!(accepted.len(), 1);
    assert_eq!(accepted[0].auth(), AuthStrength::OneTime);
    for outcome in &outcomes {
        assert!(matches!(outcome, Ok(_) | Err(TokenError::Spent)));
    }
    // Waiting for the first answer spares the database the rest.
    assert_eq!(platform.bindings.asked(), 3);
}

#[tokio::test]
async fn a_spent_token_stays_spent_whatever_the_tenant_chooses_next() {
    let platform = Platform::new(2);
    let token = token("t1");
    let once = acme(ReplayMode::OneTime);
    platform.present(0, &token, HERE, &once).await.unwrap();
    for mode in [ReplayMode::OneTime, ReplayMode::Network] {
        for replica in 0..2 {
            for peer in [HERE, ELSEWHERE] {
                let again = platform.present(replica, &token, peer, &acme(mode)).await;
                let refused = matches!(again, Err(TokenError::Spent | TokenError::Replayed));
                assert!(refused, "{mode} {replica} {peer}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_that_was_used_before_the_tenant_chose_one_time_is_spent() {
    let platform = Platform::new(2);
    let token = token("t1");
    let network = acme(ReplayMode::Network);
    platform.present(0, &token, HERE, &network).await.unwrap();
    for replica in 0..2 {
        let once = acme(ReplayMode::OneTime);
        let again = platform.present(replica, &token, HERE, &once).await;
        assert!(matches!(again, Err(TokenError::Spent)));
    }
}

#[tokio::test]
async fn a_tenant_that_wants_a_proof_gets_no_plain_bearer_token() {
    let platform = Platform::new(1);
    let token = token("t1");
    let network = acme(ReplayMode::Network);
    platform.present(0, &token, HERE, &network).await.unwrap();
    let strict = acme(ReplayMode::SenderConstrained);
    let refused = platform.present(0, &token, HERE, &strict).await;
    assert!(matches!(refused, Err(TokenError::BearerRefused)));
    let fresh = crate::token::testing::token("t2");
    let refused = platform.present(0, &fresh, HERE, &strict).await;
    assert!(matches!(refused, Err(TokenError::BearerRefused)));
    assert_eq!(platform.bindings.asked(), 1);
}

#[tokio::test]
async fn a_remembered_token_is_unknown_at_another_tenants_url() {
    let platform = Platform::new(1);
    let tenant = acme(ReplayMode::Network);
    let token = token("t1");
    platform.present(0, &token, HERE, &tenant).await.unwrap();
    let globex = TenantKey {
        id: Id::mint(time::OffsetDateTime::UNIX_EPOCH, [2; 10]),
        audience: "https://gate.example.com/t/globex/mcp".to_owned(),
        ..tenant.clone()
    };
    let foreign = platform.present(0, &token, HERE, &globex).await;
    assert!(matches!(foreign, Err(TokenError::Audience)));
    let moved = TenantKey {
        audience: "https://new.example.com/t/acme/mcp".to_owned(),
        ..tenant
    };
    let elsewhere = platform.present(0, &token, HERE, &moved).await;
    assert!(matches!(elsewhere, Err(TokenError::Audience)));
}

#[tokio::test]
async fn one_token_id_of_two_tenants_or_issuers_is_two_tokens() {
    const OTHER: &str = "https://other.example.com";
    let platform = Platform::new(1);
    let key = PrivateKey::ed();
    platform.issuers.add(OTHER, "eddsa", &key);
    let once = acme(ReplayMode::OneTime);
    let own = token("t1");
    let mut foreign = claims("t1");
    foreign["iss"] = OTHER.into();
    let header = crate::token::testing::header("eddsa");
    let foreign = key.token(&header, &foreign.to_string());
    assert!(platform.present(0, &own, HERE, &once).await.is_ok());
    assert!(platform.present(0, &foreign, HERE, &once).await.is_ok());
    let other_tenant = TenantKey {
        id: Id::mint(time::OffsetDateTime::UNIX_EPOCH, [2; 10]),
        ..once.clone()
    };
    assert!(platform.present(0, &own, HERE, &other_tenant).await.is_ok());
    assert!(platform.present(0, &own, HERE, &once).await.is_err());
}

/// Two signatures of one token are two texts, but one token id.
#[tokio::test]
async fn a_second_text_of_one_token_id_is_a_second_use() {
    let platform = Platform::new(1);
    let once = acme(ReplayMode::OneTime);
    let signed = |_: u8| {
        let header = crate::token::testing::header("es256");
        KEYS["es256"].token(&header, &claims("t1").to_string())
    };
    let (first, second) = (signed(1), signed(2));
    assert_ne!(first, second);
    platform.present(0, &first, HERE, &once).await.unwrap();
    let again = platform.present(0, &second, HERE, &once).await;
    assert!(matches!(again, Err(TokenError::Spent)));
}

#[tokio::test]
async fn a_remembered_token_expires_all_the_same() {
    let platform = Platform::new(1);
    let tenant = acme(ReplayMode::Network);
    let token = token("t1");
    platform.present(0, &token, HERE, &tenant).await.unwrap();
    platform.clock.advance(Duration::seconds(660));
    assert!(platform.present(0, &token, HERE, &tenant).await.is_ok());
    platform.clock.advance(Duration::seconds(1));
    for _ in 0..2 {
        let late = platform.present(0, &token, HERE, &tenant).await;
        assert!(matches!(late, Err(TokenError::Expired)));
    }
}

#[tokio::test]
async fn a_withdrawn_key_takes_remembered_tokens_with_it() {
    let platform = Platform::new(1);
    let tenant = acme(ReplayMode::Network);
    let token = token("t1");
    platform.present(0, &token, HERE, &tenant).await.unwrap();
    platform.issuers.withdraw(ISSUER, "eddsa");
    let refused = platform.present(0, &token, HERE, &tenant).await;
    assert!(matches!(refused, Err(TokenError::UnknownKey)));
    // Another key under the same id does not bring them back.
    platform.issuers.add(ISSUER, "eddsa", &PrivateKey::ed());
    let refused = platform.present(0, &token, HERE, &tenant).await;
    assert!(matches!(refused, Err(TokenError::Signature)));
}

#[tokio::test(start_paused = true)]
async fn a_database_that_fails_or_hangs_refuses_and_leaves_nothing_behind() {
    let platform = Platform::new(1);
    let token = token("t1");
    for mode in [ReplayMode::Network, ReplayMode::OneTime] {
        let tenant = acme(mode);
        platform.bindings.set_broken(true);
        let failed = platform
            .present(0, &token, HERE, &tenant)
            .await
            .unwrap_err();
        assert!(matches!(failed, TokenError::Unavailable(_)));
        assert_eq!(failed.slug(), Slug::Unavailable);
        assert_eq!(failed.bearer_error(), None);
        platform.bindings.set_broken(false);
        platform.bindings.set_stuck(true);
        let both = join_all([0, 0].map(|at| platform.present(at, &token, HERE, &tenant))).await;
        for hung in both {
            assert!(matches!(hung, Err(TokenError::Unavailable(_))));
        }
        platform.bindings.set_stuck(false);
    }
    let tenant = acme(ReplayMode::OneTime);
    assert!(platform.present(0, &token, HERE, &tenant).await.is_ok());
}

#[tokio::test]
async fn a_burst_of_first_uses_asks_the_database_once_a_network() {
    let platform = Platform::new(1);
    let tenant = acme(ReplayMode::Network);
    let token = token("t1");
    let outcomes = join_all((0..200).map(|n| {
        let peer = if n % 2 == 0 { HERE } else { ELSEWHERE };
        platform.present(0, &token, peer, &tenant)
    }))
    .await;
    assert_eq!(platform.bindings.asked(), 2, "once for each network");
    let accepted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(accepted, 100, "one of the two networks, and all of it");
}

#[tokio::test]
async fn a_refused_token_is_never_remembered_as_a_good_one() {
    let platform = Platform::new(1);
    let tenant = acme(ReplayMode::Network);
    let mut early = claims("t1");
    early["nbf"] = (crate::token::testing::NOW + 100).into();
    let early = crate::token::testing::token_of(&early);
    let refused = platform.present(0, &early, HERE, &tenant).await;
    assert!(matches!(refused, Err(TokenError::NotYetValid)));
    assert_eq!(
        platform.bindings.asked(),
        0,
        "an invalid token binds nothing"
    );
    platform.clock.advance(Duration::seconds(60));
    assert!(platform.present(0, &early, HERE, &tenant).await.is_ok());
}

#[tokio::test]
async fn every_refusal_says_what_is_wrong_and_what_to_do() {
    let platform = Platform::new(1);
    let tenant = acme(ReplayMode::Network);
    let refused = platform
        .present(0, "nonsense", HERE, &tenant)
        .await
        .unwrap_err();
    assert_eq!(refused.slug().status(), 401);
    assert_eq!(refused.bearer_error(), Some("invalid_token"));
    assert_eq!(
        refused.to_string(),
        "the access token cannot be read: its structure is malformed"
    );
    assert!(!refused.remedy().is_empty());
    let nothing = http::HeaderMap::new();
    let presented = Presented::of(&nothing, [127, 0, 0, 1].into());
    let missing = accept(&platform.replicas[0], &presented, &tenant).await;
    let missing = missing.unwrap_err();
    assert_eq!(missing.slug(), Slug::TokenMissing);
    assert_eq!(missing.bearer_error(), None);
}
