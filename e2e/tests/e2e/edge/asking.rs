//! How often one address may ask for a token.

use std::net::{IpAddr, SocketAddr};

use portcullis_e2e::raw::{self, RawReply};
use portcullis_e2e::{Agent, Grants, Http, Options, Platform};
use tokio::io::AsyncWriteExt;

use super::{connect_from, until_ended};

/// Five at once and one in ten seconds after that.
fn few() -> Options {
    Options::default()
        .with("PORTCULLIS_TOKENS_REQUEST_BURST", "5")
        .with("PORTCULLIS_TOKENS_REQUESTS_PER_MINUTE", "6")
}

async fn statuses(agent: &Agent, from: [u8; 4], times: usize) -> Vec<u16> {
    let http = Http::calling_from(IpAddr::from(from)).unwrap();
    let mut statuses = Vec::new();
    for _ in 0..times {
        let reply = agent.ask_for_token(&http, None).await.unwrap();
        if reply.status == 429 {
            let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=10).contains(&seconds), "{}", reply.told());
            assert_eq!(reply.at("/error"), "temporarily_unavailable");
            assert_eq!(reply.header("cache-control"), Some("no-store"));
            assert!(!reply.text().contains("127.0.0"), "{}", reply.told());
        }
        statuses.push(reply.status);
    }
    statuses
}

#[tokio::test]
async fn an_address_that_asks_too_often_waits_even_with_the_right_secret_and_no_other_does() {
    let platform = Platform::start_with(few()).await.unwrap();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let asked = statuses(&agent, [127, 0, 0, 61], 7).await;
    assert_eq!(asked, [200, 200, 200, 200, 200, 429, 429]);
    let elsewhere = statuses(&agent, [127, 0, 0, 62], 2).await;
    assert_eq!(elsewhere, [200, 200]);
    // It is the token endpoint's bound: calls with a token go on.
    let http = Http::calling_from(IpAddr::from([127, 0, 0, 61])).unwrap();
    let keys = http.get(&format!("{}/oauth/jwks.json", platform.url()));
    let keys = portcullis_e2e::Reply::to(keys).await.unwrap();
    assert_eq!(keys.status, 200, "{}", keys.told());
}

/// A request that proves nothing, from a peer that says for whom it asks.
async fn forwarded(address: SocketAddr, peer: [u8; 4], whom: &str) -> u16 {
    let mut stream = connect_from(peer, address).await.unwrap();
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("forwarded", whom),
    ];
    let request = raw::post(
        "/oauth/token",
        &address.to_string(),
        &headers,
        "grant_type=x",
    );
    stream.write_all(&request).await.unwrap();
    let text = until_ended(&mut stream).await;
    let digits = text.get(9..12).unwrap_or_default().to_owned();
    let reply = RawReply {
        status: digits.parse().unwrap(),
        text,
    };
    reply.status
}

#[tokio::test]
async fn behind_the_operators_proxy_each_client_is_counted_and_a_strangers_word_is_not_believed() {
    let options = few().with("PORTCULLIS_SERVER_TRUSTED_PROXIES", "127.0.0.70/32");
    let platform = Platform::start_with(options).await.unwrap();
    let address = platform.address().unwrap();
    let proxy = [127, 0, 0, 70];
    // One subscriber with many addresses.
    let mut seen = Vec::new();
    for number in 1..=7 {
        let whom = format!("for=\"[2001:db8::{number:x}]\"");
        seen.push(forwarded(address, proxy, &whom).await);
    }
    assert!(seen[..5].iter().all(|status| *status != 429), "{seen:?}");
    assert_eq!(seen[5..], [429, 429]);
    let another = forwarded(address, proxy, "for=\"[2001:db8:0:1::1]\"").await;
    assert_ne!(another, 429);
    let mut seen = Vec::new();
    for number in 1..=7 {
        let whom = format!("for=192.0.2.{number}");
        seen.push(forwarded(address, [127, 0, 0, 71], &whom).await);
    }
    assert_eq!(seen[5..], [429, 429], "{seen:?}");
}
