//! What a tool or a caller may do wrong, and what of it reaches anybody: nothing but a problem.

use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use portcullis_mcp_runtime::refusals;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::platform::Platform;

const LONG: Duration = Duration::from_mins(1);

/// The one record, its verdict and how it says that the call ended.
async fn only_record(platform: &Platform) -> (String, Value) {
    let records = platform.records().await;
    assert_eq!(records.len(), 1, "{records:?}");
    let (row, value) = records.into_iter().next().unwrap();
    (row.verdict, value["body"]["outcome"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_panics_takes_nothing_down_and_leaves_its_record() {
    let platform = Platform::start(LONG).await;
    let (status, body) = platform.call("panics").await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(body["trace_id"].is_string(), "{body}");
    assert!(!body.to_string().contains("dana"), "{body}");
    let (verdict, outcome) = only_record(&platform).await;
    assert_eq!(verdict, "allow");
    assert_eq!(outcome["status"], "failed");
    assert_eq!(outcome["problem"], "tool-failed");

    let (status, _) = platform.call("leaks").await;
    assert_eq!(status, StatusCode::OK, "the replica goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_hangs_is_cut_at_the_deadline_and_recorded() {
    let platform = Platform::start(Duration::from_millis(200)).await;
    let (status, _) = platform.call("hangs").await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    let (_, outcome) = only_record(&platform).await;
    assert_eq!(outcome["status"], "cancelled", "the deadline stopped it");
    assert_eq!(outcome["problem"], "deadline-exceeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_hangs_up_cancels_the_tool_and_the_record_is_closed() {
    let platform = Platform::start(LONG).await;
    tokio::select! {
        answer = platform.call("hangs") => panic!("answered: {answer:?}"),
        () = platform.puppet.begun.notified() => {}
    }
    // The call's own task goes on without its caller.
    platform.gate.tasks.close();
    platform.gate.tasks.wait().await;
    let (verdict, outcome) = only_record(&platform).await;
    assert_eq!(verdict, "allow");
    assert_eq!(outcome["status"], "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_outside_the_output_schema_is_withheld() {
    let platform = Platform::start(LONG).await;
    let (status, body) = platform.call("lies").await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(!body.to_string().contains("perhaps"), "{body}");
    let (_, outcome) = only_record(&platform).await;
    assert_eq!(outcome["status"], "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_tool_did_not_declare_is_masked_and_the_record_says_so() {
    let platform = Platform::start(LONG).await;
    let (status, body) = platform.call("leaks").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let order = &body["result"]["order"];
    assert_eq!(order["email"], "***@***", "policy's field");
    let note = order["note"].as_str().unwrap();
    assert!(!note.contains("4111") && !note.contains("23125"), "{note}");
    let records = platform.records().await;
    let redaction = &records[0].1["body"]["redaction"];
    assert_eq!(redaction["fields"]["order.email"], "mask", "{redaction}");
    assert!(redaction["pii_count"].as_u64().unwrap() >= 3, "{redaction}");
    let canonical = String::from_utf8_lossy(&records[0].0.canonical).into_owned();
    assert!(!canonical.contains("dana@"), "{canonical}");
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_are_refused_are_recorded_without_their_values() {
    let platform = Platform::start(LONG).await;
    let (status, body) = platform.call("dana@example.com").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    assert!(!body.to_string().contains("dana"), "{body}");
    let records = platform.records().await;
    assert_eq!(records[0].1["body"]["outcome"]["status"], "refused");
    assert_eq!(records[0].0.verdict, "rejected");
    let canonical = String::from_utf8_lossy(&records[0].0.canonical).into_owned();
    assert!(!canonical.contains("dana"), "{canonical}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_held_back_carries_no_call_over_a_suspension() {
    let platform = Platform::start(LONG).await;
    let (send, receive) = tokio::sync::oneshot::channel::<()>();
    let late = futures_util::stream::once(async {
        receive.await.unwrap();
        Ok::<_, std::convert::Infallible>(r#"{"orderId":"leaks"}"#)
    });
    let ((status, body), ()) = tokio::join!(platform.send_body(Body::from_stream(late)), async {
        platform.suspend().await;
        send.send(()).unwrap();
    });
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    assert_eq!(body["type"], "/problems/principal-suspended");
    assert!(platform.records().await.is_empty(), "counted, not recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_token_is_counted_where_the_tenant_is_known_and_loads_none() {
    let platform = Platform::start(LONG).await;
    let stranger = async || {
        let status = platform.call_as_a_stranger().await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    };
    stranger().await;
    assert!(
        platform.gate.snapshots.known("acme").await.is_none(),
        "a stranger made the platform read a tenant"
    );
    let (status, _) = platform.call("leaks").await;
    assert_eq!(status, StatusCode::OK);
    for _ in 0..3 {
        stranger().await;
    }
    let stop = CancellationToken::new();
    stop.cancel();
    refusals::record_counts(&platform.gate, stop).await;
    let records = platform.records().await;
    let counts: Vec<_> = records
        .iter()
        .filter(|(row, _)| row.kind == "refusal.count")
        .map(|(_, value)| &value["body"])
        .collect();
    assert_eq!(counts.len(), 1, "{counts:?}");
    assert_eq!(counts[0]["reason"], "token-missing", "{counts:?}");
    assert_eq!(counts[0]["count"], 3, "{counts:?}");
    assert_eq!(counts[0]["room"], "authenticate", "{counts:?}");
}
