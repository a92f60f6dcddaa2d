//! Tokens at the door: what is no token, whose token it is, from where, and how often.

use std::net::IpAddr;

use portcullis_e2e::forge::{self, Forger};
use portcullis_e2e::{Grants, Http, McpClient, Options, Platform, Reply, raw};
use serde_json::{Value, json};

use crate::answers::{assert_unauthorized, comparable, problem};

fn shared() -> &'static Platform {
    Platform::shared().unwrap()
}

async fn list_with(client: &McpClient, token: &str) -> Reply {
    client
        .clone()
        .with_token(token)
        .send("tools/list", json!({}))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_request_without_a_token_is_told_where_to_get_one() {
    let platform = shared();
    let http = Http::new().unwrap();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    for url in [
        platform.mcp_url("acme"),
        platform.tool_url("acme", "orders.get"),
    ] {
        let reply = Reply::to(http.post(&url).json(&body)).await.unwrap();
        assert_unauthorized(&reply, "token-missing");
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(!challenge.contains("error="), "RFC 6750 §3.1: {challenge}");
        let metadata = challenge.split('"').nth(1).unwrap();
        let found = Reply::to(http.get(metadata)).await.unwrap();
        assert_eq!(
            found.json()["resource"],
            platform.mcp_url("acme"),
            "{}",
            found.told()
        );
    }
}

#[tokio::test]
async fn a_token_anywhere_but_in_the_header_is_not_read() {
    let platform = shared();
    let client = platform.caller("acme").await.unwrap();
    let http = Http::new().unwrap();
    let token = client.token();
    let body = client.body("tools/list", json!({}));
    let url = format!("{}?access_token={token}", client.url());
    let in_query = Reply::to(http.post(&url).json(&body)).await.unwrap();
    assert_unauthorized(&in_query, "token-missing");
    let cookie = http
        .post(client.url())
        .header("cookie", format!("access_token={token}"));
    assert_unauthorized(
        &Reply::to(cookie.json(&body)).await.unwrap(),
        "token-missing",
    );
    let form = http.post(client.url()).form(&[("access_token", token)]);
    assert_unauthorized(&Reply::to(form).await.unwrap(), "token-missing");
    let mut with_member = body.clone();
    with_member["access_token"] = json!(token);
    let in_body = Reply::to(http.post(client.url()).json(&with_member))
        .await
        .unwrap();
    assert_unauthorized(&in_body, "token-missing");
}

#[tokio::test]
async fn what_is_no_token_is_refused_as_invalid() {
    let platform = shared();
    let client = platform.caller("acme").await.unwrap();
    let good = client.token();
    let parts: Vec<_> = good.split('.').collect();
    let (_, payload, signature) = (parts[0], parts[1], parts[2]);
    let flipped: String = signature.chars().rev().collect();
    let wrong = [
        "garbage".to_owned(),
        "..".to_owned(),
        format!("{}.{payload}.", parts[0]),
        format!("{}.{payload}.{flipped}", parts[0]),
        // {"alg":"none","typ":"at+jwt"}
        format!("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{payload}."),
        format!("{good}.{signature}"),
        "a".repeat(8_193),
    ];
    for token in wrong {
        let reply = list_with(&client, &token).await;
        assert_unauthorized(&reply, "token-invalid");
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        assert!(
            !reply.text().contains(payload),
            "the token came back: {}",
            reply.told()
        );
    }
    assert_eq!(list_with(&client, good).await.status, 200);
}

#[tokio::test]
async fn another_scheme_is_no_bearer_token() {
    let platform = shared();
    let client = platform.caller("acme").await.unwrap();
    let body = client.body("tools/list", json!({}));
    let address = platform.address().unwrap();
    let host = address.to_string();
    for value in ["Basic YTpi", "Bearer", "Bearer a b", "DPoP x", ""] {
        let headers = [
            ("authorization", value),
            ("content-type", "application/json"),
        ];
        let request = raw::post("/t/acme/mcp", &host, &headers, &body.to_string());
        let reply = raw::exchange(address, &request).await.unwrap();
        assert_eq!(reply.status, 401, "{value:?}: {}", reply.text);
    }
}

#[tokio::test]
async fn two_authorization_headers_are_refused_even_if_one_is_good() {
    let platform = shared();
    let client = platform.caller("acme").await.unwrap();
    let good = format!("Bearer {}", client.token());
    let body = client.body("tools/list", json!({})).to_string();
    let address = platform.address().unwrap();
    let host = address.to_string();
    for pair in [
        [good.as_str(), good.as_str()],
        [good.as_str(), "Basic YTpi"],
    ] {
        let headers = [
            ("content-type", "application/json"),
            ("authorization", pair[0]),
            ("authorization", pair[1]),
        ];
        let request = raw::post("/t/acme/mcp", &host, &headers, &body);
        let reply = raw::exchange(address, &request).await.unwrap();
        assert!([400, 401].contains(&reply.status), "{}", reply.text);
        assert!(!reply.text.contains("\"tools\""), "{}", reply.text);
    }
}

/// Claims as our issuer would make them, in seconds from now.
fn fresh_claims(client: &McpClient, jti: &str, from: i64, to: i64) -> Value {
    let mut claims = forge::claims(client.token()).unwrap();
    // The token was issued moments ago; its own clock is the platform's.
    let now = claims["iat"].as_i64().unwrap();
    claims["iat"] = json!(now + from);
    claims["nbf"] = json!(now + from);
    claims["exp"] = json!(now + to);
    claims["jti"] = json!(jti);
    claims
}

#[tokio::test]
async fn a_token_past_its_end_is_expired_and_the_answer_says_so() {
    let platform = shared();
    let client = platform.caller("acme").await.unwrap();
    let forger = Forger::of(platform.data()).unwrap();
    let old = forger.sign(&fresh_claims(&client, "e2e-old", -400, -120));
    let reply = list_with(&client, &old).await;
    assert_unauthorized(&reply, "token-expired");
    assert!(
        reply
            .header("www-authenticate")
            .unwrap()
            .contains("invalid_token")
    );
    let within_skew = forger.sign(&fresh_claims(&client, "e2e-skew", -400, -30));
    assert_eq!(
        list_with(&client, &within_skew).await.status,
        200,
        "60 s of skew are allowed"
    );
}

#[tokio::test]
async fn a_properly_signed_token_that_breaks_a_rule_is_refused() {
    let platform = shared();
    let client = platform.caller("acme").await.unwrap();
    let forger = Forger::of(platform.data()).unwrap();
    let good = fresh_claims(&client, "e2e-good", 0, 600);
    let change = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let mut wrong = vec![
        fresh_claims(&client, "e2e-long", 0, 601),
        fresh_claims(&client, "e2e-future", 120, 600),
        change("aud", json!(platform.mcp_url("globex"))),
        change("aud", json!([])),
        change("iss", json!("http://127.0.0.1:1")),
        change("exp", json!("soon")),
        change("exp", Value::Null),
        change("jti", json!("")),
        change("scope", json!("*")),
        change("sub", json!("agent:nobody-of-this-name")),
    ];
    for claim in ["iss", "aud", "sub", "exp", "nbf", "iat", "jti"] {
        wrong.push(without(claim));
    }
    for claims in wrong {
        let reply = list_with(&client, &forger.sign(&claims)).await;
        assert_eq!(reply.status, 401, "{claims}: {}", reply.told());
    }
    let header = |extra: (&str, Value)| {
        let mut header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": forger.kid()});
        header[extra.0] = extra.1;
        header
    };
    for extra in [
        ("typ", json!("JWT")),
        ("alg", json!("HS256")),
        ("alg", json!("none")),
        ("kid", json!("another")),
        ("jku", json!("http://127.0.0.1/keys")),
        ("jwk", json!({"kty": "OKP"})),
        ("crit", json!(["exp"])),
    ] {
        let name = extra.0;
        let reply = list_with(&client, &forger.sign_with(&header(extra), &good)).await;
        assert_eq!(reply.status, 401, "{name}: {}", reply.told());
    }
    let reply = list_with(&client, &forger.sign(&good)).await;
    assert_eq!(
        reply.status,
        200,
        "without a lie it works: {}",
        reply.told()
    );
}

#[tokio::test]
async fn a_token_of_one_tenant_opens_no_other() {
    let platform = shared();
    let globex = platform.caller("globex").await.unwrap();
    let stolen = McpClient::new(
        &Http::new().unwrap(),
        platform.mcp_url("acme"),
        globex.token().to_owned(),
    );
    let reply = stolen.send("tools/list", json!({})).await.unwrap();
    assert_unauthorized(&reply, "token-invalid");
}

#[tokio::test]
async fn an_absent_tenant_answers_as_a_foreign_one() {
    let platform = shared();
    let client = platform.caller("acme").await.unwrap();
    let http = Http::new().unwrap();
    for token in [Some(client.token()), Some("garbage"), None] {
        let mut seen = Vec::new();
        for tenant in ["globex", "glebox"] {
            let mut request = http.post(&platform.mcp_url(tenant));
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
            let reply = Reply::to(request.json(&body)).await.unwrap();
            assert_eq!(reply.status, 401, "{tenant}: {}", reply.told());
            seen.push(comparable(&reply).replace(tenant, "TENANT"));
        }
        assert_eq!(seen[0], seen[1]);
    }
}

#[tokio::test]
async fn a_token_from_another_address_is_replayed() {
    let options = Options::default().with("PORTCULLIS_TOKENS_NETWORK_PREFIX_V4", "32");
    let platform = Platform::start_with(options).await.unwrap();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let client = agent.caller().await.unwrap();
    let elsewhere = Http::calling_from(IpAddr::from([127, 0, 0, 2])).unwrap();
    let thief = McpClient::new(
        &elsewhere,
        agent.mcp_url().to_owned(),
        client.token().to_owned(),
    );
    let refused = thief.send("tools/list", json!({})).await.unwrap();
    assert_unauthorized(&refused, "token-replayed");
    assert!(
        problem(&refused)["remedy"]
            .as_str()
            .is_some_and(|words| words.contains("network"))
    );
    // The rightful holder is not locked out by the thief.
    assert_eq!(
        client.send("tools/list", json!({})).await.unwrap().status,
        200
    );
    // A header that claims another address is believed from nobody here.
    let body = client.body("tools/list", json!({}));
    let claimed = thief.request(&body).header("forwarded", "for=127.0.0.1");
    assert_unauthorized(&Reply::to(claimed).await.unwrap(), "token-replayed");
    let claimed = thief.request(&body).header("x-forwarded-for", "127.0.0.1");
    assert_unauthorized(&Reply::to(claimed).await.unwrap(), "token-replayed");
    // A token that was first used from there is good there.
    let own = agent.ask_for_token(&elsewhere, None).await.unwrap();
    let own = thief.with_token(own.json()["access_token"].as_str().unwrap());
    assert_eq!(own.send("tools/list", json!({})).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_binding_survives_a_restart() {
    let options = Options::default().with("PORTCULLIS_TOKENS_NETWORK_PREFIX_V4", "32");
    let mut platform = Platform::start_with(options).await.unwrap();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let client = agent.caller().await.unwrap();
    platform.kill().unwrap();
    platform.start_again().await.unwrap();
    let elsewhere = Http::calling_from(IpAddr::from([127, 0, 0, 2])).unwrap();
    let thief = McpClient::new(
        &elsewhere,
        agent.mcp_url().to_owned(),
        client.token().to_owned(),
    );
    let refused = thief.send("tools/list", json!({})).await.unwrap();
    assert_unauthorized(&refused, "token-replayed");
    assert_eq!(
        client.send("tools/list", json!({})).await.unwrap().status,
        200
    );
}

#[tokio::test]
async fn a_tenant_that_asks_for_one_time_tokens_gets_them() {
    let platform = Platform::start().await.unwrap();
    let agent = platform.agent("globex", &Grants::default()).await.unwrap();
    agent.caller().await.unwrap();
    let owner = platform.owner("globex").unwrap();
    owner
        .patch("/tenants/globex", &json!({"replay": "one-time"}))
        .await
        .unwrap();
    let probe = || async {
        let client = fresh(&agent).await;
        let first = client.send("tools/list", json!({})).await?;
        let second = client.send("tools/list", json!({})).await?;
        Ok(((first.status, second.status) == (200, 401)).then_some(second))
    };
    let patience = portcullis_e2e::agent::PATIENCE;
    let second = portcullis_e2e::wait::until("one-time tokens", patience, probe)
        .await
        .unwrap();
    assert_unauthorized(&second, "token-replayed");
    // At once, not only one after the other: of many, one.
    let client = fresh(&agent)
        .await
        .with_token(&agent.token().await.unwrap());
    let mut uses = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let client = client.clone();
        uses.spawn(async move { client.send("tools/list", json!({})).await.unwrap().status });
    }
    let statuses = uses.join_all().await;
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|status| **status == 401).count(),
        49,
        "{statuses:?}"
    );
}

async fn fresh(agent: &portcullis_e2e::Agent) -> McpClient {
    let token = agent.token().await.unwrap();
    McpClient::new(&Http::new().unwrap(), agent.mcp_url().to_owned(), token)
}

#[tokio::test]
async fn fresh_tokens_of_an_agent_over_its_rate_make_no_rows() {
    let platform = Platform::start().await.unwrap();
    let slow = Grants::default().and_limits(json!({
        "rpm": 1, "burst": 100, "concurrency": 5, "daily_cost_usd": 50,
    }));
    let agent = platform.agent("acme", &slow).await.unwrap();
    let client = agent.caller().await.unwrap();
    let mut last = 200;
    for _ in 0..100 {
        last = client.send("tools/list", json!({})).await.unwrap().status;
    }
    assert_eq!(last, 429, "the burst is spent");
    let control = platform.database("portcullis_control");
    let bindings = || {
        control
            .query("select count(*) from token_bindings")
            .unwrap()
    };
    let before = bindings();
    for _ in 0..10 {
        let reply = list_with(&client, &agent.token().await.unwrap()).await;
        assert_eq!(reply.status, 429, "{}", reply.told());
        assert_eq!(problem(&reply)["type"], "/problems/rate-limited");
        assert!(reply.header("retry-after").is_some(), "{}", reply.told());
    }
    assert_eq!(bindings(), before);
    // It was this agent's rate: another's first use is bound.
    platform.caller("acme").await.unwrap();
    assert_ne!(bindings(), before);
}
