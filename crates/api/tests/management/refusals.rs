//! Requests that are refused before they reach anything: credentials, bodies, parameters,
//! preconditions, and a platform that cannot answer.

use http::Method;
use serde_json::json;

use crate::platform::{Ask, Platform, text_at, token_id};

#[tokio::test]
async fn only_a_working_service_token_opens_the_api() {
    let platform = Platform::start().await;
    let other = "A".repeat(43);
    let digits = token_id(&platform.acme).replace("svt_", "");
    let wrong_secret = format!("pst_{digits}_{other}");

    let unknown = format!("pst_{}_{other}", "0".repeat(32));
    for token in [
        "",
        "pst_",
        "hello",
        wrong_secret.as_str(),
        unknown.as_str(),
        &platform.acme.replace("pst_", "pcs_"),
        &format!("{}A", platform.acme),
    ] {
        let reply = platform.send(Ask::get("/tenants").by(token)).await;
        let reply = reply.refused(401, "unauthenticated");
        assert!(reply.headers.contains_key("www-authenticate"), "{token}");
        let told = String::from_utf8(reply.bytes).unwrap();
        assert!(!told.contains("pst_A") && !told.contains(&other), "{told}");
    }
    let basic = Ask::get("/tenants").header("authorization", "Basic cHN0Og==");
    platform.send(basic).await.refused(401, "unauthenticated");
    let query = Ask::get(format!("/tenants?access_token={}", platform.acme));
    platform.send(query).await.refused(401, "unauthenticated");
    platform
        .send(Ask::get("/tenants").by(&platform.acme))
        .await
        .expect(200);
}

#[tokio::test]
async fn wrong_tokens_of_a_network_are_limited_and_right_ones_pass_all_the_same() {
    let platform = Platform::start().await;
    let digits = token_id(&platform.acme).replace("svt_", "");
    let wrong = format!("pst_{digits}_{}", "A".repeat(43));
    let guess = |host| Ask::get("/tenants").by(&wrong).from(host);
    let mut guesses = 0;
    let refused = loop {
        let reply = platform.send(guess(7)).await;
        if reply.status != 401 {
            break reply.refused(429, "rate-limited");
        }
        guesses += 1;
        assert!(guesses < 100, "guesses are not limited");
    };
    let wait: i64 = refused.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    // Whoever has a right token may have to drop the gate, whatever his neighbours do.
    let own = |host| Ask::get("/tenants").by(&platform.acme).from(host);
    platform.send(own(7)).await.expect(200);
    platform.send(own(8)).await.expect(200);
    platform.send(guess(7)).await.refused(429, "rate-limited");
    platform.advance(wait);
    platform
        .send(guess(7))
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn tokens_that_work_are_not_counted_however_often_they_come() {
    let platform = Platform::start().await;
    for _ in 0..100 {
        let ask = Ask::get("/tenants").by(&platform.acme);
        platform.send(ask).await.expect(200);
    }
    let none = Ask::get("/tenants");
    platform.send(none).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_token_ends_with_its_time_and_with_its_revocation() {
    let platform = Platform::start().await;
    let ask = || Ask::get("/tenants").by(&platform.acme);
    let id = token_id(&platform.globex);

    let revoke = Ask::delete(format!("/service-tokens/{id}")).by(&platform.root);
    platform.send(revoke).await.expect(204);
    let reply = platform
        .send(Ask::get("/tenants").by(&platform.globex))
        .await;
    let reply = reply.refused(401, "unauthenticated");
    assert!(reply.json()["detail"].as_str().unwrap().contains("revoked"));

    platform.advance(86_399);
    platform.send(ask()).await.expect(200);
    platform.advance(1);
    let reply = platform.send(ask()).await.refused(401, "unauthenticated");
    assert!(reply.json()["detail"].as_str().unwrap().contains("expired"));
}

#[tokio::test]
async fn bodies_are_read_strictly_and_the_fault_is_named() {
    let platform = Platform::start().await;
    let path = "/tenants/acme/principals";
    let post = |kind: &str, body: &str| {
        platform.send(
            Ask::new(Method::POST, path)
                .text(kind, body)
                .by(&platform.acme),
        )
    };
    for (body, field, rule) in [
        (
            r#"{"name":"agent:x","admin":true}"#,
            "admin",
            "unknown field `admin`",
        ),
        (r#"{"name":"copilot"}"#, "name", "agent:, user: or service:"),
        (
            r#"{"name":"agent:x","name":"agent:y"}"#,
            "name",
            "duplicate field",
        ),
        (
            r#"{"name":"agent:x","region":"CN"}"#,
            "region",
            "unknown variant `CN`",
        ),
        (r"{}", "name", "missing field `name`"),
        (r"[]", "(body)", "invalid length 0"),
        (r"null", "(body)", "invalid type: null"),
    ] {
        let reply = post("application/json", body).await;
        let problem = reply.refused(422, "invalid-request").json();
        assert_eq!(problem["facts"]["field"], field, "{body}: {problem}");
        let told = problem["facts"]["rule"].as_str().unwrap();
        assert!(told.contains(rule), "{body}: {told}");
        assert!(problem["remedy"].is_string());
    }
}

#[tokio::test]
async fn bodies_that_are_no_json_of_the_right_size_are_refused() {
    let platform = Platform::start().await;
    let path = "/tenants/acme/principals";
    let post = |kind: &str, body: &str| {
        let ask = Ask::new(Method::POST, path).text(kind, body);
        platform.send(ask.by(&platform.acme))
    };
    for body in [
        "",
        "{",
        "{'name':1}",
        r#"{"name":"agent:x"}{}"#,
        "\u{feff}{}",
    ] {
        let reply = post("application/json", body).await;
        reply.refused(400, "malformed-request");
    }
    for kind in ["text/plain", "application/yaml", "application/jsonp"] {
        let reply = post(kind, r#"{"name":"agent:x"}"#).await;
        reply.refused(415, "unsupported-media-type");
    }
    let large = format!(r#"{{"name":"agent:{}"}}"#, "x".repeat(512 * 1024));
    let reply = post("application/json", &large).await;
    reply.refused(413, "body-too-large");
    assert_eq!(
        platform
            .superuser
            .count("select count(*) from principals")
            .await,
        0
    );
}

#[tokio::test]
async fn parameters_are_read_strictly() {
    let platform = Platform::start().await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("cursor=AAAA", "cursor"),
        ("cursor=", "cursor"),
        ("offset=10", "offset"),
        ("limit=1&limit=2", "limit"),
    ] {
        let ask = Ask::get(format!("/tenants/acme/principals?{query}"));
        let reply = platform.send(ask.by(&platform.acme)).await;
        let problem = reply.refused(422, "invalid-request").json();
        assert_eq!(problem["facts"]["field"], field, "{query}: {problem}");
    }
}

#[tokio::test]
async fn paths_and_methods_that_are_not_served_are_problems_too() {
    let platform = Platform::start().await;
    for path in ["", "/", "/nothing", "/tenants/", "/tenants/acme/payloads"] {
        let reply = platform.send(Ask::get(path).by(&platform.acme)).await;
        reply.refused(404, "not-found");
    }
    let ask = Ask::new(Method::PUT, "/tenants").by(&platform.acme);
    let reply = platform.send(ask).await.refused(405, "method-not-allowed");
    let allow = reply.headers["allow"].to_str().unwrap();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    for name in ["cache-control", "x-content-type-options", "referrer-policy"] {
        assert!(reply.headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn an_update_names_the_version_that_it_changes() {
    let platform = Platform::start().await;
    platform.principal("agent:copilot").await;
    let path = "/tenants/acme/principals/agent:copilot";
    let read = platform.send(Ask::get(path).by(&platform.acme)).await;
    let etag = read.etag();
    let body = || json!({"status": "suspended"});
    let bare = Ask::new(Method::PATCH, path)
        .json(body())
        .by(&platform.acme);
    platform
        .send(bare)
        .await
        .refused(428, "precondition-required");
    for (tag, status, slug) in [
        ("*", 428, "precondition-required"),
        ("\"v9\"", 412, "precondition-failed"),
        ("W/\"v1\"", 412, "precondition-failed"),
    ] {
        let ask = Ask::change(Method::PATCH, path, tag, body()).by(&platform.acme);
        platform.send(ask).await.refused(status, slug);
    }
    let ask = || Ask::change(Method::PATCH, path, &etag, body()).by(&platform.acme);
    let changed = platform.send(ask()).await.expect(200);
    assert_eq!(changed.json()["status"], "suspended");
    // The same again comes from somebody who has not seen that change.
    platform
        .send(ask())
        .await
        .refused(412, "precondition-failed");
    let ask = Ask::change(
        Method::PATCH,
        path,
        &changed.etag(),
        json!({"status": "active"}),
    );
    platform.send(ask.by(&platform.acme)).await.expect(200);
}

#[tokio::test]
async fn ends_that_lie_in_the_past_are_refused() {
    let platform = Platform::start().await;
    platform.principal("agent:copilot").await;
    let at = "/tenants/acme/principals/agent:copilot";
    let body = json!({"expires_at": text_at(0)});
    let ask = Ask::post(format!("{at}/secrets"), body).by(&platform.acme);
    platform.send(ask).await.refused(422, "invalid-request");
    let body = json!({"scope": "orders.read", "expires_at": text_at(-1)});
    let ask = Ask::post(format!("{at}/grants"), body).by(&platform.acme);
    let problem = platform.send(ask).await.refused(422, "invalid-request");
    assert_eq!(problem.json()["facts"]["field"], "expires_at");
}

#[tokio::test]
async fn a_platform_that_cannot_answer_tells_only_its_trace() {
    let platform = Platform::start().await;
    platform.control.close().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let ask = Ask::get("/tenants")
        .by(&platform.acme)
        .header("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01"));
    let reply = platform.send(ask).await.refused(503, "unavailable");
    let problem = reply.json();
    assert_eq!(problem["trace_id"], trace);
    let members: Vec<_> = problem.as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, ["status", "title", "trace_id", "type"]);
    assert_eq!(reply.headers["retry-after"], "1");
}
