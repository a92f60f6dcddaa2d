//! The outbound client as it is shipped: a public host is reached, and an attack lets nothing through.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

use portcullis_e2e::dns::Dns;
use portcullis_e2e::web::{Answer, Web};
use portcullis_e2e::{Platform, network};
use serde_json::json;

use crate::answers::assert_result;

const TOOL: &str = "web.fetchSafe";
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The one public address of the network that the test makes.
const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(93, 184, 216, 34));

#[test]
#[ignore = "needs root, for a network namespace of its own"]
fn a_public_host_is_fetched_as_the_platform_is_shipped_in_a_network_without_a_way_out() {
    network::alone(&[OUTSIDE], || async {
        let dns = Dns::start_at(SocketAddr::new(LOCAL, 53)).await?;
        // The host that the demo lists, at the address that the network has.
        dns.at("example.com", &[OUTSIDE]);
        dns.at("www.example.net", &[OUTSIDE]);
        let web = Web::start_at(SocketAddr::new(OUTSIDE, 80), |path| match path {
            "/away" => Answer::redirect("http://www.example.net/"),
            _ => Answer::text("hello from outside"),
        })
        .await?;
        let platform = Platform::start().await?;
        let client = platform.seeded("acme", "agent:copilot")?.caller().await?;
        let reply = client
            .call(TOOL, json!({"url": "http://example.com/"}))
            .await?;
        let result = assert_result(&reply);
        assert_eq!(
            (&result["status"], &result["text"]),
            (&json!(200), &json!("hello from outside"))
        );
        let asked = web.requests().len();
        assert_eq!(asked, 1);
        for url in [
            "http://example.com/away",
            "http://www.example.net/",
            "http://93.184.216.34/",
        ] {
            let reply = client.call(TOOL, json!({"url": url})).await?;
            assert!(
                reply.words().starts_with("DENY:"),
                "{url}: {}",
                reply.told()
            );
        }
        assert_eq!(
            web.requests().len(),
            asked + 1,
            "only the redirect was asked for"
        );
        Ok(())
    })
    .unwrap();
}

#[test]
fn the_attack_on_the_outbound_client_lets_nothing_through() {
    let attack = env!("CARGO_BIN_EXE_attack-egress");
    let output = Command::new(attack).arg("--short").output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    println!("{out}");
    assert!(
        output.status.success(),
        "{out}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for row in [
        "rebinding",
        "redirects",
        "bomb of 10 GiB, zstd",
        "slow answers",
        "nat64",
    ] {
        assert!(out.contains(row), "no row {row}");
    }
}
