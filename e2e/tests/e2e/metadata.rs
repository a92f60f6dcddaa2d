//! OAuth metadata says what is true: every endpoint that it names answers, every method that it
//! lists works, and every token verifies with the keys that it points to.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};
use portcullis_e2e::{Agent, Grants, Http, Platform, Reply, forge};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

async fn get(url: &str) -> Reply {
    Reply::to(Http::new().unwrap().get(url)).await.unwrap()
}

async fn server_metadata(platform: &Platform) -> Value {
    let reply = get(&format!(
        "{}/.well-known/oauth-authorization-server",
        platform.url()
    ))
    .await;
    assert_eq!(reply.status, 200, "{}", reply.told());
    reply.json()
}

#[tokio::test]
async fn the_resource_metadata_leads_to_a_token_that_works() {
    let platform = Platform::shared().unwrap();
    for tenant in ["acme", "globex"] {
        let path = format!("/.well-known/oauth-protected-resource/t/{tenant}/mcp");
        let resource = get(&format!("{}{path}", platform.url())).await.json();
        assert_eq!(resource["resource"], platform.mcp_url(tenant), "{resource}");
        assert_eq!(
            resource["bearer_methods_supported"],
            json!(["header"]),
            "{resource}"
        );
        let issuers = resource["authorization_servers"].as_array().unwrap();
        assert_eq!(issuers, &[json!(platform.url())]);
        let scopes = resource["scopes_supported"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        assert!(
            scopes
                .iter()
                .all(|scope| !scope.as_str().unwrap().contains('*')),
            "{scopes:?}"
        );
        let server = server_metadata(platform).await;
        assert_eq!(server["issuer"], platform.url(), "RFC 8414 §3.3");
        let agent = platform.agent(tenant, &Grants::default()).await.unwrap();
        let asked = Http::new()
            .unwrap()
            .post(server["token_endpoint"].as_str().unwrap());
        let asked = asked.form(&[
            ("grant_type", "client_credentials"),
            ("client_id", &agent.client_id),
            ("client_secret", &agent.client_secret),
            ("resource", resource["resource"].as_str().unwrap()),
        ]);
        let answer = Reply::to(asked).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.told());
        let claims = forge::claims(answer.json()["access_token"].as_str().unwrap()).unwrap();
        assert_eq!(claims["iss"], server["issuer"]);
        assert_eq!(claims["aud"], resource["resource"]);
        assert_eq!(claims["sub"], agent.name);
    }
}

#[tokio::test]
async fn a_token_verifies_with_the_published_key_and_nothing_secret_is_published() {
    let platform = Platform::shared().unwrap();
    let server = server_metadata(platform).await;
    let keys = get(server["jwks_uri"].as_str().unwrap()).await;
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let answer = agent
        .ask_for_token(&Http::new().unwrap(), None)
        .await
        .unwrap()
        .json();
    let token = answer["access_token"].as_str().unwrap();
    let header = forge::header(token).unwrap();
    assert_eq!(header["typ"], "at+jwt");
    let list = keys.json()["keys"].as_array().cloned().unwrap();
    let key = list.iter().find(|key| key["kid"] == header["kid"]).unwrap();
    assert_eq!(
        (&key["kty"], &key["crv"]),
        (&json!("OKP"), &json!("Ed25519"))
    );
    let public = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
    let public = VerifyingKey::from_bytes(&public.try_into().unwrap()).unwrap();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = Signature::from_slice(&URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    public.verify_strict(input.as_bytes(), &signature).unwrap();
    for secret in ["\"d\"", "\"k\"", "\"p\"", "seed"] {
        assert!(!keys.text().contains(secret), "{secret}: {}", keys.text());
    }
    let claims = forge::claims(token).unwrap();
    let lifetime = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(json!(lifetime), answer["expires_in"]);
    assert!(lifetime <= 600);
    assert!(
        answer["token_type"]
            .as_str()
            .unwrap()
            .eq_ignore_ascii_case("bearer")
    );
    assert_eq!(answer["scope"], "orders.read");
    assert!(answer.get("refresh_token").is_none(), "RFC 6749 §4.4.3");
}

/// A token request that authenticates the client by a method of the metadata.
fn by_method(agent: &Agent, endpoint: &str, method: &str) -> Option<RequestBuilder> {
    let http = Http::new().unwrap();
    let grant = [
        ("grant_type", "client_credentials"),
        ("resource", agent.mcp_url()),
    ];
    match method {
        "client_secret_post" => {
            let mut form = grant.to_vec();
            form.push(("client_id", &agent.client_id));
            form.push(("client_secret", &agent.client_secret));
            Some(http.post(endpoint).form(&form))
        }
        "client_secret_basic" => {
            let pair = format!("{}:{}", agent.client_id, agent.client_secret);
            let value = format!("Basic {}", STANDARD.encode(pair));
            Some(
                http.post(endpoint)
                    .header("authorization", value)
                    .form(&grant),
            )
        }
        _ => None,
    }
}

#[tokio::test]
async fn every_method_that_the_server_lists_works_and_no_other_does() {
    let platform = Platform::shared().unwrap();
    let server = server_metadata(platform).await;
    let endpoint = server["token_endpoint"].as_str().unwrap();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let listed = server["token_endpoint_auth_methods_supported"]
        .as_array()
        .unwrap();
    for method in ["client_secret_basic", "client_secret_post"] {
        let reply = Reply::to(by_method(&agent, endpoint, method).unwrap())
            .await
            .unwrap();
        assert_eq!(
            reply.status == 200,
            listed.contains(&json!(method)),
            "{}",
            reply.told()
        );
    }
    for method in listed {
        // Assertions have tests of their own, in `credentials`.
        let known = method == "private_key_jwt"
            || by_method(&agent, endpoint, method.as_str().unwrap()).is_some();
        assert!(known, "{method} is listed and not tried");
    }
    let grants = server["grant_types_supported"].as_array().unwrap();
    assert_eq!(grants, &[json!("client_credentials")]);
    for (grant, error) in [
        ("password", "unsupported_grant_type"),
        ("authorization_code", "unsupported_grant_type"),
        ("refresh_token", "unsupported_grant_type"),
    ] {
        let form = [
            ("grant_type", grant),
            ("client_id", &agent.client_id),
            ("client_secret", &agent.client_secret),
            ("resource", agent.mcp_url()),
        ];
        let reply = Reply::to(Http::new().unwrap().post(endpoint).form(&form))
            .await
            .unwrap();
        assert_eq!(
            (reply.status, &reply.json()["error"]),
            (400, &json!(error)),
            "{grant}"
        );
    }
    for (name, value) in server.as_object().unwrap() {
        if (name.ends_with("_endpoint") || name.ends_with("_uri")) && value.is_string() {
            let reply = get(value.as_str().unwrap()).await;
            assert!(
                ![404, 500].contains(&reply.status),
                "{name}: {}",
                reply.told()
            );
        }
    }
}

#[tokio::test]
async fn a_wrong_secret_tells_nothing_of_whether_the_client_exists() {
    let platform = Platform::shared().unwrap();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let mut absent = agent.clone();
    // The same form, another id.
    let last = absent.client_id.pop().unwrap();
    absent.client_id.push(if last == '0' { '1' } else { '0' });
    let mut wrong = agent.clone();
    wrong.client_secret = format!("pcs_{}", "A".repeat(43));
    let http = Http::new().unwrap();
    let mut seen = Vec::new();
    for client in [&wrong, &absent] {
        let reply = client.ask_for_token(&http, None).await.unwrap();
        assert_eq!(reply.status, 401, "{}", reply.told());
        assert_eq!(reply.json()["error"], "invalid_client");
        seen.push(crate::answers::comparable(&reply));
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn a_client_gets_tokens_for_its_own_tenant_alone() {
    let platform = Platform::shared().unwrap();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let endpoint = format!("{}/oauth/token", platform.url());
    for resource in [
        platform.mcp_url("globex"),
        platform.mcp_url("glebox"),
        platform.url().to_owned(),
        "https://elsewhere.example/t/acme/mcp".to_owned(),
        format!("{}/", platform.mcp_url("acme")),
    ] {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &agent.client_id),
            ("client_secret", &agent.client_secret),
            ("resource", &resource),
        ];
        let reply = Reply::to(Http::new().unwrap().post(&endpoint).form(&form))
            .await
            .unwrap();
        let told = format!("{resource}: {}", reply.told());
        assert_eq!(
            (reply.status, &reply.json()["error"]),
            (400, &json!("invalid_target")),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_revoked_secret_gets_no_more_tokens() {
    let platform = Platform::shared().unwrap();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let owner = platform.owner("acme").unwrap();
    let path = format!("/tenants/acme/principals/{}/secrets", agent.client_id);
    let second = owner.create(&path, &json!({})).await.unwrap();
    let mut rotated = agent.clone();
    second["client_secret"]
        .as_str()
        .unwrap()
        .clone_into(&mut rotated.client_secret);
    let http = Http::new().unwrap();
    for client in [&agent, &rotated] {
        assert_eq!(
            client.ask_for_token(&http, None).await.unwrap().status,
            200,
            "overlap"
        );
    }
    let old = owner.get(&path).await.unwrap().at("/items/0/id");
    let revoke = format!("{path}/{}", old.as_str().unwrap());
    let gone = owner.request(reqwest::Method::DELETE, &revoke);
    assert!(Reply::to(gone).await.unwrap().status < 300);
    assert_eq!(agent.ask_for_token(&http, None).await.unwrap().status, 401);
    assert_eq!(
        rotated.ask_for_token(&http, None).await.unwrap().status,
        200
    );
}
