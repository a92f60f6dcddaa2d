//! Values that look like code: values and nothing else.

use portcullis_e2e::Platform;
use portcullis_e2e::mcp::PROBLEM;
use serde_json::json;

use crate::answers::{assert_denied, assert_result, week};

#[tokio::test]
async fn owasp_injection_payloads_are_values_and_nothing_else() {
    let platform = Platform::shared().unwrap();
    let client = platform.caller("acme").await.unwrap();
    let payloads = [
        "' or '1'='1",
        "1; drop table orders; --",
        "x' union select * from principals --",
        "${jndi:ldap://127.0.0.1/x}",
        "$(id)",
        "`id`",
        "../../etc/passwd",
        "{{7*7}}",
        "%00",
        "\u{0}",
        "a\r\nSet-Cookie: x=1",
        "<script>alert(1)</script>",
        "𝕒𝕔𝕞𝕖",
    ];
    for payload in payloads {
        let by_id = client
            .call("orders.get", json!({"orderId": payload}))
            .await
            .unwrap();
        assert_denied(&by_id, "invalid-arguments");
        assert!(by_id.header("set-cookie").is_none());
        let mut arguments = week();
        arguments["from"] = json!(payload);
        let by_date = client.call("orders.export", arguments).await.unwrap();
        assert_denied(&by_date, "invalid-arguments");
        let by_name = client.call(payload, json!({})).await.unwrap();
        assert!(
            by_name.status < 500 && !by_name.is_tool_error(),
            "{}",
            by_name.told()
        );
        assert!(by_name.error_code().is_some(), "{}", by_name.told());
    }
    let kept = client.call("orders.export", week()).await.unwrap();
    assert!(
        assert_result(&kept)["count"].as_u64().unwrap() > 0,
        "the orders are still there"
    );
}

#[tokio::test]
async fn owasp_injection_a_refusal_does_not_carry_the_value_back() {
    let platform = Platform::shared().unwrap();
    let client = platform.caller("acme").await.unwrap();
    let mut arguments = week();
    arguments["to"] = json!("jo.doe@example.com");
    let reply = client.call("orders.export", arguments).await.unwrap();
    assert_denied(&reply, "invalid-arguments");
    assert!(!reply.text().contains("jo.doe"), "{}", reply.told());
    assert_eq!(reply.meta(PROBLEM)["facts"]["field"], "to");
}
