//! Floods: refused with the time to come back, and never a fault.

use portcullis_e2e::{Grants, Http, McpClient, Platform, Reply};
use serde_json::json;
use tokio::task::JoinSet;

use crate::answers::{assert_result, week};

#[tokio::test]
async fn owasp_lack_of_limits_a_burst_is_429_and_never_5xx() {
    let platform = Platform::start().await.unwrap();
    let agent = platform.seeded("acme", "agent:copilot").unwrap();
    let client = agent.caller().await.unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..200 {
        let client = client.clone();
        calls.spawn(async move { client.call("orders.export", week()).await.unwrap() });
    }
    let replies = calls.join_all().await;
    let count = |status| {
        replies
            .iter()
            .filter(|reply| reply.status == status)
            .count()
    };
    assert_eq!(count(200) + count(429), 200, "nothing but 200 and 429");
    assert!(
        count(200) > 0 && count(429) > 0,
        "{} passed, {} did not",
        count(200),
        count(429)
    );
    for reply in replies.iter().filter(|reply| reply.status == 429) {
        let told = reply.told();
        let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{told}");
        assert!(
            reply
                .header("ratelimit")
                .is_some_and(|value| value.contains("r=0")),
            "{told}"
        );
        assert!(
            reply
                .header("ratelimit-policy")
                .is_some_and(|value| value.contains("q=")),
            "{told}"
        );
        let kind = reply.at("/error/data/type");
        let known = ["/problems/rate-limited", "/problems/concurrency-limited"];
        assert!(known.contains(&kind.as_str().unwrap_or_default()), "{told}");
    }
}

#[tokio::test]
async fn owasp_lack_of_limits_one_tenants_flood_is_not_anothers_limit() {
    let platform = Platform::start().await.unwrap();
    let flooder = platform
        .seeded("acme", "agent:copilot")
        .unwrap()
        .caller()
        .await
        .unwrap();
    let neighbour = platform.caller("globex").await.unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..400 {
        let client = flooder.clone();
        calls.spawn(async move {
            client
                .call("orders.get", json!({"orderId": "none"}))
                .await
                .unwrap()
                .status
        });
    }
    for _ in 0..20 {
        let reply = neighbour
            .call("orders.get", json!({"orderId": "none"}))
            .await
            .unwrap();
        assert_result(&reply);
    }
    assert!(calls.join_all().await.contains(&429));
}

#[tokio::test]
async fn owasp_lack_of_limits_a_smaller_limit_holds_within_moments() {
    let platform = Platform::shared().unwrap();
    let tight = Grants::default().and_limits(json!({
        "rpm": 1, "burst": 3, "concurrency": 5, "daily_cost_usd": 50,
    }));
    let agent = platform.agent("acme", &tight).await.unwrap();
    let token = agent.token().await.unwrap();
    let client = McpClient::new(&Http::new().unwrap(), agent.mcp_url().to_owned(), token);
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(client.send("tools/list", json!({})).await.unwrap().status);
    }
    // Until the replica knows the principal it answers 401; from then on, three and no more.
    let admitted = statuses.iter().filter(|status| **status == 200).count();
    assert!(admitted <= 3, "{statuses:?}");
}

#[tokio::test]
async fn owasp_lack_of_limits_what_is_too_large_is_refused_before_it_is_read() {
    let platform = Platform::shared().unwrap();
    let client = platform.caller("acme").await.unwrap();
    let http = Http::new().unwrap();
    let large = "a".repeat(2 << 20);
    for request in [
        http.post(client.url())
            .bearer_auth(client.token())
            .body(large.clone()),
        http.post(&format!("{}/oauth/token", platform.url()))
            .body(large.clone()),
        http.post(&format!("{}/api/v1/tenants", platform.url()))
            .bearer_auth(platform.operator().platform_token().unwrap())
            .header("content-type", "application/json")
            .body(large),
    ] {
        let reply = Reply::to(request.header("content-type", "application/json")).await;
        // Whoever goes on sending what nobody reads may be cut off.
        if let Ok(reply) = reply {
            assert!([413, 415, 400].contains(&reply.status), "{}", reply.told());
        }
    }
    assert_result(&client.call("orders.export", week()).await.unwrap());
}
