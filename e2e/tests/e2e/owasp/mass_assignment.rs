//! Members that nobody asked for: refused by name.

use portcullis_e2e::{Grants, Http, Platform, Reply};
use serde_json::json;

use crate::answers::{assert_denied, week};

#[tokio::test]
async fn owasp_mass_assignment_an_unknown_field_is_refused_by_name() {
    let platform = Platform::shared().unwrap();
    let client = platform.caller("acme").await.unwrap();
    for field in ["evil", "tenant_id", "__proto__", "limit", "From"] {
        let mut arguments = week();
        arguments[field] = json!("oops");
        let reply = client
            .call("orders.export", arguments.clone())
            .await
            .unwrap();
        assert_denied(&reply, "invalid-arguments");
        assert!(reply.words().contains(field), "{}", reply.words());
        let plain = Http::new()
            .unwrap()
            .post(&platform.tool_url("acme", "orders.export"))
            .bearer_auth(client.token())
            .json(&arguments);
        let plain = Reply::to(plain).await.unwrap();
        assert_eq!(plain.status, 400, "{}", plain.told());
        assert_eq!(plain.json()["type"], "/problems/invalid-arguments");
        assert!(plain.text().contains(field), "{}", plain.told());
    }
}

#[tokio::test]
async fn owasp_mass_assignment_the_management_api_refuses_unknown_members_too() {
    let platform = Platform::shared().unwrap();
    let owner = platform.owner("acme").unwrap();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let principal = format!("/tenants/acme/principals/{}", agent.client_id);
    for (method, path, body) in [
        (
            "POST",
            "/tenants/acme/principals".to_owned(),
            json!({"name": "agent:x", "role": "owner"}),
        ),
        (
            "POST",
            format!("{principal}/grants"),
            json!({"scope": "a.b", "granted_by": "user:boss"}),
        ),
        (
            "PATCH",
            principal.clone(),
            json!({"status": "active", "tenant_id": "x"}),
        ),
        (
            "PATCH",
            "/tenants/acme".to_owned(),
            json!({"home_pool": "us-east"}),
        ),
    ] {
        let method: reqwest::Method = method.parse().unwrap();
        let tag = owner.get(&path).await.unwrap();
        let tag = tag.header("etag").unwrap_or("\"1\"").to_owned();
        let request = owner
            .request(method, &path)
            .header("if-match", tag)
            .json(&body);
        let reply = Reply::to(request).await.unwrap();
        assert_eq!(reply.status, 422, "{path}: {}", reply.told());
    }
}
