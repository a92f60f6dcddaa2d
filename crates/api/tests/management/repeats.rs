//! `Idempotency-Key`: a repeat answers what the first request answered, and does nothing.

use http::Method;
use serde_json::json;

use crate::platform::{Ask, Platform};

const PATH: &str = "/tenants/acme/principals";

#[tokio::test]
async fn a_repeat_answers_the_same_and_changes_nothing() {
    let platform = Platform::start().await;
    let ask = || {
        Ask::post(PATH, json!({"name": "agent:copilot"}))
            .key("\"k-1\"")
            .by(&platform.acme)
    };
    let first = platform.send(ask()).await.expect(201);
    let (changes, epoch) = (platform.changes().await, platform.epoch().await);
    for _ in 0..3 {
        let repeat = platform.send(ask()).await.expect(201);
        assert_eq!(repeat.bytes, first.bytes);
        assert_eq!(repeat.etag(), first.etag());
        assert_eq!(repeat.headers["location"], first.headers["location"]);
        assert_eq!(repeat.headers["idempotent-replayed"], "true");
    }
    assert!(!first.headers.contains_key("idempotent-replayed"));
    assert_eq!(platform.changes().await, changes);
    assert_eq!(platform.epoch().await, epoch);
}

#[tokio::test]
async fn twenty_at_once_create_one() {
    let platform = Platform::start().await;
    let ask = || {
        Ask::post(PATH, json!({"name": "agent:copilot"}))
            .key("k-1")
            .by(&platform.acme)
    };
    let replies = futures_util::future::join_all((0..20).map(|_| platform.send(ask()))).await;
    let fresh = replies
        .iter()
        .filter(|reply| !reply.headers.contains_key("idempotent-replayed"))
        .count();
    assert_eq!(fresh, 1);
    for reply in replies {
        reply.expect(201);
    }
    assert_eq!(
        platform
            .superuser
            .count("select count(*) from principals")
            .await,
        1
    );
}

#[tokio::test]
async fn a_secret_is_repeated_but_stored_nowhere() {
    let platform = Platform::start().await;
    platform.principal("agent:copilot").await;
    let path = format!("{PATH}/agent:copilot/secrets");
    let ask = || Ask::post(&path, json!({})).key("k-1").by(&platform.acme);
    let first = platform.send(ask()).await.expect(201);
    assert_eq!(platform.send(ask()).await.expect(201).bytes, first.bytes);
    let secret = first.json()["client_secret"].as_str().unwrap().to_owned();
    let key = |token: &str| token.split('_').nth(2).unwrap().to_owned();

    let tables = "select count(*) from pg_tables where schemaname = 'public'";
    assert!(platform.superuser.count(tables).await > 10);
    for table in [
        "replies",
        "client_secrets",
        "service_tokens",
        "outbox",
        "platform_outbox",
    ] {
        let dump = platform.superuser.dump(table).await;
        assert!(
            dump.len() > 10 || table == "platform_outbox",
            "{table} is empty"
        );
        for secret in [&secret, &key(&platform.acme), &key(&platform.root)] {
            assert!(!dump.contains(secret.as_str()), "{table}");
            assert!(!dump.contains(&hex::encode(secret)), "{table}");
        }
    }
}

#[tokio::test]
async fn a_key_is_not_used_for_another_request() {
    let platform = Platform::start().await;
    platform.principal("agent:copilot").await;
    let create = |body| Ask::post(PATH, body).key("k-1").by(&platform.acme);
    platform
        .send(create(json!({"name": "agent:a"})))
        .await
        .expect(201);
    let other = platform.send(create(json!({"name": "agent:b"}))).await;
    other.refused(409, "idempotency-key-reused");
    // The same bytes to another place are another request.
    let elsewhere = Ask::post(
        format!("{PATH}/agent:copilot/secrets"),
        json!({"name": "agent:a"}),
    );
    let elsewhere = platform.send(elsewhere.key("k-1").by(&platform.acme)).await;
    assert_ne!(elsewhere.status, 201);
}

#[tokio::test]
async fn a_key_belongs_to_the_token_that_sent_it() {
    let platform = Platform::start().await;
    let second = platform
        .token(&platform.acme, "acme", portcullis_wire::api::Role::Operator)
        .await;
    let ask = |name: &str, token: &str| Ask::post(PATH, json!({"name": name})).key("k-1").by(token);
    platform
        .send(ask("agent:a", &platform.acme))
        .await
        .expect(201);
    let other = platform.send(ask("agent:b", &second)).await.expect(201);
    assert_eq!(other.json()["name"], "agent:b");
    let repeat = platform.send(ask("agent:b", &second)).await.expect(201);
    assert_eq!(repeat.bytes, other.bytes);
}

#[tokio::test]
async fn a_refused_request_uses_up_no_key() {
    let platform = Platform::start().await;
    platform.principal("agent:taken").await;
    let ask = |name: &str| {
        Ask::post(PATH, json!({"name": name}))
            .key("k-1")
            .by(&platform.acme)
    };
    platform
        .send(ask("agent:taken"))
        .await
        .refused(409, "conflict");
    platform.send(ask("agent:free")).await.expect(201);
    assert_eq!(
        platform
            .superuser
            .count("select count(*) from replies")
            .await,
        1
    );
}

#[tokio::test]
async fn a_key_is_good_for_a_day() {
    let platform = Platform::start().await;
    let body = json!({"slug": "initech", "name": "Initech", "home_pool": "eu-west"});
    let ask = || {
        Ask::post("/tenants", body.clone())
            .key("k-1")
            .by(&platform.root)
    };
    let first = platform.send(ask()).await.expect(201);
    platform.advance(86_399);
    assert_eq!(platform.send(ask()).await.expect(201).bytes, first.bytes);
    platform.advance(2);
    platform.send(ask()).await.refused(409, "conflict");
}

#[tokio::test]
async fn malformed_keys_are_refused() {
    let platform = Platform::start().await;
    let long = "x".repeat(201);
    for key in ["", "\"\"", "a b", "a,b", long.as_str()] {
        let ask = Ask::post(PATH, json!({"name": "agent:a"})).key(key);
        let reply = platform.send(ask.by(&platform.acme)).await;
        reply.refused(400, "malformed-request");
    }
    let twice = Ask::new(Method::POST, PATH)
        .json(json!({"name": "agent:a"}))
        .key("a")
        .key("b");
    let reply = platform.send(twice.by(&platform.acme)).await;
    reply.refused(400, "malformed-request");
    assert_eq!(
        platform
            .superuser
            .count("select count(*) from principals")
            .await,
        0
    );
}
