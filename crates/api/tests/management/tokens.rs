//! Service tokens: who gives which, and how they end.

use portcullis_wire::api::Role;
use serde_json::{Value, json};

use crate::platform::{Ask, Platform, text_at, token_id};

fn new(role: &str, tenant: Value, seconds: i64) -> Value {
    let mut body = json!({"name": "a test", "role": role, "expires_at": text_at(seconds)});
    if !tenant.is_null() {
        body["tenant"] = tenant;
    }
    body
}

#[tokio::test]
async fn nobody_gives_a_role_that_is_not_his_to_give() {
    let platform = Platform::start().await;
    let day = 86_400;
    let post =
        |body: Value, token: &str| platform.send(Ask::post("/service-tokens", body).by(token));
    for role in ["operator", "approver", "auditor", "viewer"] {
        let reply = post(new(role, json!("acme"), day), &platform.root).await;
        reply.refused(403, "forbidden");
    }
    let reply = post(new("platform", Value::Null, day), &platform.acme).await;
    reply.refused(403, "forbidden");
    let reply = post(new("owner", json!("globex"), day), &platform.acme).await;
    reply.refused(404, "not-found");
    let reply = post(new("owner", Value::Null, day), &platform.root).await;
    let problem = reply.refused(422, "invalid-request").json();
    assert_eq!(problem["facts"]["field"], "tenant");
    let reply = post(new("platform", json!("acme"), day), &platform.root).await;
    reply.refused(422, "invalid-request");
    let reply = post(new("root", json!("acme"), day), &platform.acme).await;
    reply.refused(422, "invalid-request");
    let operator = platform.token(&platform.acme, "acme", Role::Operator).await;
    let reply = post(new("viewer", json!("acme"), day), &operator).await;
    reply.refused(403, "forbidden");
}

#[tokio::test]
async fn the_platform_gives_a_tenant_its_first_owner_and_no_second_one() {
    let platform = Platform::start().await;
    let post = |key: &str, by: &str| {
        let body = new("owner", json!("acme"), 86_400);
        platform.send(Ask::post("/service-tokens", body).key(key).by(by))
    };
    post("1", &platform.root).await.refused(409, "conflict");
    let second = post("2", &platform.acme).await.expect(201).json();
    let id = token_id(&platform.acme);
    let ask = Ask::delete(format!("/service-tokens/{id}")).by(&platform.acme);
    platform.send(ask).await.expect(204);
    post("1", &platform.root).await.refused(409, "conflict");
    let second = second["service_token"]["id"].as_str().unwrap();
    let ask = Ask::delete(format!("/service-tokens/{second}")).by(&platform.root);
    platform.send(ask).await.expect(204);
    // Nobody else can give one now, and of two at once one is the first.
    let (one, other) = tokio::join!(post("3", &platform.root), post("4", &platform.root));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
}

#[tokio::test]
async fn a_token_lives_at_most_a_year_and_a_day() {
    let platform = Platform::start().await;
    for seconds in [-1, 0, 366 * 86_400 + 1] {
        let body = new("viewer", json!("acme"), seconds);
        let ask = Ask::post("/service-tokens", body).by(&platform.acme);
        let problem = platform.send(ask).await.refused(422, "invalid-request");
        assert_eq!(problem.json()["facts"]["field"], "expires_at", "{seconds}");
    }
    let body = new("viewer", json!("acme"), 366 * 86_400);
    let ask = Ask::post("/service-tokens", body).by(&platform.acme);
    platform.send(ask).await.expect(201);
}

#[tokio::test]
async fn lists_show_tokens_of_ones_own_plane_and_never_a_secret() {
    let platform = Platform::start().await;
    let list = |path: &'static str, token: &str| platform.send(Ask::get(path).by(token));
    let own = list("/service-tokens", &platform.acme).await.expect(200);
    assert_eq!(own.json()["items"].as_array().unwrap().len(), 1);
    assert_eq!(own.json()["items"][0]["role"], "owner");
    assert!(own.json()["items"][0]["last_used_at"].is_string());
    let of_platform = list("/service-tokens", &platform.root).await.expect(200);
    let items = of_platform.json()["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["role"], "platform");
    let of_acme = list("/service-tokens?tenant=acme", &platform.root).await;
    assert_eq!(of_acme.expect(200).bytes.len(), own.bytes.len());
    for reply in [own.bytes, of_platform.bytes] {
        let told = String::from_utf8(reply).unwrap();
        assert!(!told.contains("pst_") && !told.contains("hash"), "{told}");
    }
}

#[tokio::test]
async fn every_change_is_written_down_with_who_made_it() {
    let platform = Platform::start().await;
    let body = new("platform", Value::Null, 86_400);
    let ask = Ask::post("/service-tokens", body).by(&platform.root);
    let created = platform.send(ask).await.expect(201).json();
    let id = created["service_token"]["id"].as_str().unwrap();
    let ask = Ask::delete(format!("/service-tokens/{id}")).by(&platform.root);
    platform.send(ask).await.expect(204);
    let actor = format!("service-token:{}", token_id(&platform.root));
    let sql = format!(
        "select count(*) from platform_outbox where actor = '{actor}' and subject = '{id}'
         and action in ('service_token.create', 'service_token.revoke')"
    );
    assert_eq!(platform.superuser.count(&sql).await, 2);
    // The first owner of a tenant stands in the tenant's own outbox, with the platform as actor.
    let sql = format!(
        "select count(*) from outbox o join tenants t on t.id = o.tenant_id
         where t.slug = 'acme' and o.actor = '{actor}' and o.action = 'service_token.create'"
    );
    assert_eq!(platform.superuser.count(&sql).await, 1);
}

#[tokio::test]
async fn a_revoked_token_does_not_come_back() {
    let platform = Platform::start().await;
    let viewer = platform.token(&platform.acme, "acme", Role::Viewer).await;
    let id = token_id(&viewer);

    let revoke = || Ask::delete(format!("/service-tokens/{id}")).by(&platform.acme);
    platform.send(revoke()).await.expect(204);
    let refused = platform.send(Ask::get("/tenants").by(&viewer)).await;
    refused.refused(401, "unauthenticated");
    platform.send(revoke()).await.expect(204);
    let refused = platform.send(Ask::get("/tenants").by(&viewer)).await;
    refused.refused(401, "unauthenticated");
}
