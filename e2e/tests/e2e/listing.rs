//! What a caller sees and may call: grants, scopes of the token, step-up.

use portcullis_e2e::agent::PATIENCE;
use portcullis_e2e::{Era, Grants, Http, McpClient, Platform, Reply, wait};
use serde_json::{Value, json};

use crate::answers::{assert_result, comparable, fresh_trace};

fn shared() -> &'static Platform {
    Platform::shared().unwrap()
}

#[tokio::test]
async fn a_listing_is_private_and_complete_in_both_eras() {
    let modern = shared().caller("acme").await.unwrap();
    let legacy = modern.clone().speaking(Era::Legacy);
    for client in [modern, legacy] {
        let reply = client.send("tools/list", json!({})).await.unwrap();
        assert_eq!(
            reply.at("/result/cacheScope"),
            "private",
            "{}",
            reply.told()
        );
        assert_eq!(
            client.list().await.unwrap(),
            ["orders.export", "orders.get"]
        );
        for tool in reply.at("/result/tools").as_array().unwrap() {
            let closed = tool.pointer("/inputSchema/additionalProperties");
            assert_eq!(closed, Some(&Value::Bool(false)), "{tool}");
            assert!(tool["outputSchema"].is_object(), "{tool}");
            assert_eq!(tool["annotations"]["readOnlyHint"], true, "{tool}");
        }
    }
}

#[tokio::test]
async fn a_principal_without_grants_sees_and_calls_nothing() {
    let agent = shared().agent("acme", &Grants::of(&[])).await.unwrap();
    let reply = agent
        .ask_for_token(&Http::new().unwrap(), None)
        .await
        .unwrap();
    // Whether such a principal gets a token at all is the token endpoint's business; with one it
    // sees nothing.
    if reply.status == 200 {
        let client = agent.caller().await.unwrap();
        assert_eq!(client.list().await.unwrap(), Vec::<String>::new());
        let call = client
            .call("orders.get", json!({"orderId": "none"}))
            .await
            .unwrap();
        assert_eq!(call.error_code(), Some(-32_602), "{}", call.told());
    } else {
        assert_eq!(
            (reply.status, reply.json()["error"].clone()),
            (400, json!("invalid_scope"))
        );
    }
}

#[tokio::test]
async fn a_listing_of_one_caller_is_never_given_to_another() {
    let platform = shared();
    let granted = platform.caller("acme").await.unwrap();
    let other = platform
        .agent("acme", &Grants::of(&["flags.read"]))
        .await
        .unwrap();
    let other = other.caller().await.unwrap();
    for _ in 0..20 {
        let (orders, flags) = tokio::join!(granted.list(), other.list());
        assert_eq!(orders.unwrap(), ["orders.export", "orders.get"]);
        assert_eq!(flags.unwrap(), ["flag.get"]);
    }
}

#[tokio::test]
async fn a_tool_without_a_grant_is_exactly_as_a_tool_that_does_not_exist() {
    let agent = shared()
        .agent("acme", &Grants::of(&["reports.read"]))
        .await
        .unwrap();
    let client = agent.caller().await.unwrap();
    assert_eq!(client.list().await.unwrap(), Vec::<String>::new());
    for era in [Era::Modern, Era::Legacy] {
        let client = client.clone().speaking(era);
        let mut seen = Vec::new();
        for name in ["orders.get", "orders.got"] {
            for arguments in [json!({"orderId": "none"}), json!({"evil": 1})] {
                let reply = client.call(name, arguments).await.unwrap();
                assert_eq!(reply.status, 200, "{}", reply.told());
                assert_eq!(reply.error_code(), Some(-32_602), "{}", reply.told());
                seen.push(comparable(&reply).replace(name, "TOOL"));
            }
        }
        seen.dedup();
        assert_eq!(seen.len(), 1, "{seen:#?}");
    }
    let mut seen = Vec::new();
    for name in ["orders.get", "orders.got"] {
        let request = Http::new()
            .unwrap()
            .post(&shared().tool_url("acme", name))
            .bearer_auth(client.token())
            .json(&json!({"orderId": "none"}));
        let reply = Reply::to(request).await.unwrap();
        assert_eq!(reply.status, 404, "{}", reply.told());
        seen.push(comparable(&reply).replace(name, "TOOL"));
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn a_token_without_the_granted_scope_is_asked_to_step_up() {
    let platform = shared();
    let grants = Grants::of(&["orders.read", "flags.read"]);
    let agent = platform.agent("acme", &grants).await.unwrap();
    agent.caller().await.unwrap();
    let http = Http::new().unwrap();
    let narrow = agent
        .ask_for_token(&http, Some("flags.read"))
        .await
        .unwrap();
    assert_eq!(narrow.status, 200, "{}", narrow.told());
    let token = narrow.json()["access_token"].as_str().unwrap().to_owned();
    let client = McpClient::new(&http, agent.mcp_url().to_owned(), token);
    let listed = client.list().await.unwrap();
    assert!(
        listed.contains(&"orders.get".to_owned()),
        "a granted tool is listed: {listed:?}"
    );
    for era in [Era::Modern, Era::Legacy] {
        let client = client.clone().speaking(era);
        let reply = client
            .call("orders.get", json!({"orderId": "none"}))
            .await
            .unwrap();
        assert_step_up(platform, &reply);
    }
    let plain = http
        .post(&platform.tool_url("acme", "orders.get"))
        .bearer_auth(client.token())
        .json(&json!({"orderId": "none"}));
    assert_step_up(platform, &Reply::to(plain).await.unwrap());
    let wide = agent
        .ask_for_token(&http, Some("orders.read"))
        .await
        .unwrap();
    let client = client.with_token(wide.json()["access_token"].as_str().unwrap());
    assert_result(
        &client
            .call("orders.get", json!({"orderId": "none"}))
            .await
            .unwrap(),
    );
}

#[track_caller]
fn assert_step_up(platform: &Platform, reply: &Reply) {
    assert_eq!(reply.status, 403, "{}", reply.told());
    let metadata = format!(
        "resource_metadata=\"{}/.well-known/oauth-protected-resource/t/acme/mcp\"",
        platform.url()
    );
    let challenge = reply.header("www-authenticate").unwrap_or_default();
    for part in [
        "Bearer ",
        "error=\"insufficient_scope\"",
        "scope=\"orders.read\"",
        &metadata,
    ] {
        assert!(challenge.contains(part), "{part}: {}", reply.told());
    }
}

#[tokio::test]
async fn a_scope_that_is_not_granted_is_not_issued() {
    let agent = shared().agent("acme", &Grants::default()).await.unwrap();
    let http = Http::new().unwrap();
    for scope in [
        "flags.read",
        "orders.read flags.read",
        "*",
        "orders.*",
        "orders.read:eu",
    ] {
        let reply = agent.ask_for_token(&http, Some(scope)).await.unwrap();
        assert_eq!(reply.status, 400, "{scope}: {}", reply.told());
        assert_eq!(reply.json()["error"], "invalid_scope", "{scope}");
    }
}

#[tokio::test]
async fn a_revoked_grant_takes_the_tool_away_from_a_token_that_still_has_the_scope() {
    let platform = shared();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let client = agent.caller().await.unwrap();
    assert_eq!(client.list().await.unwrap().len(), 2);
    let owner = platform.owner("acme").unwrap();
    let path = format!("/tenants/acme/principals/{}/grants", agent.client_id);
    let held = owner.get(&path).await.unwrap();
    let id = held.at("/items/0/id").as_str().unwrap().to_owned();
    let gone = owner.request(reqwest::Method::DELETE, &format!("{path}/{id}"));
    assert!(Reply::to(gone).await.unwrap().status < 300);
    wait::until("the end of a grant", PATIENCE, || async {
        Ok(client.list().await?.is_empty().then_some(()))
    })
    .await
    .unwrap();
    let call = client
        .call("orders.get", json!({"orderId": "none"}))
        .await
        .unwrap();
    assert_eq!(call.error_code(), Some(-32_602), "{}", call.told());
}

#[tokio::test]
async fn a_suspended_principal_is_refused_with_a_token_that_is_still_good() {
    let platform = shared();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let client = agent.caller().await.unwrap();
    let owner = platform.owner("acme").unwrap();
    let path = format!("/tenants/acme/principals/{}", agent.client_id);
    owner
        .patch(&path, &json!({"status": "suspended"}))
        .await
        .unwrap();
    wait::until("the suspension", PATIENCE, || async {
        let reply = client
            .call("orders.get", json!({"orderId": "none"}))
            .await?;
        Ok((reply.status != 200 || reply.is_tool_error()).then_some(()))
    })
    .await
    .unwrap();
    let token = agent
        .ask_for_token(&Http::new().unwrap(), None)
        .await
        .unwrap();
    assert!(
        [400, 401].contains(&token.status),
        "no new token either: {}",
        token.told()
    );
}

#[tokio::test]
async fn every_refusal_after_the_door_leaves_one_record() {
    let platform = shared();
    let client = platform.caller("acme").await.unwrap();
    let owner = platform.owner("acme").unwrap();
    for (tool, arguments) in [
        ("orders.get", json!({"orderId": "none", "evil": 1})),
        ("orders.got", json!({})),
        (
            "orders.export",
            json!({"from": "2025-08-31", "to": "2025-08-25"}),
        ),
    ] {
        let trace = fresh_trace();
        let reply = client.call_traced(tool, arguments, &trace).await.unwrap();
        let records = owner.records("acme", &trace).await.unwrap();
        assert_eq!(records.len(), 1, "{tool}: {} {records:?}", reply.told());
    }
}
