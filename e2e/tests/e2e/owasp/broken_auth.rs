//! Who calls: no token, another tenant's, a stolen one, a guessed one.

use std::collections::BTreeSet;
use std::net::IpAddr;

use portcullis_e2e::agent::PATIENCE;
use portcullis_e2e::{Grants, Http, McpClient, Platform, Reply, wait};
use serde_json::json;

use crate::answers::{assert_result, assert_unauthorized, week};

#[tokio::test]
async fn owasp_broken_auth_a_tool_is_never_run_without_a_token_of_its_tenant() {
    let platform = Platform::shared().unwrap();
    let globex = platform.caller("globex").await.unwrap();
    let http = Http::new().unwrap();
    let service = platform.operator().owner_token("acme").unwrap();
    for token in [
        None,
        Some(globex.token()),
        Some("x"),
        Some(service.as_str()),
    ] {
        for url in [
            platform.mcp_url("acme"),
            platform.tool_url("acme", "orders.export"),
        ] {
            let call = globex.body(
                "tools/call",
                json!({
                    "name": "orders.export", "arguments": week(),
                }),
            );
            let mut request = http.post(&url).json(&call);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let reply = Reply::to(request).await.unwrap();
            assert_eq!(reply.status, 401, "{url}: {}", reply.told());
            assert!(!reply.text().contains("orderId"), "{}", reply.told());
        }
    }
}

#[tokio::test]
async fn owasp_broken_auth_guessing_secrets_is_slowed_down_where_it_comes_from() {
    let platform = Platform::shared().unwrap();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let mut guess = agent.clone();
    guess.client_secret = format!("pcs_{}", "A".repeat(43));
    let elsewhere = Http::calling_from(IpAddr::from([127, 0, 0, 77])).unwrap();
    let mut statuses = BTreeSet::new();
    for _ in 0..100 {
        let reply = guess.ask_for_token(&elsewhere, None).await.unwrap();
        if reply.status == 429 {
            let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&seconds), "{}", reply.told());
        }
        statuses.insert(reply.status);
    }
    assert_eq!(statuses, BTreeSet::from([401, 429]));
    // The client itself, elsewhere, is not locked out by whoever guesses in its name.
    assert_eq!(
        agent
            .ask_for_token(&Http::new().unwrap(), None)
            .await
            .unwrap()
            .status,
        200
    );
}

#[tokio::test]
async fn owasp_broken_auth_a_replayed_jti_is_401_and_its_owner_goes_on() {
    let platform = Platform::start().await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    // Another network: what a stolen token is used from.
    let elsewhere = Http::calling_from(IpAddr::from([127, 0, 9, 9])).unwrap();
    let thief = McpClient::new(
        &elsewhere,
        client.url().to_owned(),
        client.token().to_owned(),
    );
    for _ in 0..2 {
        let replayed = thief.call("orders.export", week()).await.unwrap();
        assert_unauthorized(&replayed, "token-replayed");
        assert!(!replayed.text().contains("orderId"), "{}", replayed.told());
    }
    assert_result(&client.call("orders.export", week()).await.unwrap());
    // Where a tenant asks for tokens that work once, the second use is a replay wherever it is from.
    let owner = platform.owner("acme").unwrap();
    let once = json!({"replay": "one-time"});
    owner.patch("/tenants/acme", &once).await.unwrap();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let fresh = || async {
        let token = agent.token().await.unwrap();
        McpClient::new(&Http::new().unwrap(), agent.mcp_url().to_owned(), token)
    };
    let used = wait::until("a token that works once", PATIENCE, || async {
        let client = fresh().await;
        let reply = client.send("tools/list", json!({})).await?;
        Ok((reply.status == 200).then_some(client))
    })
    .await
    .unwrap();
    wait::until("the end of its only use", PATIENCE, || async {
        let again = used.send("tools/list", json!({})).await?;
        Ok((again.status == 401).then_some(again))
    })
    .await
    .map(|again| assert_unauthorized(&again, "token-replayed"))
    .unwrap();
}
