//! Policies in force: what is published decides the next calls, and what does not hold is refused
//! with its place.

use portcullis_e2e::agent::PATIENCE;
use portcullis_e2e::mcp::PROBLEM;
use portcullis_e2e::{McpClient, Platform, wait};
use serde_json::{Value, json};

use crate::answers::{assert_denied, assert_result, fresh_trace, week};

/// Publishes a policy and waits until the replica decides by it.
async fn publish(platform: &Platform, client: &McpClient, policy: &str, visible: &[&str]) {
    platform
        .owner("acme")
        .unwrap()
        .publish("acme", policy)
        .await
        .unwrap();
    wait::until("the new policy", PATIENCE, || async {
        Ok((client.list().await? == visible).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn what_no_rule_allows_is_denied_and_not_shown() {
    let platform = Platform::start().await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    let only_get = "- rule: gets\n  when: { tool: \"orders.get\" }\n  decision: allow\n";
    publish(&platform, &client, only_get, &["orders.get"]).await;
    let order = json!({"orderId": "none"});
    assert_result(&client.call("orders.get", order.clone()).await.unwrap());
    let trace = fresh_trace();
    let denied = client
        .call_traced("orders.export", week(), &trace)
        .await
        .unwrap();
    assert_denied(&denied, "policy-denied");
    assert_eq!(
        platform
            .owner("acme")
            .unwrap()
            .records("acme", &trace)
            .await
            .unwrap()
            .len(),
        1
    );
    // Another tenant's policy is another policy.
    let globex = platform.caller("globex").await.unwrap();
    assert_result(&globex.call("orders.export", week()).await.unwrap());
}

#[tokio::test]
async fn a_deny_wins_and_gives_its_rule_and_reason() {
    let platform = Platform::start().await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    let policy = "\
- rule: reads
  when: { tool.mutating: false }
  decision: allow
- rule: no-exports-to-the-us
  when: { tool: \"orders.export\", args.region: \"US\" }
  decision: deny
  reason: \"exports stay at home\"
";
    publish(&platform, &client, policy, &["orders.export", "orders.get"]).await;
    let mut arguments = week();
    arguments["region"] = json!("US");
    let mut seen = Value::Null;
    wait::until("the new rule", PATIENCE, || {
        let call = client.call("orders.export", arguments.clone());
        async move {
            let reply = call.await?;
            let rule = reply.meta(PROBLEM)["rule"].clone();
            Ok((rule == "no-exports-to-the-us").then_some(reply))
        }
    })
    .await
    .map(|reply| {
        assert_denied(&reply, "policy-denied");
        assert!(
            reply.words().contains("exports stay at home"),
            "{}",
            reply.words()
        );
        seen = reply.meta(PROBLEM);
    })
    .unwrap();
    assert!(seen["facts"].is_object(), "{seen}");
    assert_result(&client.call("orders.export", week()).await.unwrap());
}

#[tokio::test]
async fn a_call_that_needs_approval_is_refused_without_an_invented_id() {
    let platform = Platform::start().await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    let policy = "\
- rule: reads
  when: { tool.mutating: false }
  decision: allow
- rule: ask-first
  when: { tool: \"orders.export\" }
  decision: require_approval
  reason: \"a person looks at exports\"
";
    platform
        .owner("acme")
        .unwrap()
        .publish("acme", policy)
        .await
        .unwrap();
    let reply = wait::until("the new rule", PATIENCE, || {
        let call = client.call("orders.export", week());
        async move { Ok(Some(call.await?).filter(portcullis_e2e::Reply::is_tool_error)) }
    })
    .await
    .unwrap();
    assert_denied(&reply, "approval-required");
    let problem = reply.meta(PROBLEM);
    assert!(
        problem.get("approval").is_none(),
        "nothing can be approved yet: {problem}"
    );
}

#[tokio::test]
async fn redactions_of_a_policy_reach_every_row() {
    let platform = Platform::start().await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    let before = assert_result(&client.call("orders.export", week()).await.unwrap());
    let policy = "\
- rule: reads
  when: { tool.mutating: false }
  decision: allow
  redact:
    - { field: \"email\", mode: \"hash\" }
    - { field: \"phone\", mode: \"drop\" }
    - { field: \"customerName\", mode: \"mask\" }
";
    platform
        .owner("acme")
        .unwrap()
        .publish("acme", policy)
        .await
        .unwrap();
    // The caller's own mask would hide the hash behind stars.
    let mut arguments = week();
    arguments["mask"] = json!([]);
    let after = wait::until("the new redactions", PATIENCE, || {
        let call = client.call("orders.export", arguments.clone());
        async move {
            let result = call.await?.structured();
            let dropped = result["rows"][0].get("phone").is_none();
            Ok(Some(result).filter(|result| dropped && result["rows"].is_array()))
        }
    })
    .await
    .unwrap();
    let (before, after) = (
        before["rows"].as_array().unwrap(),
        after["rows"].as_array().unwrap(),
    );
    assert_eq!(before.len(), after.len());
    for (old, new) in before.iter().zip(after) {
        assert_eq!(old["orderId"], new["orderId"]);
        assert!(new.get("phone").is_none(), "{new}");
        assert_ne!(new["customerName"], old["customerName"], "{new}");
        let text = new.to_string();
        assert!(!text.contains("example."), "{text}");
    }
}

#[tokio::test]
async fn a_policy_that_does_not_hold_is_refused_with_line_and_column() {
    let platform = Platform::shared().unwrap();
    let owner = platform.owner("acme").unwrap();
    for (policy, line, words) in [
        (
            "- rule: a\n  whne: { tool: x }\n  decision: allow\n",
            2,
            "whne",
        ),
        ("- rule: a\n  decision: maybe\n", 2, "maybe"),
        (
            "- rule: a\n  when: { args.nothing.here: 1, subject.shoe: 9 }\n  decision: deny\n",
            2,
            "",
        ),
        (
            "- rule: a\n  decision: allow\n- rule: a\n  decision: deny\n",
            3,
            "a",
        ),
        ("- rule: [\n", 1, ""),
    ] {
        let reply = owner.draft("acme", policy).await.unwrap();
        let told = format!("{policy}: {}", reply.told());
        assert_eq!(reply.status, 422, "{told}");
        let text = reply.text();
        assert!(
            text.contains("\"line\"") && text.contains("\"column\""),
            "{told}"
        );
        assert!(text.contains(words), "{told}");
        assert!(
            text.contains(&format!("\"line\":{line}")) || line == 1,
            "{told}"
        );
    }
    let kept = owner.get("/tenants/acme/policies").await.unwrap();
    assert_eq!(
        kept.at("/items").as_array().unwrap().len(),
        1,
        "nothing was drafted"
    );
}

#[tokio::test]
async fn a_disabled_tool_is_as_one_that_does_not_exist() {
    let platform = Platform::start().await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    let owner = platform.owner("acme").unwrap();
    let path = "/tenants/acme/tools/orders.get";
    owner.patch(path, &json!({"enabled": false})).await.unwrap();
    wait::until("the end of the tool", PATIENCE, || async {
        Ok((client.list().await? == ["orders.export"]).then_some(()))
    })
    .await
    .unwrap();
    let call = client
        .call("orders.get", json!({"orderId": "none"}))
        .await
        .unwrap();
    assert_eq!(call.error_code(), Some(-32_602), "{}", call.told());
}
