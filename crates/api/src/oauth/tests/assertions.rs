//! `private_key_jwt`: who signs with a registered key gets a token, once an assertion; nobody else does.

use http::StatusCode;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use portcullis_domain::id::Id;
use portcullis_keys::SigningKey;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, FORM, NOW, RESOURCE, SECRET, Server, URL, at, basic, client_id};
use crate::client_key::ClientPublicKey;
use crate::oauth::{Client, Proof, StoredKey};

const TYPE: &str = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";

/// A client's key, with the name that it was registered under.
struct Key(SigningKey);

impl Key {
    fn new() -> Self {
        Self(SigningKey::generate().unwrap())
    }

    fn jwk(&self) -> Value {
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "laptop",
            "x": URL_SAFE_NO_PAD.encode(self.0.public())})
    }

    fn stored(&self) -> StoredKey {
        let public = ClientPublicKey::parse(&self.jwk()).unwrap();
        StoredKey {
            id: Id::from_row(Uuid::from_u128(7)),
            kid: public.kid,
            jwk: public.jwk.to_string(),
            expires_at: None,
        }
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        let key = EncodingKey::from_ed_der(&self.0.pkcs8().unwrap());
        jsonwebtoken::encode(header, claims, &key).unwrap()
    }
}

fn header() -> Header {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some("laptop".to_owned());
    header
}

fn claims(jti: &str) -> Value {
    let id = client_id(1).to_string();
    json!({"iss": id, "sub": id, "aud": URL, "jti": jti, "iat": NOW, "exp": NOW + 60})
}

/// A server whose client 1 has registered `key`.
fn server(key: &Key) -> Server {
    let server = Server::new();
    server.change(|client| client.keys = vec![key.stored()]);
    server
}

async fn ask(server: &Server, assertion: &str) -> Answer {
    ask_with(server, &[FORM], &format!("&client_assertion={assertion}")).await
}

async fn ask_with(server: &Server, headers: &[(&str, &str)], more: &str) -> Answer {
    let form = format!("grant_type=client_credentials&client_assertion_type={TYPE}{more}");
    server.ask_with(headers, &form).await
}

#[tokio::test]
async fn who_signs_with_a_registered_key_gets_a_token_for_its_tenant() {
    let key = Key::new();
    let server = server(&key);
    let mut typed = header();
    typed.typ = Some("client-authentication+jwt".to_owned());
    let mut plain = header();
    plain.typ = None;
    let endpoint = format!("{URL}/oauth/token");
    let mut number = 0;
    for header in [header(), typed, plain] {
        for audience in [json!(URL), json!(endpoint), json!([URL])] {
            number += 1;
            let mut claims = claims(&format!("{number}"));
            claims["aud"] = audience;
            let answer = ask(&server, &key.sign(&header, &claims)).await;
            let token = super::part(&answer.token(), 1);
            assert_eq!(token["sub"], "agent:copilot");
            assert_eq!(token["aud"], RESOURCE);
        }
    }
    let proofs = server.directory.proofs.lock().unwrap();
    assert_eq!(proofs.len(), number);
    assert_eq!(proofs[0], Proof::Key(key.stored().id));
}

#[tokio::test]
async fn an_assertion_is_good_for_one_use() {
    let key = Key::new();
    let server = server(&key);
    let assertion = key.sign(&header(), &claims("one"));
    assert_eq!(ask(&server, &assertion).await.status, StatusCode::OK);
    let again = ask(&server, &assertion).await;
    assert_eq!(
        (again.status, again.error().as_str()),
        (StatusCode::UNAUTHORIZED, "invalid_client")
    );
    // The same id in another assertion is the same use.
    let mut other = claims("one");
    other["exp"] = json!(NOW + 61);
    let answer = ask(&server, &key.sign(&header(), &other)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(server.directory.proofs.lock().unwrap().len(), 1);
}

/// Assertions of another form, of another key, or with another header.
fn wrong_forms(key: &Key) -> Vec<String> {
    let headed = |change: fn(&mut Header)| {
        let mut header = header();
        change(&mut header);
        key.sign(&header, &claims("x"))
    };
    let right = key.sign(&header(), &claims("x"));
    let (start, signature) = right.rsplit_once('.').unwrap();
    let (head, payload) = start.split_once('.').unwrap();
    let other = Key::new().sign(&header(), &claims("x"));
    let (_, other_signature) = other.rsplit_once('.').unwrap();
    let mut symmetric = Header::new(Algorithm::HS256);
    symmetric.kid = Some("laptop".to_owned());
    let secret = EncodingKey::from_secret(key.0.public());
    let hmac = jsonwebtoken::encode(&symmetric, &claims("x"), &secret).unwrap();
    vec![
        String::from("nonsense"),
        format!("{head}.{payload}."),
        format!("{head}.{payload}"),
        format!("{start}.{other_signature}"),
        format!("{right}.{signature}"),
        other,
        hmac,
        headed(|header| header.kid = None),
        headed(|header| header.kid = Some("other".to_owned())),
        headed(|header| header.typ = Some("at+jwt".to_owned())),
        headed(|header| header.jku = Some("https://example.com/jwks".to_owned())),
        headed(|header| header.x5u = Some("https://example.com/x5u".to_owned())),
    ]
}

/// Assertions with a claim that is wrong or missing.
fn wrong_claims(key: &Key) -> Vec<String> {
    let other = client_id(2).to_string();
    let with = [
        ("iss", json!(other)),
        ("sub", json!(other)),
        ("iss", json!("agent:copilot")),
        ("jti", json!("")),
        ("jti", json!(7)),
        ("jti", json!("x".repeat(129))),
        ("aud", json!("https://other.example.com")),
        ("aud", json!(RESOURCE)),
        ("aud", json!([URL, "https://other.example.com"])),
        ("aud", json!(format!("{URL}/"))),
        ("exp", json!(NOW)),
        ("exp", json!(NOW - 1)),
        ("exp", json!(NOW + 361)),
        ("exp", json!("soon")),
        ("exp", json!(1.5)),
        ("exp", json!(-1)),
        ("nbf", json!(NOW + 61)),
        ("iat", json!(NOW + 61)),
        ("iat", json!("now")),
    ];
    let without = ["iss", "sub", "aud", "exp", "jti"];
    let changed = with.into_iter().map(|(name, value)| {
        let mut claims = claims("x");
        claims[name] = value;
        claims
    });
    let shortened = without.into_iter().map(|name| {
        let mut claims = claims("x");
        claims.as_object_mut().unwrap().remove(name);
        claims
    });
    let all = changed.chain(shortened);
    all.map(|claims| key.sign(&header(), &claims)).collect()
}

#[tokio::test]
async fn every_assertion_that_proves_nothing_gets_the_same_bytes_and_uses_nothing_up() {
    let key = Key::new();
    let right = key.sign(&header(), &claims("x"));
    let other = client_id(2).to_string();
    let assertions = [wrong_forms(&key), wrong_claims(&key)].concat();
    let mut answers = Vec::new();
    for assertion in &assertions {
        let server = server(&key);
        let answer = ask(&server, assertion).await;
        assert!(
            server.directory.assertions.lock().unwrap().is_empty(),
            "{assertion}"
        );
        answers.push(answer);
    }
    let changes: [fn(&mut Client); 3] = [
        |client| client.keys.clear(),
        |client| client.keys[0].expires_at = Some(at(NOW)),
        |client| client.active = false,
    ];
    for change in changes {
        let server = server(&key);
        server.change(change);
        answers.push(ask(&server, &right).await);
    }
    let named = format!("&client_id={other}&client_assertion={right}");
    answers.push(ask_with(&server(&key), &[FORM], &named).await);
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{number}");
        assert_eq!(answer.error(), "invalid_client", "{number}");
        assert_eq!(answer.body, answers[0].body);
    }
}

#[tokio::test]
async fn a_client_shows_who_it_is_in_one_way() {
    let key = Key::new();
    let id = client_id(1).to_string();
    let right = key.sign(&header(), &claims("x"));
    let both = format!("&client_assertion={right}&client_id={id}&client_secret={SECRET}");
    let authorization = basic(&id, SECRET);
    let in_header = [FORM, ("authorization", authorization.as_str())];
    let alone = format!("&client_assertion={right}");
    let answers = [
        ask_with(&server(&key), &[FORM], &both).await,
        ask_with(&server(&key), &in_header, &alone).await,
        ask_with(&server(&key), &[FORM], "").await,
        ask_with(&server(&key), &[FORM], &format!("{alone}{alone}")).await,
    ];
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{number}");
        assert_eq!(answer.error(), "invalid_request", "{number}");
    }
    let form = format!("grant_type=client_credentials&client_assertion={right}");
    for kind in [
        "",
        "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Asaml2-bearer",
    ] {
        let answer = server(&key)
            .ask_with(&[FORM], &format!("{form}{kind}"))
            .await;
        assert_eq!(answer.error(), "invalid_request", "{kind}");
    }
}

#[tokio::test]
async fn a_wrong_assertion_counts_as_a_failed_attempt() {
    let key = Key::new();
    let server = server(&key);
    let mut refused = 0;
    for _ in 0..200 {
        match ask(&server, "a.b.c").await.status {
            StatusCode::UNAUTHORIZED => refused += 1,
            StatusCode::TOO_MANY_REQUESTS => break,
            other => panic!("{other}"),
        }
    }
    assert!(refused < 200, "nobody is stopped");
}
