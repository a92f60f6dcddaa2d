//! Tokens that are issued: what they say, and that room 1 accepts them where they belong.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration as StdDuration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use portcullis_domain::{ManualClock, ReplayMode};
use portcullis_keys::LocalKeys;
use portcullis_mcp_runtime::token::{
    Binding, BindingStore, BindingStoreError, Checked, NetworkPrefix, PlatformIssuer, Presented,
    TenantKey, TokenError, TokenVerifier, TrustedProxies, Use, VerifiedToken, VerifierParts,
};
use serde_json::{Value, json};
use time::Duration;

use super::{
    FORM, NOW, PEER, RESOURCE, SECRET, Server, URL, acme, at, basic, client_id, part, secret_id,
    settings,
};
use crate::oauth::Proof;

/// Every token id is new: what is under test here is the token.
#[derive(Debug, Default)]
struct FirstUses(Mutex<HashSet<String>>);

impl BindingStore for FirstUses {
    fn bind(&self, binding: Binding) -> BoxFuture<'_, Result<Use, BindingStoreError>> {
        let new = self.0.lock().unwrap().insert(binding.token_id);
        let compared = if new { Use::First } else { Use::Same };
        async move { Ok(compared) }.boxed()
    }
}

fn verifier(server: &Server) -> TokenVerifier {
    let clock = Arc::<ManualClock>::clone(&server.clock);
    TokenVerifier::new(VerifierParts {
        issuers: Arc::new(PlatformIssuer::new(
            URL,
            Arc::clone(&server.keys),
            Arc::<ManualClock>::clone(&clock),
        )),
        bindings: Arc::new(FirstUses::default()),
        keys: Arc::clone(&server.keys),
        clock,
        proxies: TrustedProxies::default(),
        cache_entries: 16,
        binding_timeout: StdDuration::from_secs(1),
    })
}

fn tenant(resource: &str) -> TenantKey {
    TenantKey {
        id: acme(),
        audience: resource.to_owned(),
        replay: ReplayMode::Network,
        prefix: NetworkPrefix::default(),
    }
}

/// As room 1 does for whoever may call.
async fn accept(
    verifier: &TokenVerifier,
    presented: &Presented<'_>,
    tenant: &TenantKey,
) -> Result<Arc<VerifiedToken>, TokenError> {
    match verifier.check(presented, tenant)? {
        Checked::Known(token) => Ok(token),
        Checked::New(unbound) => verifier.bind(*unbound).await,
    }
}

fn bearing(token: &str) -> HeaderMap {
    let value = format!("Bearer {token}").parse().unwrap();
    HeaderMap::from_iter([(AUTHORIZATION, value)])
}

#[tokio::test]
async fn a_client_gets_a_token_that_room_one_accepts() {
    let server = Server::new();
    let answer = server.ask("").await;
    let token = answer.token();
    assert_eq!(
        answer.json(),
        json!({
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": 600,
            "scope": "flags.write:staging orders.read",
        })
    );
    let headers = bearing(&token);
    let presented = Presented::of(&headers, [192, 0, 2, 1].into());
    let verifier = verifier(&server);
    let accepted = accept(&verifier, &presented, &tenant(RESOURCE)).await;
    let accepted = accepted.unwrap();
    assert_eq!(accepted.subject().as_str(), "agent:copilot");
    assert_eq!(accepted.issuer(), URL);
    assert_eq!(
        accepted.client_id(),
        Some(client_id(1).to_string().as_str())
    );
    assert_eq!(accepted.scopes().len(), 2);
    assert_eq!(accepted.expires_at(), at(NOW + 600));

    let globex = tenant("https://gate.example.com/t/globex/mcp");
    let foreign = accept(&verifier, &presented, &globex).await;
    assert!(matches!(foreign, Err(TokenError::Audience)));
}

#[tokio::test]
async fn a_token_says_what_the_standards_ask_and_no_more() {
    let server = Server::new();
    let token = server.ask("").await.token();
    let kid = server.keys.issuer_active(at(NOW)).unwrap().kid().to_owned();
    assert_eq!(
        part(&token, 0),
        json!({"typ": "at+jwt", "alg": "EdDSA", "kid": kid})
    );
    let mut claims = part(&token, 1);
    let id = claims["jti"].take();
    assert_eq!(id.as_str().unwrap().len(), 22);
    assert_eq!(
        claims,
        json!({
            "iss": URL,
            "sub": "agent:copilot",
            "aud": RESOURCE,
            "client_id": client_id(1).to_string(),
            "iat": NOW,
            "nbf": NOW,
            "exp": NOW + 600,
            "jti": Value::Null,
            "scope": "flags.write:staging orders.read",
        })
    );
}

#[tokio::test]
async fn no_two_tokens_have_one_id() {
    let server = Server::new();
    let mut ids = HashSet::new();
    for _ in 0..50 {
        let token = server.ask("").await.token();
        assert!(ids.insert(part(&token, 1)["jti"].as_str().unwrap().to_owned()));
    }
}

#[tokio::test]
async fn credentials_may_stand_in_the_header_or_in_the_body() {
    let server = Server::new();
    let id = client_id(1).to_string();
    let form = "grant_type=client_credentials";
    let in_body = format!("{form}&client_id={id}&client_secret={SECRET}");
    server.ask_with(&[FORM], &in_body).await.token();
    let header = basic(&id, SECRET);
    let authorization = ("authorization", header.as_str());
    server.ask_with(&[FORM, authorization], form).await.token();
    // RFC 6749 §2.3.1 has both halves form-encoded.
    let encoded = basic(&id.replace('_', "%5F"), &SECRET.replace('_', "%5f"));
    let authorization = ("authorization", encoded.as_str());
    server.ask_with(&[FORM, authorization], form).await.token();
    let named = format!("{form}&client_id={id}");
    server
        .ask_with(&[FORM, authorization], &named)
        .await
        .token();
    let lower = header.replace("Basic", "basic");
    let charset = (
        "content-type",
        "Application/X-WWW-Form-Urlencoded; charset=UTF-8",
    );
    let headers = [charset, ("authorization", lower.as_str())];
    server.ask_with(&headers, form).await.token();
}

#[tokio::test]
async fn a_client_chooses_among_what_it_is_granted() {
    let server = Server::new();
    let scope_of = async |more: &str| {
        let answer = server.ask(more).await;
        let token = answer.token();
        let claims = part(&token, 1);
        assert_eq!(answer.json()["scope"], claims["scope"]);
        (
            claims["scope"].as_str().unwrap().to_owned(),
            claims["purpose"].clone(),
        )
    };
    let none = Value::Null;
    let (scope, purpose) = scope_of("&scope=orders.read").await;
    assert_eq!((scope.as_str(), purpose), ("orders.read", none.clone()));
    let (scope, purpose) = scope_of("&scope=&resource=&unknown=x").await;
    assert_eq!(
        (scope.as_str(), purpose),
        ("flags.write:staging orders.read", none)
    );
    let (scope, purpose) = scope_of("&purpose=support&scope=refunds.write").await;
    assert_eq!(
        (scope.as_str(), purpose),
        ("refunds.write", json!("support"))
    );
    let resource = "&resource=https%3A%2F%2Fgate.example.com%2Ft%2Facme%2Fmcp";
    let (scope, _) = scope_of(resource).await;
    assert_eq!(scope, "flags.write:staging orders.read");
}

#[tokio::test]
async fn two_secrets_work_while_one_is_rotated_out() {
    let server = Server::new();
    let next = SECRET.replace('A', "B");
    server.change(|client| {
        client.secrets[0].expires_at = Some(at(NOW + 60));
        client.secrets.push(super::StoredSecret {
            id: secret_id(2),
            hash: crate::credential::hash(&next),
            expires_at: None,
        });
    });
    let id = client_id(1).to_string();
    let form = "grant_type=client_credentials";
    for secret in [SECRET, &next] {
        server.ask_as(&id, secret, form, PEER).await.token();
    }
    server.clock.advance(Duration::seconds(60));
    let old = server.ask_as(&id, SECRET, form, PEER).await;
    assert_eq!(old.status, StatusCode::UNAUTHORIZED);
    server.ask_as(&id, &next, form, PEER).await.token();
    let proofs = server.directory.proofs.lock().unwrap().clone();
    let by = [1, 2, 2].map(|number| Proof::Secret(secret_id(number)));
    assert_eq!(proofs, by);
}

#[tokio::test]
async fn tokens_are_signed_by_the_key_that_is_active_then() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("keys.json");
    LocalKeys::open_or_create(&path, at(NOW)).unwrap();
    let keys = LocalKeys::rotate_issuer(&path, at(NOW), at(NOW + 3_600)).unwrap();
    let server = Server::with(Arc::new(keys), settings());
    let verifier = verifier(&server);
    let mut signers = HashSet::new();
    for wait in [0, 3_599, 1] {
        server.clock.advance(Duration::seconds(wait));
        let token = server.ask("").await.token();
        signers.insert(part(&token, 0)["kid"].as_str().unwrap().to_owned());
        let headers = bearing(&token);
        let presented = Presented::of(&headers, [192, 0, 2, 1].into());
        let accepted = accept(&verifier, &presented, &tenant(RESOURCE)).await;
        assert!(accepted.is_ok(), "{wait}");
    }
    assert_eq!(signers.len(), 2);
}

#[tokio::test]
async fn a_token_lives_as_long_as_the_operator_says() {
    let settings = super::OAuthSettings {
        lifetime: Duration::seconds(45),
        ..settings()
    };
    let server = Server::with(super::local_keys(), settings);
    let answer = server.ask("").await;
    assert_eq!(answer.json()["expires_in"], 45);
    let claims = part(&answer.token(), 1);
    assert_eq!(claims["exp"], json!(NOW + 45));
}
