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
        ["flag.get", "flag.set", "orders.export", "orders.get"]
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
