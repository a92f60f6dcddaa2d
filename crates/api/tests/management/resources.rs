//! Tenants, principals, secrets, grants, limits and tools: what is created is there, versions count,
//! pages join, and what is already so is refused.

use http::Method;
use portcullis_api::credential;
use serde_json::{Value, json};

use crate::platform::{Ask, Platform, text_at, token_id};

#[tokio::test]
async fn a_tenant_begins_with_a_policy_tools_and_limits() {
    let platform = Platform::start().await;
    let tenant = platform
        .send(Ask::get("/tenants/acme").by(&platform.acme))
        .await;
    let tenant = tenant.expect(200).json();
    assert_eq!(tenant["mcp_url"], "https://gate.example.com/t/acme/mcp");
    assert_eq!(
        (&tenant["region"], &tenant["replay"]),
        (&json!("EU"), &json!("network"))
    );
    let get = |path: &'static str| platform.send(Ask::get(path).by(&platform.acme));
    let policies = get("/tenants/acme/policies").await.expect(200).json();
    assert_eq!(policies["items"][0]["status"], "published");
    let tools = get("/tenants/acme/tools").await.expect(200).json();
    let mut names: Vec<_> = tools["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "flag.get",
            "flag.set",
            "orders.export",
            "orders.get",
            "web.fetchSafe"
        ]
    );
    let limits = get("/tenants/acme/limits").await.expect(200).json();
    assert_eq!(
        (&limits["limits"]["rpm"], &limits["version"]),
        (&json!(6000), &json!(1))
    );
    // By its id it is the same.
    let by_id = format!("/tenants/{}", tenant["id"].as_str().unwrap());
    let same = platform.send(Ask::get(by_id).by(&platform.acme)).await;
    assert_eq!(same.expect(200).json(), tenant);
}

#[tokio::test]
async fn a_slug_is_taken_once_and_keeps_to_its_form() {
    let platform = Platform::start().await;
    let post = |slug: &str| {
        let body = json!({"slug": slug, "name": "X", "home_pool": "us-east"});
        platform.send(Ask::post("/tenants", body).by(&platform.root))
    };
    post("acme").await.refused(409, "conflict");
    for slug in ["A", "x", "-x", "x-", "tnt_x", "x.y", "x/y", "é1"] {
        let problem = post(slug).await.refused(422, "invalid-request").json();
        assert_eq!(problem["facts"]["field"], "slug");
    }
    let sql = "select count(*) from tenants";
    assert_eq!(platform.superuser.count(sql).await, 2);
}

#[tokio::test]
async fn a_tenant_changes_by_version_and_keeps_the_rest() {
    let platform = Platform::start().await;
    let read = platform
        .send(Ask::get("/tenants/acme").by(&platform.acme))
        .await;
    let epoch = platform.epoch().await;
    let patch = |etag: &str, body: Value| {
        let ask = Ask::change(Method::PATCH, "/tenants/acme", etag, body);
        platform.send(ask.by(&platform.acme))
    };
    let changed = patch(&read.etag(), json!({"replay": "one-time"}))
        .await
        .expect(200);
    assert_eq!(changed.json()["replay"], "one-time");
    assert_eq!(changed.json()["name"], "acme");
    assert_eq!(platform.epoch().await, epoch + 1);
    let nothing = patch(&changed.etag(), json!({})).await;
    nothing.refused(422, "invalid-request");
    let fixed = patch(&changed.etag(), json!({"slug": "other"})).await;
    fixed.refused(422, "invalid-request");
    assert_eq!(platform.epoch().await, epoch + 1);
}

#[tokio::test]
async fn pages_join_without_gaps_or_repeats() {
    let platform = Platform::start().await;
    let mut expected = Vec::new();
    for number in 0..7 {
        platform.advance(1);
        expected.push(platform.principal(&format!("agent:a{number}")).await);
    }
    let mut seen = Vec::new();
    let mut path = "/tenants/acme/principals?limit=3".to_owned();
    loop {
        let page = platform.send(Ask::get(path).by(&platform.acme)).await;
        let page = page.expect(200).json();
        let items = page["items"].as_array().unwrap();
        assert!(!items.is_empty() && items.len() <= 3);
        seen.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(cursor) => {
                path = format!("/tenants/acme/principals?limit=3&cursor={cursor}");
            }
            None => break,
        }
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_principal_is_an_oauth_client_with_default_limits() {
    let platform = Platform::start().await;
    let id = platform.principal("agent:copilot").await;
    let taken = Ask::post("/tenants/acme/principals", json!({"name": "agent:copilot"}));
    let taken = platform.send(taken.by(&platform.acme)).await;
    taken.refused(409, "conflict");
    let at = format!("/tenants/acme/principals/{id}");
    let get = |path: String| platform.send(Ask::get(path).by(&platform.acme));
    let principal = get(at.clone()).await.expect(200).json();
    assert_eq!(
        (&principal["type"], &principal["region"]),
        (&json!("agent"), &json!("EU"))
    );
    let limits = get(format!("{at}/limits")).await.expect(200).json();
    assert_eq!(limits["limits"]["rpm"], 60);
    let secret = Ask::post(format!("{at}/secrets"), json!({"expires_at": text_at(60)}));
    let secret = platform
        .send(secret.by(&platform.acme))
        .await
        .expect(201)
        .json();
    assert_eq!(secret["client_id"], id.as_str());
    let text = secret["client_secret"].as_str().unwrap();
    assert!(credential::is_client_secret(text));
    let hash = hex::encode(credential::hash(text));
    let sql = format!("select count(*) from client_secrets where hash = '\\x{hash}'");
    assert_eq!(platform.superuser.count(&sql).await, 1);
    for name in ["agent:nobody", "copilot", "prn_0", "..", "%2e%2e"] {
        let reply = get(format!("/tenants/acme/principals/{name}")).await;
        reply.refused(404, "not-found");
    }
}

#[tokio::test]
async fn ten_secrets_work_at_once_and_revoking_one_makes_room() {
    let platform = Platform::start().await;
    platform.principal("agent:copilot").await;
    let at = "/tenants/acme/principals/agent:copilot/secrets";
    let create = || Ask::post(at, json!({})).by(&platform.acme);
    let first = platform.send(create()).await.expect(201).json();
    platform.advance(1);
    for _ in 1..10 {
        platform.send(create()).await.expect(201);
    }
    platform.send(create()).await.refused(409, "conflict");
    let first = first["id"].as_str().unwrap();
    let changes = platform.changes().await;
    for _ in 0..2 {
        let ask = Ask::delete(format!("{at}/{first}")).by(&platform.acme);
        platform.send(ask).await.expect(204);
    }
    assert_eq!(platform.changes().await, changes + 1);
    platform.send(create()).await.expect(201);
    let list = platform.send(Ask::get(at).by(&platform.acme)).await;
    let list = list.expect(200);
    assert_eq!(list.json()["items"].as_array().unwrap().len(), 11);
    assert!(list.json()["items"][0]["revoked_at"].is_string());
    assert!(!String::from_utf8(list.bytes).unwrap().contains("pcs_"));
}

#[tokio::test]
async fn rotating_gives_the_others_an_end_that_is_never_later_than_theirs() {
    let platform = Platform::start().await;
    platform.principal("agent:copilot").await;
    let at = "/tenants/acme/principals/agent:copilot/secrets";
    let ask = |path: String, body: Value| platform.send(Ask::post(path, body).by(&platform.acme));
    let lasting = ask(at.to_owned(), json!({})).await.expect(201).json();
    platform.advance(1);
    let body = json!({"expires_at": text_at(30)});
    let ending = ask(at.to_owned(), body).await.expect(201).json();
    platform.advance(1);
    let changes = platform.changes().await;
    let rotate = format!("{at}/rotate");
    let new = ask(rotate.clone(), json!({"overlap_seconds": 60})).await;
    let new = new.expect(201).json();
    assert!(new["client_secret"].as_str().unwrap().starts_with("pcs_"));
    assert_eq!(platform.changes().await, changes + 1);
    let ends = async || {
        let list = platform.send(Ask::get(at).by(&platform.acme)).await;
        let items = list.expect(200).json()["items"].clone();
        let items = items.as_array().unwrap().clone();
        move |of: &Value| {
            let item = items.iter().find(|item| item["id"] == of["id"]).unwrap();
            (item["expires_at"].clone(), item["revoked_at"].clone())
        }
    };
    let end_of = ends().await;
    assert_eq!(end_of(&new), (Value::Null, Value::Null));
    assert_eq!(end_of(&lasting), (json!(text_at(62)), Value::Null));
    assert_eq!(end_of(&ending), (json!(text_at(30)), Value::Null));
    // Without an overlap the others end now, and the new one alone is left.
    let last = ask(rotate, json!({"overlap_seconds": 0})).await.expect(201);
    let end_of = ends().await;
    for old in [&new, &lasting, &ending] {
        assert!(end_of(old).1.is_string(), "{old}");
    }
    assert_eq!(end_of(&last.json()), (Value::Null, Value::Null));
}

#[tokio::test]
async fn a_rotation_that_breaks_a_rule_changes_nothing() {
    let platform = Platform::start().await;
    platform.principal("agent:copilot").await;
    let at = "/tenants/acme/principals/agent:copilot/secrets";
    let first = Ask::post(at, json!({})).by(&platform.acme);
    platform.send(first).await.expect(201);
    let before = platform.superuser.dump("client_secrets").await;
    for (body, field) in [
        (json!({"overlap_seconds": 2_592_001}), "overlap_seconds"),
        (json!({"overlap_seconds": -1}), "overlap_seconds"),
        (json!({"overlap_seconds": "a day"}), "overlap_seconds"),
        (json!({"overlap": 60}), "overlap"),
        (json!({"expires_at": text_at(0)}), "expires_at"),
    ] {
        let ask = Ask::post(format!("{at}/rotate"), body.clone()).by(&platform.acme);
        let reply = platform.send(ask).await;
        assert!(matches!(reply.status.as_u16(), 400 | 422), "{body}");
        assert!(reply.json().to_string().contains(field), "{body}");
    }
    let other = Ask::post(format!("{at}/rotate"), json!({})).by(&platform.globex);
    platform.send(other).await.refused(404, "not-found");
    assert_eq!(platform.superuser.dump("client_secrets").await, before);
}

/// RFC 8037 Appendix A.2.
const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

#[tokio::test]
async fn a_public_key_is_registered_once_and_revoked() {
    let platform = Platform::start().await;
    platform.principal("agent:copilot").await;
    let at = "/tenants/acme/principals/agent:copilot/keys";
    let add = |jwk: Value| platform.send(Ask::post(at, json!({"jwk": jwk})).by(&platform.acme));
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": X, "kid": "laptop", "use": "sig"});
    let made = add(key.clone()).await.expect(201).json();
    assert_eq!(
        (&made["kid"], &made["jwk"]["alg"]),
        (&json!("laptop"), &json!("EdDSA"))
    );
    add(key.clone()).await.refused(409, "conflict");
    for _ in 0..2 {
        let ask = Ask::delete(format!("{at}/{}", made["id"].as_str().unwrap()));
        platform.send(ask.by(&platform.acme)).await.expect(204);
    }
    // A name that was revoked is not given again, not even to another key.
    add(key).await.refused(409, "conflict");
    let unnamed = add(json!({"kty": "OKP", "crv": "Ed25519", "x": X})).await;
    assert_eq!(
        unnamed.expect(201).json()["kid"],
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
    let list = platform
        .send(Ask::get(at).by(&platform.acme))
        .await
        .expect(200);
    let items = list.json()["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), 2);
    assert!(items.iter().any(|item| item["revoked_at"].is_string()));
}

#[tokio::test]
async fn a_key_that_is_private_weak_or_unknown_is_refused_by_its_member() {
    let platform = Platform::start().await;
    platform.principal("agent:copilot").await;
    let at = "/tenants/acme/principals/agent:copilot/keys";
    for (jwk, member) in [
        (json!({"kty": "OKP", "crv": "Ed25519", "x": X, "d": X}), "d"),
        (json!({"kty": "oct", "k": "c2VjcmV0"}), "k"),
        (
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "PS256"}),
            "modulus",
        ),
        (json!({"kty": "OKP", "crv": "Ed448", "x": X}), "crv"),
        (
            json!({"kty": "OKP", "crv": "Ed25519", "x": X, "x5u": "https://example.com"}),
            "x5u",
        ),
        (json!("text"), "object"),
    ] {
        let ask = Ask::post(at, json!({"jwk": jwk})).by(&platform.acme);
        let reply = platform.send(ask).await;
        assert_eq!(reply.status, 422, "{member}");
        let told = reply.json().to_string();
        assert!(told.contains(member) && !told.contains(X), "{told}");
    }
    assert_eq!(
        platform
            .superuser
            .count("select count(*) from client_keys")
            .await,
        0
    );
}

#[tokio::test]
async fn a_grant_that_gives_nothing_new_is_refused() {
    let platform = Platform::start().await;
    platform.principal("agent:copilot").await;
    let at = "/tenants/acme/principals/agent:copilot/grants";
    let grant = |body: Value| platform.send(Ask::post(at, body).by(&platform.acme));
    let first = grant(json!({"scope": "orders.read", "expires_at": text_at(60)})).await;
    let first = first.expect(201).json();
    let actor = first["granted_by"].as_str().unwrap();
    assert_eq!(actor, format!("service-token:{}", token_id(&platform.acme)));
    for body in [
        json!({"scope": "orders.read", "expires_at": text_at(60)}),
        json!({"scope": "orders.read", "expires_at": text_at(30)}),
    ] {
        grant(body).await.refused(409, "conflict");
    }
    // Longer, or for a purpose, is something new.
    platform.advance(1);
    grant(json!({"scope": "orders.read", "expires_at": text_at(61)}))
        .await
        .expect(201);
    grant(json!({"scope": "orders.read", "purpose": "support"}))
        .await
        .expect(201);
    for scope in ["*", "orders.*", "orders", "orders.read orders.write"] {
        let problem = grant(json!({"scope": scope})).await;
        assert_eq!(
            problem.refused(422, "invalid-request").json()["facts"]["field"],
            "scope"
        );
    }
    let ask = Ask::delete(format!("{at}/{}", first["id"].as_str().unwrap()));
    platform.send(ask.by(&platform.acme)).await.expect(204);
    let list = platform.send(Ask::get(at).by(&platform.acme)).await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
    assert!(list["items"][0]["revoked_at"].is_string());
}

#[tokio::test]
async fn the_playbooks_limits_file_is_taken_as_it_is() {
    let platform = Platform::start().await;
    platform.principal("agent:copilot").await;
    platform.principal("agent:other").await;
    let file = include_str!("../../../../policies/limits.json");
    let put = |path: &str, etag: &str, body: &str| {
        let ask = Ask::new(Method::PUT, format!("/tenants/acme{path}"))
            .text("application/json", body)
            .header("if-match", etag);
        platform.send(ask.by(&platform.acme))
    };
    let own = "/principals/agent:copilot/limits";
    let set = put(own, "\"v1\"", file).await.expect(200);
    assert_eq!(set.json()["limits"]["daily_cost_usd"], 50);
    assert_eq!(set.etag(), "\"v2\"");
    put(own, "\"v1\"", file)
        .await
        .refused(412, "precondition-failed");
    let wrong = put("/principals/agent:other/limits", "\"v1\"", file).await;
    assert_eq!(
        wrong.refused(422, "invalid-request").json()["facts"]["field"],
        "principal"
    );
    put("/limits", "\"v1\"", file)
        .await
        .refused(422, "invalid-request");
    let zero = file.replace("\"rpm\": 60", "\"rpm\": 0");
    let problem = put(own, "\"v2\"", &zero)
        .await
        .refused(422, "invalid-request")
        .json();
    assert!(
        problem["detail"].as_str().unwrap().contains("rpm"),
        "{problem}"
    );
    let misspelt = file.replace("burst", "brust");
    let problem = put(own, "\"v2\"", &misspelt)
        .await
        .refused(422, "invalid-request");
    assert_eq!(problem.json()["facts"]["field"], "limits.brust");
    let dear = file.replace("50", "0.0000001");
    put(own, "\"v2\"", &dear)
        .await
        .refused(422, "invalid-request");
    assert_eq!(put(own, "\"v2\"", file).await.expect(200).etag(), "\"v3\"");
}

#[tokio::test]
async fn ten_at_once_set_limits_from_one_version_and_one_wins() {
    let platform = Platform::start().await;
    let body = json!({
        "limits": {"rpm": 7, "burst": 1, "concurrency": 1, "daily_cost_usd": 1},
        "stop_rules": {"max_plan_depth": 1, "max_retries": 1},
    });
    let put = || {
        let path = "/tenants/acme/limits";
        let ask = Ask::change(Method::PUT, path, "\"v1\"", body.clone());
        platform.send(ask.by(&platform.acme))
    };
    let replies = futures_util::future::join_all((0..10).map(|_| put())).await;
    let won = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(won, 1);
    for reply in replies.into_iter().filter(|reply| reply.status != 200) {
        reply.refused(412, "precondition-failed");
    }
}

#[tokio::test]
async fn a_tool_is_taken_out_of_the_catalog_by_version() {
    let platform = Platform::start().await;
    let path = "/tenants/acme/tools/orders.get";
    let read = platform
        .send(Ask::get(path).by(&platform.acme))
        .await
        .expect(200);
    let detail = read.json();
    assert_eq!(detail["versions"][0]["number"], 1);
    assert_eq!(detail["versions"][0]["sha256"], detail["tool"]["sha256"]);
    assert_eq!(detail["versions"][0]["definition"]["name"], "orders.get");
    let change = |etag: &str| {
        let ask = Ask::change(Method::PATCH, path, etag, json!({"enabled": false}));
        platform.send(ask.by(&platform.acme))
    };
    let changed = change(&read.etag()).await.expect(200);
    assert_eq!(changed.json()["enabled"], false);
    change(&read.etag())
        .await
        .refused(412, "precondition-failed");
    for name in ["orders.nothing", "tol_0", "orders.get%00"] {
        let ask = Ask::get(format!("/tenants/acme/tools/{name}")).by(&platform.acme);
        platform.send(ask).await.refused(404, "not-found");
    }
}
