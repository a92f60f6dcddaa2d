//! Tools of other systems and the hosts that they may call: what is registered, what is refused, and
//! who sees which version.

use http::Method;
use serde_json::{Value, json};

use crate::platform::{Ask, Platform};

const TOOLS: &str = "/tenants/acme/tools";
const OWN: &str = "/tenants/acme/tools/orders.refund";
const LIST: &str = "/tenants/acme/egress-allowlist";

/// A registration that holds.
pub(crate) fn registration() -> Value {
    json!({
        "definition": {
            "name": "orders.refund",
            "title": "Refund an order",
            "description": "Refunds an order.",
            "inputSchema": {
                "type": "object", "additionalProperties": false,
                "properties": {
                    "orderId": {"type": "string"},
                    "amount": {"type": "integer"}
                },
                "required": ["orderId", "amount"]
            },
            "outputSchema": {
                "type": "object", "additionalProperties": false,
                "properties": {"ok": {"type": "boolean"}}
            },
            "examples": [{"title": "One", "arguments": {"orderId": "1", "amount": 1}}],
            "scope": "orders.refund",
            "mutating": true,
            "risk": "low",
            "data": {},
            "cost": {"micro_usd": 0, "max_micro_usd": 0},
            "idempotent": false,
            "egress": ["api.example.com"]
        },
        "connector": "http",
        "config": {
            "server": "billing",
            "method": "POST",
            "path": "/v1/orders/{orderId}/refunds",
            "base_urls": {"eu-west": "https://api.example.com"}
        }
    })
}

#[tokio::test]
async fn a_tool_of_another_system_is_registered_and_replaced_by_version() {
    let platform = Platform::start().await;
    let (before, epoch) = (platform.changes().await, platform.epoch().await);
    let ask = Ask::post(TOOLS, registration()).by(&platform.acme);
    let made = platform.send(ask).await.expect(201);
    let tool = made.json();
    assert_eq!(tool["connector"], "http");
    assert_eq!(tool["current_version"], 1);
    assert_eq!(platform.changes().await, before + 1);
    assert!(platform.epoch().await > epoch);
    let ask = Ask::post(TOOLS, registration()).by(&platform.acme);
    platform.send(ask).await.refused(409, "conflict");

    let mut next = registration();
    next["config"]["path"] = json!("/v2/orders/{orderId}/refunds");
    let put = |etag: &str, body: &Value| {
        let ask = Ask::change(Method::PUT, OWN, etag, body.clone());
        platform.send(ask.by(&platform.acme))
    };
    let replaced = put(&made.etag(), &next).await.expect(200);
    assert_eq!(replaced.json()["current_version"], 2);
    put(&made.etag(), &next)
        .await
        .refused(412, "precondition-failed");
    // What it is already is no change.
    let changes = platform.changes().await;
    let same = put(&replaced.etag(), &next).await.expect(200);
    assert_eq!(same.json()["current_version"], 2);
    assert_eq!(platform.changes().await, changes);

    let seen = platform.send(Ask::get(OWN).by(&platform.acme)).await;
    let versions = seen.json()["versions"].clone();
    assert_eq!(versions[0]["config"]["path"], next["config"]["path"]);
    assert_eq!(versions[1]["config"], registration()["config"]);
    assert_ne!(versions[0]["config_sha256"], versions[1]["config_sha256"]);
    assert_eq!(versions[0]["sha256"], versions[1]["sha256"]);
}

#[tokio::test]
async fn what_does_not_hold_is_refused_by_field_and_leaves_nothing() {
    let platform = Platform::start().await;
    let before = platform.changes().await;
    let cases: [(&str, Value, &str); 8] = [
        ("/config/server", json!("native"), "config.server"),
        ("/config/path", json!("/v1/{absent}"), "config.path"),
        ("/config/method", json!("GET"), "config.method"),
        (
            "/config/base_urls",
            json!({"eu-west": "http://169.254.169.254"}),
            "definition.egress",
        ),
        (
            "/config/base_urls",
            json!({"eu-west": "https://api.example.com:8443"}),
            "config.base_urls.eu-west",
        ),
        (
            "/config/headers",
            json!({"Authorization": "Bearer x"}),
            "config.headers",
        ),
        (
            "/definition/inputSchema/additionalProperties",
            json!(true),
            "definition",
        ),
        (
            "/definition/examples/0/arguments",
            json!({"orderId": 1}),
            "definition",
        ),
    ];
    for (pointer, value, field) in cases {
        let mut body = registration();
        if pointer == "/config/headers" {
            body["config"]["headers"] = value;
        } else {
            *body.pointer_mut(pointer).unwrap() = value;
        }
        let ask = Ask::post(TOOLS, body).by(&platform.acme);
        let reply = platform.send(ask).await.refused(422, "invalid-request");
        assert_eq!(reply.json()["facts"]["field"], field, "{pointer}");
    }
    assert_eq!(platform.changes().await, before);
    platform
        .send(Ask::get(OWN).by(&platform.acme))
        .await
        .refused(404, "not-found");
}

#[tokio::test]
async fn hosts_inside_are_refused_although_the_definition_names_them() {
    let platform = Platform::start().await;
    for host in [
        "127.0.0.1",
        "169.254.169.254",
        "localhost",
        "[fd00:ec2::254]",
    ] {
        let mut body = registration();
        body["definition"]["egress"] = json!([host]);
        body["config"]["base_urls"] = json!({"eu-west": format!("http://{host}")});
        let ask = Ask::post(TOOLS, body).by(&platform.acme);
        let reply = platform.send(ask).await.refused(422, "invalid-request");
        let field = reply.json()["facts"]["field"].clone();
        assert_eq!(field, "config.base_urls.eu-west", "{host}");
    }
}

#[tokio::test]
async fn a_tool_of_the_platforms_own_is_never_replaced() {
    let platform = Platform::start().await;
    let path = "/tenants/acme/tools/orders.get";
    let read = platform.send(Ask::get(path).by(&platform.acme)).await;
    let mut body = registration();
    body["definition"]["name"] = json!("orders.get");
    let ask = Ask::change(Method::PUT, path, &read.etag(), body.clone()).by(&platform.acme);
    platform.send(ask).await.refused(409, "conflict");
    let ask = Ask::post(TOOLS, body).by(&platform.acme);
    platform.send(ask).await.refused(409, "conflict");
}

#[tokio::test]
async fn the_allow_list_is_set_by_version_and_read_back() {
    let platform = Platform::start().await;
    let empty = platform.send(Ask::get(LIST).by(&platform.acme)).await;
    assert_eq!(
        empty.json(),
        json!({"hosts": [], "tools": {}, "version": 0})
    );
    let put = |etag: &str, hosts: Value| {
        let ask = Ask::change(Method::PUT, LIST, etag, json!({"hosts": hosts}));
        platform.send(ask.by(&platform.acme))
    };
    let hosts = json!(["api.example.com", "api.example.com:8443"]);
    let set = put(&empty.etag(), hosts.clone()).await.expect(200);
    assert_eq!(
        set.json(),
        json!({"hosts": hosts, "tools": {}, "version": 1})
    );
    put(&empty.etag(), json!([]))
        .await
        .refused(412, "precondition-failed");
    for wrong in ["https://api.example.com", "*.com", "a b", ""] {
        put(&set.etag(), json!([wrong]))
            .await
            .refused(422, "invalid-request");
    }
    // A port that is listed for a host can be called there.
    let mut body = registration();
    body["config"]["base_urls"] = json!({"eu-west": "https://api.example.com:8443"});
    let ask = Ask::post(TOOLS, body).by(&platform.acme);
    platform.send(ask).await.expect(201);
}

#[tokio::test]
async fn single_tools_have_lists_of_their_own() {
    let platform = Platform::start().await;
    let empty = platform.send(Ask::get(LIST).by(&platform.acme)).await;
    let put = |etag: &str, body: Value| {
        let ask = Ask::change(Method::PUT, LIST, etag, body);
        platform.send(ask.by(&platform.acme))
    };
    let tools = json!({"web.fetchSafe": ["*.example.com", "*.example.net:8443"]});
    let body = json!({"hosts": ["api.example.com"], "tools": tools});
    let set = put(&empty.etag(), body).await.expect(200);
    assert_eq!(set.json()["tools"], tools);
    let read = platform.send(Ask::get(LIST).by(&platform.acme)).await;
    assert_eq!(read.json()["tools"], tools);
    let many: serde_json::Map<_, _> = (0..101)
        .map(|number| (format!("tool.{number}"), json!(["example.com"])))
        .collect();
    for wrong in [
        json!({"hosts": [], "tools": {"web.fetchSafe": ["*.com"]}}),
        json!({"hosts": [], "tools": {"web.fetchSafe": "example.com"}}),
        json!({"hosts": [], "tools": many}),
    ] {
        put(&set.etag(), wrong)
            .await
            .refused(422, "invalid-request");
    }
}

#[tokio::test]
async fn a_check_says_which_step_refuses_without_asking_anybody() {
    let platform = Platform::start().await;
    let check = |query: &str| {
        let ask = Ask::get(format!("/tenants/acme/egress-check?{query}"));
        platform.send(ask.by(&platform.acme))
    };
    for (query, step) in [
        ("tool=orders.get&url=http://127.1/", 0),
        ("tool=orders.get&url=http://localhost/", 2),
        ("tool=orders.get&url=http://169.254.169.254/", 2),
        ("tool=orders.get&url=http://example.com:22/", 3),
        ("tool=orders.get&url=http://example.com/", 4),
    ] {
        let found = check(query).await.expect(200).json();
        assert_eq!(found["may_be_reached"], false, "{query}");
        assert_eq!(found["steps"][step]["passed"], false, "{query}: {found}");
        assert_eq!(found["steps"].as_array().unwrap().len(), 7);
    }
    for query in [
        "tool=absent&url=http://example.com/".to_owned(),
        format!(
            "tool=orders.get&url=http://example.com/{}",
            "a".repeat(2_048)
        ),
    ] {
        check(&query).await.refused(422, "invalid-request");
    }
}
