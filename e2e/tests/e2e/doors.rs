//! The traps of the transport: what rmcp or a hurried server would let through.

use portcullis_e2e::mcp::MODERN;
use portcullis_e2e::{Era, Http, McpClient, Platform, Reply, raw};
use reqwest::Method;
use serde_json::{Value, json};

use crate::answers::{EU, US, assert_result, assert_unauthorized, ids, orders_of, problem};

async fn acme() -> (&'static Platform, McpClient) {
    let platform = Platform::shared().unwrap();
    (platform, platform.caller("acme").await.unwrap())
}

/// A POST of any bytes to the caller's endpoint.
async fn post(client: &McpClient, content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
    let request = Http::new()
        .unwrap()
        .post(client.url())
        .bearer_auth(client.token())
        .header("accept", "application/json, text/event-stream")
        .header("content-type", content_type)
        .body(body.into());
    Reply::to(request).await.unwrap()
}

#[tokio::test]
async fn a_web_page_of_another_origin_may_not_call_even_with_a_token() {
    let (platform, client) = acme().await;
    let body = client.body("tools/list", json!({}));
    for origin in [
        "https://evil.example",
        "null",
        "http://127.0.0.1",
        platform.url(),
    ] {
        let refused = Reply::to(client.request(&body).header("origin", origin))
            .await
            .unwrap();
        assert_eq!(refused.status, 403, "{origin}: {}", refused.told());
        assert_eq!(problem(&refused)["type"], "/problems/origin-not-allowed");
        assert!(refused.header("access-control-allow-origin").is_none());
    }
}

#[tokio::test]
async fn two_origins_are_not_better_than_one() {
    let (platform, client) = acme().await;
    let body = client.body("tools/list", json!({})).to_string();
    let bearer = format!("Bearer {}", client.token());
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("origin", "https://evil.example"),
        ("origin", platform.url()),
    ];
    let address = platform.address().unwrap();
    let host = address.to_string();
    let request = raw::post("/t/acme/mcp", &host, &headers, &body);
    assert_eq!(raw::exchange(address, &request).await.unwrap().status, 403);
}

#[tokio::test]
async fn a_request_for_another_host_is_refused() {
    let (platform, client) = acme().await;
    let address = platform.address().unwrap();
    let bearer = format!("Bearer {}", client.token());
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let body = client.body("tools/list", json!({})).to_string();
    for host in [
        "evil.example",
        "localhost.evil.example:80",
        "127.0.0.1.evil.example",
        "",
    ] {
        let request = raw::post("/t/acme/mcp", host, &headers, &body);
        let reply = raw::exchange(address, &request).await.unwrap();
        assert!(
            [400, 403, 421].contains(&reply.status),
            "{host:?}: {}",
            reply.text
        );
        assert!(
            !reply.text.contains("\"tools\""),
            "{host:?}: {}",
            reply.text
        );
    }
    let own = address.to_string();
    let good = raw::exchange(address, &raw::post("/t/acme/mcp", &own, &headers, &body)).await;
    assert_ne!(good.unwrap().status, 421);
}

#[tokio::test]
async fn only_post_is_allowed_and_the_answer_says_so() {
    let (platform, client) = acme().await;
    let http = Http::new().unwrap();
    for method in [
        Method::GET,
        Method::DELETE,
        Method::PUT,
        Method::PATCH,
        Method::OPTIONS,
    ] {
        for url in [
            client.url().to_owned(),
            platform.tool_url("acme", "orders.get"),
        ] {
            let request = http
                .request(method.clone(), &url)
                .bearer_auth(client.token());
            let reply = Reply::to(request.header("accept", "text/event-stream"))
                .await
                .unwrap();
            assert_eq!(reply.status, 405, "{method} {url}: {}", reply.told());
            assert_eq!(reply.header("allow"), Some("POST"), "{method} {url}");
        }
    }
}

#[tokio::test]
async fn malformed_json_is_a_parse_error() {
    let (_, client) = acme().await;
    let bodies: [&[u8]; 5] = [
        b"",
        b"{",
        b"nonsense",
        br#"{"jsonrpc":"2.0","#,
        b"\xff\xfe{}",
    ];
    for body in bodies {
        let reply = post(&client, "application/json", body).await;
        let told = format!("{body:?}: {}", reply.told());
        assert_eq!(
            (reply.status, reply.error_code()),
            (400, Some(-32_700)),
            "{told}"
        );
        assert_eq!(reply.json()["jsonrpc"], "2.0", "{told}");
        assert!(reply.at("/id").is_null(), "{told}");
    }
}

#[tokio::test]
async fn what_is_no_request_is_an_invalid_request() {
    let (_, client) = acme().await;
    let call = client.body("tools/call", json!({"name": "orders.get"}));
    let bodies = [
        json!([call]).to_string(),
        "[]".to_owned(),
        "3".to_owned(),
        "\"tools/list\"".to_owned(),
        "{}".to_owned(),
        json!({"jsonrpc": "1.0", "id": 1, "method": "tools/list"}).to_string(),
        json!({"jsonrpc": "2.0", "id": null, "method": "tools/list"}).to_string(),
        json!({"jsonrpc": "2.0", "id": {"a": 1}, "method": "tools/list"}).to_string(),
        json!({"jsonrpc": "2.0", "id": 1.5, "method": "tools/list"}).to_string(),
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#.to_owned(),
        json!({"jsonrpc": "2.0", "method": "tools/call", "params": {}}).to_string(),
    ];
    for body in bodies {
        let reply = post(&client, "application/json", body.clone()).await;
        let told = format!("{body}: {}", reply.told());
        assert_eq!(
            (reply.status, reply.error_code()),
            (400, Some(-32_600)),
            "{told}"
        );
    }
}

#[tokio::test]
async fn deeply_nested_json_is_refused_and_hurts_nobody() {
    let (_, client) = acme().await;
    let depth = 200_000;
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}{}}}"#,
        "[".repeat(depth),
        "]".repeat(depth)
    );
    let reply = post(&client, "application/json", deep).await;
    assert_eq!(reply.status, 400, "{}", reply.told());
    assert!(
        client
            .list()
            .await
            .unwrap()
            .contains(&"orders.get".to_owned())
    );
}

#[tokio::test]
async fn a_body_over_one_mebibyte_is_refused() {
    let (platform, client) = acme().await;
    let big = |bytes: usize| {
        let frame = r#"{"jsonrpc":"2.0","id":1,"method":"ping","x":""}"#;
        frame.replace("\"\"", &format!("\"{}\"", "a".repeat(bytes - frame.len())))
    };
    let reply = post(&client, "application/json", big(1_048_577)).await;
    assert_eq!(reply.status, 413, "{}", reply.told());
    assert_eq!(problem(&reply)["type"], "/problems/body-too-large");
    let fits = post(&client, "application/json", big(1_048_576)).await;
    assert_ne!(fits.status, 413, "{}", fits.told());
    // The same without a length that could be checked beforehand.
    let address = platform.address().unwrap();
    let mut request = format!(
        "POST /t/acme/mcp HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: \
         Bearer {}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        client.token()
    )
    .into_bytes();
    for _ in 0..17 {
        request.extend(format!("10000\r\n{}\r\n", " ".repeat(65_536)).into_bytes());
    }
    request.extend(b"0\r\n\r\n");
    let reply = raw::exchange(address, &request).await.unwrap();
    assert_eq!(reply.status, 413, "{}", reply.text);
}

#[tokio::test]
async fn another_content_type_is_refused() {
    let (platform, client) = acme().await;
    let body = client.body("tools/list", json!({})).to_string();
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "",
    ] {
        let reply = post(&client, kind, body.clone()).await;
        assert_eq!(reply.status, 415, "{kind}: {}", reply.told());
        assert_eq!(problem(&reply)["type"], "/problems/unsupported-media-type");
        let plain = Http::new()
            .unwrap()
            .post(&platform.tool_url("acme", "orders.get"))
            .bearer_auth(client.token())
            .header("content-type", kind)
            .body("{}");
        assert_eq!(Reply::to(plain).await.unwrap().status, 415, "{kind}");
    }
    let parameters = "application/json; charset=utf-8";
    assert_ne!(post(&client, parameters, body).await.status, 415);
}

#[tokio::test]
async fn a_header_that_contradicts_the_body_is_refused() {
    let (_, client) = acme().await;
    let lies = [
        ("tools/call", "mcp-name", "orders.export"),
        ("tools/call", "mcp-method", "tools/list"),
        ("tools/call", "mcp-protocol-version", "2025-11-25"),
        ("tools/list", "mcp-method", "tools/call"),
        ("tools/list", "mcp-protocol-version", "2025-11-25"),
    ];
    for (method, header, lie) in lies {
        let params = if method == "tools/call" {
            json!({"name": "orders.get", "arguments": {"orderId": "x"}})
        } else {
            json!({})
        };
        let body = client.body(method, params);
        let mut request = client.request(&body).build().unwrap();
        request.headers_mut().insert(header, lie.parse().unwrap());
        let reply = execute(request).await;
        let told = format!("{method} {header}: {}", reply.told());
        assert_eq!(
            (reply.status, reply.error_code()),
            (400, Some(-32_020)),
            "{told}"
        );
    }
}

async fn execute(request: reqwest::Request) -> Reply {
    let http = Http::new().unwrap();
    let mut again = http.request(request.method().clone(), request.url().as_str());
    again = again.headers(request.headers().clone());
    let bytes = request
        .body()
        .and_then(reqwest::Body::as_bytes)
        .unwrap_or_default();
    Reply::to(again.body(bytes.to_vec())).await.unwrap()
}

#[tokio::test]
async fn the_modern_headers_are_required_and_may_be_encoded() {
    let (_, client) = acme().await;
    let params = json!({"name": "orders.get", "arguments": {"orderId": "x"}});
    let body = client.body("tools/call", params);
    for missing in ["mcp-method", "mcp-name", "mcp-protocol-version"] {
        let mut request = client.request(&body).build().unwrap();
        request.headers_mut().remove(missing);
        let reply = execute(request).await;
        let told = format!("{missing}: {}", reply.told());
        assert_eq!(
            (reply.status, reply.error_code()),
            (400, Some(-32_020)),
            "{told}"
        );
    }
    let mut request = client.request(&body).build().unwrap();
    let encoded = "=?base64?b3JkZXJzLmdldA==?=".parse().unwrap();
    request.headers_mut().insert("mcp-name", encoded);
    let reply = execute(request).await;
    assert_eq!(reply.status, 200, "{}", reply.told());
}

#[tokio::test]
async fn an_unknown_protocol_version_is_answered_with_the_known_ones() {
    let (_, client) = acme().await;
    for method in ["tools/call", "tools/list"] {
        let params = json!({"name": "orders.get", "arguments": {"orderId": "x"}});
        let text = client
            .body(method, params)
            .to_string()
            .replace(MODERN, "2027-01-01");
        let body = serde_json::from_str(&text).unwrap();
        let mut request = client.request(&body).build().unwrap();
        let version = "2027-01-01".parse().unwrap();
        request
            .headers_mut()
            .insert("mcp-protocol-version", version);
        let reply = execute(request).await;
        let told = format!("{method}: {}", reply.told());
        assert_eq!(
            (reply.status, reply.error_code()),
            (400, Some(-32_022)),
            "{told}"
        );
        let supported = reply.at("/error/data/supported");
        assert!(
            supported.as_array().unwrap().contains(&json!(MODERN)),
            "{told}"
        );
    }
}

#[tokio::test]
async fn an_unknown_method_is_not_found() {
    let (_, client) = acme().await;
    let reply = client.send("tools/destroy", json!({})).await.unwrap();
    let told = reply.told();
    assert_eq!(
        (reply.status, reply.error_code()),
        (404, Some(-32_601)),
        "{told}"
    );
}

#[tokio::test]
async fn both_eras_are_served_from_one_endpoint_without_a_session() {
    let (_, modern) = acme().await;
    let discovered = modern.send("server/discover", json!({})).await.unwrap();
    assert_eq!(discovered.status, 200, "{}", discovered.told());
    let supported = discovered.at("/result/supportedVersions");
    assert!(
        supported.as_array().unwrap().contains(&json!(MODERN)),
        "{}",
        discovered.told()
    );
    let legacy = modern.clone().speaking(Era::Legacy);
    let hello = json!({
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "e2e", "version": "1"},
    });
    let welcomed = legacy.send("initialize", hello).await.unwrap();
    assert_eq!(welcomed.status, 200, "{}", welcomed.told());
    assert_eq!(welcomed.at("/result/protocolVersion"), "2025-11-25");
    assert!(
        welcomed.header("mcp-session-id").is_none(),
        "{}",
        welcomed.told()
    );
    for client in [&modern, &legacy] {
        let reply = client
            .call("orders.get", json!({"orderId": "none"}))
            .await
            .unwrap();
        assert_eq!(assert_result(&reply), json!({"found": false}));
    }
}

#[tokio::test]
async fn an_invented_session_opens_nothing() {
    let (platform, client) = acme().await;
    let http = Http::new().unwrap();
    let legacy = client.clone().speaking(Era::Legacy);
    let body = legacy.body("tools/list", json!({}));
    let session = "0199a6b0-c000-7000-8000-00000000002a";
    let with = Reply::to(legacy.request(&body).header("mcp-session-id", session))
        .await
        .unwrap();
    assert_eq!(with.status, 200, "a session id is ignored: {}", with.told());
    let without_token = http
        .post(client.url())
        .header("mcp-session-id", session)
        .json(&body);
    let refused = Reply::to(without_token).await.unwrap();
    assert_unauthorized(&refused, "token-missing");
    let stream = http
        .get(&platform.mcp_url("acme"))
        .bearer_auth(client.token())
        .header("accept", "text/event-stream")
        .header("mcp-session-id", session);
    assert_eq!(Reply::to(stream).await.unwrap().status, 405);
}

#[tokio::test]
async fn a_notification_is_accepted_without_an_answer() {
    let (_, client) = acme().await;
    let legacy = client.speaking(Era::Legacy);
    let body = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let reply = Reply::to(legacy.request(&body)).await.unwrap();
    assert_eq!(
        (reply.status, reply.body.len()),
        (202, 0),
        "{}",
        reply.told()
    );
}

#[tokio::test]
async fn a_repeated_request_id_is_a_new_request() {
    let (_, client) = acme().await;
    let mut records = Vec::new();
    for id in [json!(7), json!(7), json!("7"), json!("seven")] {
        let params = json!({"name": "orders.get", "arguments": {"orderId": "none"}});
        let mut body = client.body("tools/call", params);
        body["id"] = id.clone();
        let reply = Reply::to(client.request(&body)).await.unwrap();
        assert_eq!(reply.at("/id"), id, "{}", reply.told());
        records.push(reply.meta(portcullis_e2e::mcp::RECEIPT)["record"].to_string());
    }
    records.sort();
    records.dedup();
    assert_eq!(records.len(), 4, "each call has its own record");
}

/// One day's export, of which both tenants have some.
fn one_day() -> Value {
    json!({"from": "2025-08-25", "to": "2025-08-25"})
}

#[tokio::test]
async fn a_kept_connection_does_not_mix_its_callers() {
    let platform = Platform::shared().unwrap();
    let acme = platform.caller("acme").await.unwrap();
    let globex = platform.caller("globex").await.unwrap();
    let orders_of_acme = orders_of(platform, "acme", EU).await;
    let orders_of_globex = orders_of(platform, "globex", US).await;
    // One client, so one connection, used by both in turn.
    let http = Http::new().unwrap();
    for round in 0..20 {
        for (own, other, tenant, orders) in [
            (&acme, &globex, "acme", &orders_of_acme),
            (&globex, &acme, "globex", &orders_of_globex),
        ] {
            let call = json!({"name": "orders.export", "arguments": one_day()});
            let body = own.body("tools/call", call);
            let send = |token: &str| {
                let request = own.request(&body).build().unwrap();
                let mut headers = request.headers().clone();
                headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
                http.post(&platform.mcp_url(tenant))
                    .headers(headers)
                    .json(&body)
            };
            let shown = ids(&assert_result(&Reply::to(send(own.token())).await.unwrap()));
            assert!(
                !shown.is_empty() && shown.is_subset(orders),
                "round {round}, {tenant}"
            );
            let stolen = Reply::to(send(other.token())).await.unwrap();
            assert_unauthorized(&stolen, "token-invalid");
        }
    }
}

#[tokio::test]
async fn pipelined_requests_of_two_callers_are_answered_each_with_his_own() {
    let platform = Platform::shared().unwrap();
    let acme = platform.caller("acme").await.unwrap();
    let globex = platform.caller("globex").await.unwrap();
    let address = platform.address().unwrap();
    let host = address.to_string();
    let body = one_day().to_string();
    let one = |client: &McpClient, tenant: &str| {
        let bearer = format!("Bearer {}", client.token());
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let path = format!("/t/{tenant}/tools/orders.export");
        raw::post(&path, &host, &headers, &body)
    };
    let first = String::from_utf8(one(&acme, "acme")).unwrap();
    let mut both = first.replace("connection: close\r\n", "").into_bytes();
    both.extend(one(&globex, "globex"));
    let reply = raw::exchange(address, &both).await.unwrap();
    let answers: Vec<_> = reply.text.split("HTTP/1.1 ").skip(1).collect();
    assert_eq!(answers.len(), 2, "{}", reply.text);
    for (answer, tenant, pool) in [(answers[0], "acme", EU), (answers[1], "globex", US)] {
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        let shown = ids(&body["result"]);
        assert!(!shown.is_empty() && shown.is_subset(&orders_of(platform, tenant, pool).await));
    }
}

#[tokio::test]
async fn contradictory_lengths_smuggle_nothing() {
    let (platform, client) = acme().await;
    let address = platform.address().unwrap();
    let smuggled = format!(
        "POST /t/acme/mcp HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\
         connection: close\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nhost: {address}\r\n\r\n",
        client.token()
    );
    let twice = smuggled.replace("transfer-encoding: chunked", "content-length: 9");
    for request in [smuggled, twice] {
        let reply = raw::exchange(address, request.as_bytes()).await.unwrap();
        let answers = reply.text.matches("HTTP/1.1 ").count();
        assert!(answers <= 1 && reply.status != 200, "{}", reply.text);
    }
}

#[tokio::test]
async fn a_plan_beyond_its_stop_rules_is_denied() {
    let (_, client) = acme().await;
    for (plan, slug) in [
        (
            json!({"id": "p", "depth": 13, "attempt": 0}),
            "plan-too-deep",
        ),
        (
            json!({"id": "p", "depth": 1, "attempt": 4}),
            "too-many-retries",
        ),
    ] {
        let params = json!({
            "name": "orders.get", "arguments": {"orderId": "none"},
            "_meta": {"dev.portcullis/plan": plan},
        });
        let reply = client.send("tools/call", params).await.unwrap();
        crate::answers::assert_denied(&reply, slug);
    }
    let fits = json!({
        "name": "orders.get", "arguments": {"orderId": "none"},
        "_meta": {"dev.portcullis/plan": {"id": "p", "depth": 12, "attempt": 3}},
    });
    assert_result(&client.send("tools/call", fits).await.unwrap());
}
