//! Kill switches, from the drop in the database to the calls that they stop, over a replica that follows
//! the epoch: what each refuses, what it leaves alone, and what becomes of calls under way.

use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use portcullis_domain::{Pool, SwitchKind};
use serde_json::json;

use crate::platform::{Agent, Platform, json_of};
use crate::writes::{COUNTER, REMOTE};

const LONG: Duration = Duration::from_mins(1);

/// Calls, and says what refused the call.
async fn refused_as(platform: &Platform) -> String {
    let (status, body) = platform.call("leaks").await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    let kind = body["type"].as_str().unwrap();
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("odd exports were seen"), "why: {body}");
    assert!(detail.contains("2025-10-09T"), "since when: {body}");
    let remedy = body["remedy"].as_str().unwrap();
    assert!(remedy.contains("user:operator"), "whom to ask: {body}");
    kind.rsplit('/').next().unwrap().to_owned()
}

async fn passes(platform: &Platform) {
    let (status, body) = platform.call("leaks").await;
    assert_eq!(status, StatusCode::OK, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_switch_refuses_the_next_call_and_lifted_lets_it_pass() {
    let platform = Platform::start(LONG).await;
    let _following = platform.follow().await;
    passes(&platform).await;
    for (kind, target, slug) in [
        (SwitchKind::TenantFreeze, None, "tenant-frozen"),
        (
            SwitchKind::PrincipalSuspension,
            Some("agent:copilot"),
            "principal-suspended",
        ),
        (
            SwitchKind::ToolQuarantine,
            Some("orders.get"),
            "tool-quarantined",
        ),
        (
            SwitchKind::ServerQuarantine,
            Some("native"),
            "server-quarantined",
        ),
    ] {
        let row = platform.drop_switch(kind, target).await;
        assert_eq!(refused_as(&platform).await, slug);
        platform.lift(&row).await;
        passes(&platform).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_leaves_alone_what_it_does_not_name() {
    let platform = Platform::start(LONG).await;
    let _following = platform.follow().await;
    for (kind, target) in [
        (SwitchKind::PlatformReadOnly, None),
        (SwitchKind::TenantReadOnly, None),
        (SwitchKind::ToolQuarantine, Some("orders.export")),
        (SwitchKind::ServerQuarantine, Some("orders")),
        (SwitchKind::PrincipalSuspension, Some("agent:pilot")),
    ] {
        platform.drop_switch(kind, target).await;
        passes(&platform).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_in_validate_is_recorded_and_one_at_the_door_is_counted() {
    let platform = Platform::start(LONG).await;
    let _following = platform.follow().await;
    platform
        .drop_switch(SwitchKind::ToolQuarantine, Some("orders.get"))
        .await;
    assert_eq!(refused_as(&platform).await, "tool-quarantined");
    let records = platform.records().await;
    let outcome = &records[0].1["body"]["outcome"];
    assert_eq!(outcome["status"], "refused", "{outcome}");
    assert_eq!(outcome["problem"], "tool-quarantined", "{outcome}");
    platform.drop_switch(SwitchKind::TenantFreeze, None).await;
    assert_eq!(refused_as(&platform).await, "tenant-frozen");
    assert_eq!(platform.records().await.len(), 1, "counted, not recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_mcp_a_quarantined_tool_is_listed_and_its_call_answers_deny() {
    let platform = Platform::start(LONG).await;
    let _following = platform.follow().await;
    platform
        .drop_switch(SwitchKind::ToolQuarantine, Some("orders.get"))
        .await;
    let (status, listed) = platform.rpc("tools/list", json!({})).await;
    assert_eq!(status, StatusCode::OK, "{listed}");
    let tools = listed["result"]["tools"].as_array().unwrap();
    assert!(tools.iter().any(|tool| tool["name"] == "orders.get"));
    let call = json!({ "name": "orders.get", "arguments": { "orderId": "leaks" } });
    let (status, body) = platform.rpc("tools/call", call.clone()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let result = &body["result"];
    assert_eq!(result["isError"], true, "{body}");
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(
        text.starts_with(
            "DENY: the switch tool-quarantine on orders.get is down since 2025-10-09T"
        ),
        "{text}"
    );
    let problem = &result["_meta"]["dev.portcullis/problem"];
    assert_eq!(problem["type"], "/problems/tool-quarantined");
    assert_eq!(problem["facts"]["kind"], "tool-quarantine");

    platform.drop_switch(SwitchKind::TenantFreeze, None).await;
    for (method, params) in [("tools/call", call), ("tools/list", json!({}))] {
        let (status, body) = platform.rpc(method, params).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
        assert_eq!(body["error"]["data"]["type"], "/problems/tenant-frozen");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_way_is_cancelled_and_recorded_before_the_drop_is_acknowledged() {
    let platform = Platform::start(LONG).await;
    let _following = platform.follow().await;
    let ((status, body), ()) = tokio::join!(platform.call("hangs"), async {
        platform.puppet.begun.notified().await;
        platform
            .drop_switch(SwitchKind::PrincipalSuspension, Some("agent:pilot"))
            .await;
        assert_eq!(platform.gate.switchboard.under_way(), 1, "its neighbour");
        platform
            .drop_switch(SwitchKind::ServerQuarantine, Some("native"))
            .await;
    });
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    assert_eq!(body["type"], "/problems/server-quarantined");
    let records = platform.records().await;
    assert_eq!(records.len(), 1);
    let outcome = &records[0].1["body"]["outcome"];
    assert_eq!(outcome["status"], "cancelled", "{outcome}");
    assert_eq!(outcome["problem"], "server-quarantined", "{outcome}");
    assert_eq!(platform.gate.switchboard.under_way(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_switch_is_ignored_before_anybody_lifts_it() {
    let platform = Platform::start(LONG).await;
    let _following = platform.follow().await;
    let end = platform.gate.clock.now() + time::Duration::MINUTE;
    platform
        .drop_until(SwitchKind::TenantFreeze, None, Some(end))
        .await;
    assert_eq!(refused_as(&platform).await, "tenant-frozen");
    platform.clock.advance(time::Duration::MINUTE);
    passes(&platform).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_is_confirmed_and_reloads_nothing() {
    let platform = Platform::start(LONG).await;
    let _following = platform.follow().await;
    passes(&platform).await;
    let before = platform.gate.snapshots.known("acme").await.unwrap();
    platform.drill().await;
    let after = platform.gate.snapshots.known("acme").await.unwrap();
    assert_eq!(before.epoch, after.epoch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_on_the_list_while_it_follows_and_not_after() {
    let platform = Platform::start(LONG).await;
    assert_eq!(platform.replicas().await, 0);
    let following = platform.follow().await;
    assert_eq!(platform.replicas().await, 1);
    following.end().await;
    assert_eq!(platform.replicas().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_never_confirmed_its_configuration_answers_no_call_and_says_so() {
    let platform = Platform::start(LONG).await;
    let response = platform.call_as_it_is("leaks").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key(RETRY_AFTER));
    let body = json_of(response).await;
    assert_eq!(body["type"], "/problems/configuration-stale", "{body}");
    let remedy = body["remedy"].as_str().unwrap();
    assert!(remedy.contains("10 s"), "{body}");
    let _following = platform.follow().await;
    let response = platform.call_as_it_is("leaks").await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_refuses_writes_before_anything_is_claimed_and_reads_go_on() {
    let platform = Platform::start(LONG).await;
    let _following = platform.follow().await;
    let row = platform.drop_switch(SwitchKind::TenantReadOnly, None).await;
    let add = json!({ "name": "a", "does": "ok" });
    let (status, body) = platform.write(Agent::One, COUNTER, "key", &add).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    assert_eq!(body["type"], "/problems/read-only", "{body}");
    passes(&platform).await;
    assert_eq!(platform.counter.runs(), 0);
    assert!(platform.claims().await.is_empty(), "the key is free");
    platform.lift(&row).await;
    let (status, body) = platform.write(Agent::One, COUNTER, "key", &add).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    platform
        .drop_switch(SwitchKind::PlatformReadOnly, None)
        .await;
    let (status, body) = platform.write(Agent::One, REMOTE, "other", &add).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    let remedy = body["remedy"].as_str().unwrap();
    assert!(remedy.contains("the platform's operator"), "{body}");
    assert!(!body.to_string().contains("user:operator"), "{body}");
    assert_eq!(platform.remote.effects(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_stopped_before_its_effect_is_cancelled_and_its_key_is_free() {
    let platform = Platform::start(LONG).await;
    let _following = platform.follow().await;
    let add = json!({ "name": "a", "does": "hangs-before" });
    let ((status, body), ()) =
        tokio::join!(platform.write(Agent::One, REMOTE, "key", &add), async {
            platform.remote.begun.notified().await;
            platform.drop_switch(SwitchKind::TenantReadOnly, None).await;
        });
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    assert_eq!(body["type"], "/problems/read-only", "{body}");
    assert_eq!(platform.remote.effects(), 0);
    assert!(platform.claims().await.is_empty());
    let records = platform.records().await;
    let outcome = &records[0].1["body"]["outcome"];
    assert_eq!(outcome["status"], "cancelled", "{outcome}");
    assert_eq!(outcome["problem"], "read-only", "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_stopped_before_its_commit_is_rolled_back_and_its_key_is_free() {
    let platform = Platform::start(LONG).await;
    let _following = platform.follow().await;
    let before = platform.orders(Pool::EuWest).await;
    let add = json!({ "name": "stalls", "does": "ok" });
    let ((status, body), row) =
        tokio::join!(platform.write(Agent::One, COUNTER, "key", &add), async {
            platform.counter.begun.notified().await;
            let row = platform.drop_switch(SwitchKind::TenantReadOnly, None).await;
            platform.counter.go_on.notify_one();
            row
        });
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    assert_eq!(body["type"], "/problems/read-only", "{body}");
    assert_eq!(platform.orders(Pool::EuWest).await, before);
    assert!(platform.claims().await.is_empty());
    let records = platform.records().await;
    let outcome = &records[0].1["body"]["outcome"];
    assert_eq!(outcome["status"], "cancelled", "{outcome}");
    platform.lift(&row).await;
    platform.counter.go_on.notify_one();
    let (status, body) = platform.write(Agent::One, COUNTER, "key", &add).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(platform.orders(Pool::EuWest).await, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_stopped_after_its_effect_may_have_begun_is_unknown() {
    let platform = Platform::start(LONG).await;
    let _following = platform.follow().await;
    let add = json!({ "name": "a", "does": "hangs-after" });
    let ((_, body), ()) = tokio::join!(platform.write(Agent::One, REMOTE, "key", &add), async {
        platform.remote.begun.notified().await;
        platform
            .drop_switch(SwitchKind::PlatformReadOnly, None)
            .await;
    });
    assert_eq!(platform.remote.effects(), 1);
    let records = platform.records().await;
    let outcome = &records[0].1["body"]["outcome"];
    assert_eq!(outcome["status"], "unknown", "{outcome} {body}");
    assert_eq!(platform.claims().await.len(), 1, "an operator resolves it");
}
