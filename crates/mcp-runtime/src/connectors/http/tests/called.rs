//! Calls: what is sent, how often, and what is said of the outcome.

use portcullis_domain::Pool;
use serde_json::{Value, json};

use super::upstream::{Turn, Upstream, call, connector, definition};
use crate::connectors::{SideEffect, ToolError};

const DONE: Turn = Turn::Answer("201 Created", r#"{"ok":true,"internal":"x"}"#);
const FAILED: Turn = Turn::Answer("500 Internal Server Error", "{}");
const RESET: Turn = Turn::Raw(b"");

fn arguments() -> Value {
    json!({"orderId": "ord 1", "amount": 5, "idemKey": "k", "ticket": "tkt_1"})
}

/// The error of a call of a mutating tool, and how many requests it took.
async fn failure(turns: &[Turn], changes: &Value) -> (ToolError, usize) {
    let upstream = Upstream::start(turns).await;
    let tool = upstream.tool(&definition(), changes);
    let (ended, _) = call(&upstream.connector(), &tool, &arguments()).await;
    (ended.unwrap_err(), upstream.received().len())
}

#[tokio::test]
async fn a_call_sends_what_was_configured_and_returns_what_was_declared() {
    let upstream = Upstream::start(&[DONE]).await;
    let changes = json!({"headers": {"X-Api-Version": "2"}, "query": {"reason": "note"}});
    let tool = upstream.tool(&definition(), &changes);
    let mut arguments = arguments();
    arguments["note"] = json!("a&b=c#d é");
    let (ended, marked) = call(&upstream.connector(), &tool, &arguments).await;
    let output = ended.unwrap();
    assert_eq!(output.value, json!({"ok": true}));
    assert!(matches!(output.effect, SideEffect::Done));
    assert!(marked);
    let received = upstream.received();
    let (head, body) = received[0].split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with(
            "POST /v1/orders/ord%201/refunds?reason=a%26b%3Dc%23d%20%C3%A9 HTTP/1.1\r\n"
        )
    );
    for line in [
        "x-api-version: 2",
        "idempotency-key: key-1",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "tracestate: rojo=00f067aa0ba902b7",
        "content-type: application/json",
        "accept: application/json",
    ] {
        assert!(head.lines().any(|sent| sent == line), "{line} in {head}");
    }
    // Neither the gate's own key nor the ticket goes to another system.
    assert_eq!(body, r#"{"amount":5}"#);
}

#[tokio::test]
async fn a_mapping_names_the_members_of_the_body() {
    let upstream = Upstream::start(&[DONE]).await;
    let changes = json!({"body": {"cents": "amount", "id": "orderId", "text": "note"}});
    let tool = upstream.tool(&definition(), &changes);
    let (ended, _) = call(&upstream.connector(), &tool, &arguments()).await;
    ended.unwrap();
    let received = upstream.received();
    assert!(received[0].ends_with(r#"{"cents":5,"id":"ord 1"}"#));
}

#[tokio::test]
async fn without_the_operators_opening_nothing_is_sent() {
    let upstream = Upstream::start(&[DONE]).await;
    let tool = upstream.tool(&definition(), &json!({}));
    let (ended, marked) = call(&connector(Vec::new()), &tool, &arguments()).await;
    let error = ended.unwrap_err();
    assert!(matches!(error, ToolError::Refused(_)));
    assert!(error.effect_absent() && !marked);
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn another_server_of_the_tenant_has_no_use_of_the_opening() {
    let upstream = Upstream::start(&[DONE]).await;
    let tool = upstream.tool(&definition(), &json!({"server": "other"}));
    let (ended, _) = call(&upstream.connector(), &tool, &arguments()).await;
    assert!(ended.unwrap_err().effect_absent());
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn a_post_that_may_have_had_an_effect_is_never_sent_twice() {
    for turn in [
        FAILED,
        RESET,
        Turn::Silence,
        Turn::Endless,
        Turn::Answer("408 Request Timeout", ""),
        Turn::Answer("303 See Other", ""),
        Turn::Answer("307 Temporary Redirect", ""),
        Turn::Answer("226 IM Used", "{}"),
        Turn::Answer("200 OK", "no JSON"),
        Turn::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"),
        Turn::Raw(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}"),
        Turn::Raw(b"nonsense\r\n\r\n"),
    ] {
        let (error, sent) = failure(std::slice::from_ref(&turn), &json!({})).await;
        assert!(
            matches!(error, ToolError::OutcomeUncertain(_)),
            "{turn:?}: {error:?}"
        );
        assert!(!error.effect_absent(), "{turn:?}");
        assert_eq!(sent, 1, "{turn:?}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_server_is_certainly_without_effect() {
    for status in [
        "400 Bad Request",
        "404 Not Found",
        "409 Conflict",
        "429 Too Many Requests",
    ] {
        let (error, sent) = failure(&[Turn::Answer(status, "{}")], &json!({})).await;
        assert!(
            matches!(error, ToolError::UpstreamRefused { .. }),
            "{status}"
        );
        assert!(error.effect_absent());
        assert_eq!(sent, 1, "{status}");
    }
}

#[tokio::test]
async fn an_idempotent_method_is_tried_again_and_succeeds() {
    for turn in [FAILED, RESET, Turn::Silence] {
        let upstream = Upstream::start(&[turn, DONE]).await;
        let tool = upstream.tool(&definition(), &json!({"method": "PUT"}));
        let (ended, _) = call(&upstream.connector(), &tool, &arguments()).await;
        assert_eq!(ended.unwrap().value, json!({"ok": true}));
        assert_eq!(upstream.received().len(), 2);
    }
}

#[tokio::test]
async fn a_tool_declared_idempotent_is_tried_again_with_the_same_key() {
    let upstream = Upstream::start(&[FAILED, DONE]).await;
    let mut definition = definition();
    definition.idempotent = true;
    let tool = upstream.tool(&definition, &json!({}));
    let (ended, _) = call(&upstream.connector(), &tool, &arguments()).await;
    ended.unwrap();
    let received = upstream.received();
    assert_eq!(received.len(), 2);
    assert!(
        received
            .iter()
            .all(|sent| sent.contains("idempotency-key: key-1\r\n"))
    );
}

#[tokio::test]
async fn tries_end_at_their_count() {
    let (error, sent) = failure(&[FAILED], &json!({"method": "PUT"})).await;
    assert!(matches!(error, ToolError::OutcomeUncertain(_)));
    assert_eq!(sent, 3);
}

#[tokio::test]
async fn a_refusal_after_a_doubtful_try_is_still_in_doubt() {
    let turns = [FAILED, Turn::Answer("409 Conflict", "{}")];
    let (error, sent) = failure(&turns, &json!({"method": "PUT"})).await;
    assert!(matches!(error, ToolError::OutcomeUncertain(_)));
    assert!(!error.effect_absent());
    assert_eq!(sent, 2);
}

#[tokio::test]
async fn a_redirect_to_a_metadata_service_is_not_followed() {
    let redirect = Turn::Raw(
        b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
    );
    let (error, sent) = failure(&[redirect], &json!({})).await;
    assert!(matches!(error, ToolError::OutcomeUncertain(_)));
    assert_eq!(sent, 1);
}

#[tokio::test]
async fn an_answer_without_a_body_is_an_empty_object() {
    let upstream = Upstream::start(&[Turn::Raw(b"HTTP/1.1 204 No Content\r\n\r\n")]).await;
    let tool = upstream.tool(&definition(), &json!({}));
    let (ended, _) = call(&upstream.connector(), &tool, &arguments()).await;
    assert_eq!(ended.unwrap().value, json!({}));
}

#[tokio::test]
async fn a_pool_without_a_base_url_calls_nobody() {
    let upstream = Upstream::start(&[DONE]).await;
    let tool = upstream.tool(&definition(), &json!({}));
    assert!(tool.serves(Pool::EuWest));
    assert!(!tool.serves(Pool::UsEast));
    assert!(
        tool.call(Pool::UsEast, arguments().as_object().unwrap())
            .is_none()
    );
}

#[tokio::test]
async fn no_argument_of_the_path_changes_the_request() {
    let upstream = Upstream::start(&[DONE]).await;
    let tool = upstream.tool(&definition(), &json!({}));
    for hostile in [
        "",
        ".",
        "..",
        "a/b",
        "../admin",
        "a\\b",
        "%2e%2e",
        "%2F",
        "a\r\nHost: evil",
        "a\0",
        "\u{ff0e}\u{ff0e}",
        "a\u{2215}b",
    ] {
        let arguments = json!({"orderId": hostile, "amount": 1});
        let refused = tool.check(arguments.as_object().unwrap()).unwrap_err();
        assert!(!refused.to_string().contains("evil"));
        let (ended, marked) = call(&upstream.connector(), &tool, &arguments).await;
        assert!(ended.unwrap_err().effect_absent() && !marked, "{hostile:?}");
    }
    assert!(upstream.received().is_empty());
    // What divides a URL divides nothing inside a segment.
    let arguments = json!({"orderId": "a?b=c#d;e&f", "amount": 1});
    let (ended, _) = call(&upstream.connector(), &tool, &arguments).await;
    ended.unwrap();
    let received = upstream.received();
    assert!(received[0].starts_with("POST /v1/orders/a%3Fb%3Dc%23d%3Be%26f/refunds HTTP/1.1\r\n"));
}
