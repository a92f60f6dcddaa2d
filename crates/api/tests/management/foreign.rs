//! What a tenant learns of another: nothing. A foreign thing answers as one that does not exist, byte
//! for byte.

use serde_json::json;

use crate::egress::registration;
use crate::platform::{Ask, Platform, Reply, text_at, token_id};
use crate::roles::table;

/// What an answer tells, but for the time and the trace in headers that carry none.
fn told(reply: &Reply) -> (u16, Vec<(String, String)>, String) {
    let mut headers: Vec<_> = reply
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    let body = String::from_utf8(reply.bytes.clone()).unwrap();
    (reply.status.as_u16(), headers, body)
}

async fn same(platform: &Platform, foreign: Ask, absent: Ask) {
    let foreign = platform.send(foreign).await;
    let absent = platform.send(absent).await;
    assert_eq!(told(&foreign), told(&absent));
    foreign.refused(404, "not-found");
}

#[tokio::test]
async fn a_foreign_tenant_answers_on_every_route_as_an_absent_one() {
    let platform = Platform::start().await;
    let body = json!({"name": "agent:copilot"});
    let ask = Ask::post("/tenants/globex/principals", body).by(&platform.globex);
    platform.send(ask).await.expect(201);
    let globex = platform
        .send(Ask::get("/tenants/globex").by(&platform.globex))
        .await
        .json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let absent = format!("tnt_{}", "0".repeat(32));
    for row in table().iter().filter(|row| row.path.contains("{tenant}")) {
        for (foreign, absent) in [("globex", "initech"), (&globex, &absent)] {
            same(
                &platform,
                valid(row.path, &row.method, foreign, &platform),
                valid(row.path, &row.method, absent, &platform),
            )
            .await;
        }
    }
}

/// A request that would succeed in one's own tenant, or at least be understood.
fn valid(path: &str, method: &http::Method, tenant: &str, platform: &Platform) -> Ask {
    let absent = "0".repeat(32);
    let path = path
        .replace("{tenant}", tenant)
        .replace("{principal}", "agent:copilot")
        .replace("{secret}", &format!("sec_{absent}"))
        .replace("{grant}", &format!("grt_{absent}"))
        .replace("{claim}", &format!("clm_{absent}"))
        .replace("{ticket}", &format!("tkt_{absent}"))
        .replace("{switch}", &format!("swt_{absent}"))
        .replace("{tool}", "orders.get")
        .replace("{number}", "1");
    let limits = json!({
        "limits": {"rpm": 1, "burst": 1, "concurrency": 1, "daily_cost_usd": 1},
        "stop_rules": {"max_plan_depth": 1, "max_retries": 1},
    });
    let noun = path.rsplit('/').next().unwrap_or_default().to_owned();
    let query = if noun == "records" {
        "?from=2025-01-01T00:00:00Z"
    } else if noun == "egress-check" {
        "?url=https://example.com/"
    } else {
        ""
    };
    let ask = Ask::new(method.clone(), format!("{path}{query}"));
    let ask = match (method.as_str(), noun.as_str()) {
        ("GET" | "DELETE", _) => ask,
        ("POST", "policies") => ask.text("application/yaml", "[]"),
        ("POST", "principals") => ask.json(json!({"name": "agent:other"})),
        ("POST", "grants") => ask.json(json!({"scope": "orders.read"})),
        ("POST", "keys") => ask.json(public_key()),
        ("POST", "resolve") => ask.json(json!({"outcome": "executed", "reason": "Seen"})),
        ("POST", "tickets") => ask.json(json!({
            "tool": "flag.set", "arguments": {"name": "checkout_v2", "env": "prod"},
            "reason": "Launch", "expires_at": text_at(3_600),
        })),
        ("POST", "tools") | ("PUT", "orders.get") => ask.json(registration()),
        ("PUT", "egress-allowlist") => ask.json(json!({"hosts": []})),
        ("POST", "switches") => ask.json(json!({"kind": "tenant-freeze", "reason": "a test"})),
        ("POST", "lift") => ask.json(json!({"reason": "a test"})),
        ("POST", _) => ask.json(json!({})),
        (_, "limits") => ask.json(limits),
        (_, "orders.get") => ask.json(json!({"enabled": false})),
        (_, "agent:copilot") => ask.json(json!({"status": "suspended"})),
        (_, _) => ask.json(json!({"name": "Renamed"})),
    };
    let tagged = method == http::Method::PUT || method == http::Method::PATCH || noun == "publish";
    let ask = if tagged {
        ask.header("if-match", "\"v1\"")
    } else {
        ask
    };
    ask.by(&platform.acme)
}

/// RFC 8037 Appendix A.2.
fn public_key() -> serde_json::Value {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    json!({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": x}})
}

/// Another tenant's things by their ids, and absent ones of the same kind.
async fn pairs(platform: &Platform, ours: &str, theirs: &str) -> Vec<(String, String)> {
    let globex = |ask: Ask| platform.send(ask.by(&platform.globex));
    let at = format!("/tenants/globex/principals/{theirs}");
    let grant = globex(Ask::post(
        format!("{at}/grants"),
        json!({"scope": "orders.read"}),
    ))
    .await;
    let secret = globex(Ask::post(format!("{at}/secrets"), json!({}))).await;
    let key = globex(Ask::post(format!("{at}/keys"), public_key())).await;
    let (grant, secret) = (grant.json()["id"].clone(), secret.json()["id"].clone());
    let token = platform
        .token(
            &platform.globex,
            "globex",
            portcullis_wire::api::Role::Viewer,
        )
        .await;
    let token = token_id(&token);

    let zeros = "0".repeat(32);
    let under = format!("/tenants/acme/principals/{ours}");
    vec![
        (
            format!("/tenants/acme/principals/{theirs}"),
            format!("/tenants/acme/principals/prn_{zeros}"),
        ),
        (
            format!("{under}/grants/{}", grant.as_str().unwrap()),
            format!("{under}/grants/grt_{zeros}"),
        ),
        (
            format!("{under}/secrets/{}", secret.as_str().unwrap()),
            format!("{under}/secrets/sec_{zeros}"),
        ),
        (
            format!("{under}/keys/{}", key.json()["id"].as_str().unwrap()),
            format!("{under}/keys/cky_{zeros}"),
        ),
        (
            format!("/service-tokens/{token}"),
            format!("/service-tokens/svt_{zeros}"),
        ),
    ]
}

#[tokio::test]
async fn ids_of_another_tenants_things_answer_as_absent_ones() {
    let platform = Platform::start().await;
    let ours = platform.principal("agent:copilot").await;
    let globex = |ask: Ask| platform.send(ask.by(&platform.globex));
    let body = json!({"name": "agent:copilot"});
    let theirs = globex(Ask::post("/tenants/globex/principals", body))
        .await
        .json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let at = format!("/tenants/globex/principals/{theirs}");
    let pairs = pairs(&platform, &ours, &theirs).await;
    let changes = platform.changes().await;
    for (foreign, absent) in pairs {
        let make = |path: String| {
            if path.ends_with(&theirs) || path.contains("/prn_0000") {
                Ask::get(path).by(&platform.acme)
            } else {
                Ask::delete(path).by(&platform.acme)
            }
        };
        same(&platform, make(foreign), make(absent)).await;
    }
    assert_eq!(platform.changes().await, changes);
    // And they still work where they belong.
    let reply = globex(Ask::get(format!("{at}/grants"))).await.expect(200);
    assert_eq!(reply.json()["items"][0]["revoked_at"], json!(null));
}

#[tokio::test]
async fn lists_show_nothing_of_another_tenant() {
    let platform = Platform::start().await;
    platform.principal("agent:copilot").await;
    let list = |path: &'static str, token: &str| platform.send(Ask::get(path).by(token));
    let principals = list("/tenants/globex/principals", &platform.globex).await;
    assert_eq!(principals.expect(200).json()["items"], json!([]));
    let tenants = list("/tenants", &platform.globex).await.expect(200).json();
    assert_eq!(tenants["items"].as_array().unwrap().len(), 1);
    assert_eq!(tenants["items"][0]["slug"], "globex");
    let tokens = list("/service-tokens", &platform.globex).await.json();
    assert_eq!(tokens["items"].as_array().unwrap().len(), 1);
    let asked = list("/service-tokens?tenant=acme", &platform.globex).await;
    asked.refused(404, "not-found");
}

#[tokio::test]
async fn a_cursor_of_another_tenants_list_opens_nothing() {
    let platform = Platform::start().await;
    for number in 0..3 {
        platform.principal(&format!("agent:a{number}")).await;
    }
    let page = Ask::get("/tenants/acme/principals?limit=1").by(&platform.acme);
    let cursor = platform.send(page).await.json()["next_cursor"].clone();
    let path = format!(
        "/tenants/globex/principals?cursor={}",
        cursor.as_str().unwrap()
    );
    let reply = platform.send(Ask::get(path).by(&platform.globex)).await;
    assert_eq!(reply.expect(200).json()["items"], json!([]));
}
