//! The published documents: what they say, and that it is true.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use jsonwebtoken::{Algorithm, DecodingKey};
use portcullis_keys::LocalKeys;
use serde_json::{Value, json};
use time::Duration;

use super::{NOW, RESOURCE, Server, URL, at, part, settings};

#[tokio::test]
async fn the_key_set_verifies_what_is_issued() {
    let server = Server::new();
    let token = server.ask("").await.token();
    let set = server.get("/oauth/jwks.json").await;
    assert_eq!(set.headers[CONTENT_TYPE], "application/json");
    let keys = set.json()["keys"].as_array().unwrap().clone();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0]["kid"], part(&token, 0)["kid"]);
    assert_eq!(keys[0]["alg"], "EdDSA");
    let key = DecodingKey::from_ed_components(keys[0]["x"].as_str().unwrap()).unwrap();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let verdict = jsonwebtoken::crypto::verify(signature, input.as_bytes(), &key, Algorithm::EdDSA);
    assert!(verdict.unwrap());
}

#[tokio::test]
async fn the_key_set_holds_public_halves_alone() {
    let server = Server::new();
    let set = server.get("/oauth/jwks.json").await;
    let members: Vec<String> = set.json()["keys"][0]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x"]);
    let active = server.keys.issuer_active(at(NOW)).unwrap();
    let seed = URL_SAFE_NO_PAD.encode(&active.pkcs8()[16..48]);
    assert!(!String::from_utf8_lossy(&set.body).contains(&seed));
}

#[tokio::test]
async fn the_key_set_holds_both_keys_while_one_is_rotated_out() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("keys.json");
    LocalKeys::open_or_create(&path, at(NOW)).unwrap();
    let keys = LocalKeys::rotate_issuer(&path, at(NOW), at(NOW + 3_600)).unwrap();
    let server = Server::with(Arc::new(keys), settings());
    for (wait, published) in [(0, 2), (3_600, 2), (900, 1)] {
        server.clock.advance(Duration::seconds(wait));
        let set = server.get("/oauth/jwks.json").await.json();
        assert_eq!(set["keys"].as_array().unwrap().len(), published, "{wait}");
    }
}

#[tokio::test]
async fn the_servers_metadata_names_what_exists_and_nothing_else() {
    let server = Server::new();
    let answer = server.get("/.well-known/oauth-authorization-server").await;
    assert_eq!(
        answer.json(),
        json!({
            "issuer": URL,
            "authorization_endpoint": format!("{URL}/oauth/authorize"),
            "token_endpoint": format!("{URL}/oauth/token"),
            "jwks_uri": format!("{URL}/oauth/jwks.json"),
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported":
                ["client_secret_basic", "client_secret_post", "private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported":
                ["EdDSA", "ES256", "RS256", "PS256"],
            "response_types_supported": [],
        })
    );
    let named = answer.json()["jwks_uri"].as_str().unwrap().to_owned();
    let path = named.strip_prefix(URL).unwrap();
    assert_eq!(server.get(path).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_authorization_endpoint_gives_nothing_and_leads_nowhere() {
    let server = Server::new();
    for query in [
        "",
        "?response_type=code&client_id=prn_x&state=s&redirect_uri=https://evil.example/",
        "?response_type=token&redirect_uri=javascript:alert(1)",
    ] {
        let answer = server.get(&format!("/oauth/authorize{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(!answer.headers.contains_key("location"), "{query}");
        let text = String::from_utf8_lossy(&answer.body);
        assert!(text.contains("portcullis connect") && !text.contains("evil"));
        assert_eq!(answer.headers[CONTENT_TYPE], "text/plain; charset=utf-8");
    }
}

#[tokio::test]
async fn a_tenants_metadata_leads_to_its_tokens() {
    let server = Server::new();
    let path = "/.well-known/oauth-protected-resource/t/acme/mcp";
    let answer = server.get(path).await;
    assert_eq!(
        answer.json(),
        json!({
            "resource": RESOURCE,
            "authorization_servers": [URL],
            "bearer_methods_supported": ["header"],
        })
    );
    let resource = answer.json()["resource"].as_str().unwrap().to_owned();
    server.ask(&format!("&resource={resource}")).await.token();
}

#[tokio::test]
async fn metadata_do_not_tell_who_is_a_tenant() {
    let server = Server::new();
    let mut bodies = Vec::new();
    for slug in ["acme", "nobody"] {
        let path = format!("/.well-known/oauth-protected-resource/t/{slug}/mcp");
        let answer = server.get(&path).await;
        assert_eq!(answer.status, StatusCode::OK, "{slug}");
        bodies.push(String::from_utf8_lossy(&answer.body).replace(slug, "…"));
    }
    assert_eq!(bodies.first(), bodies.last());
    let asked = &server.directory.asked;
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_cannot_be_a_tenants_name_has_no_metadata() {
    let server = Server::new();
    let mut bodies = Vec::new();
    for slug in [
        "Acme",
        "acme%20",
        "acme%00",
        "a'b",
        "acme%2Fx",
        &"a".repeat(64),
    ] {
        let path = format!("/.well-known/oauth-protected-resource/t/{slug}/mcp");
        let answer = server.get(&path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{slug}");
        assert_eq!(answer.headers[CONTENT_TYPE], "application/problem+json");
        assert_eq!(answer.json()["type"], Value::from("/problems/not-found"));
        bodies.push(answer.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]));
}

#[tokio::test]
async fn every_answer_has_the_headers_of_the_house() {
    let server = Server::new();
    let mut answers = vec![server.ask("").await, server.ask("&scope=x").await];
    for path in [
        "/oauth/jwks.json",
        "/oauth/token",
        "/oauth/authorize",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-protected-resource/t/acme/mcp",
        "/.well-known/oauth-protected-resource/t/nobody/mcp",
    ] {
        answers.push(server.get(path).await);
    }
    for answer in answers {
        assert_eq!(answer.headers[CACHE_CONTROL], "no-store");
        assert_eq!(answer.headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(answer.headers[REFERRER_POLICY], "no-referrer");
    }
}
