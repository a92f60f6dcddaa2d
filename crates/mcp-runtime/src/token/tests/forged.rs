//! Tokens that say too much, too little or something else than their issuer said.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::{Clock, ManualClock, ReplayMode};
use portcullis_keys::LocalKeys;
use proptest::prelude::*;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::token::testing::{
    AUDIENCE, ISSUER, KEYS, NOW, PrivateKey, TestIssuers, acme, claims, header, local_keys, token,
    token_of,
};
use crate::token::verify::{Verified, verify};
use crate::token::{IssuerKeys, PlatformIssuer, TokenError, TokenPart};

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

fn check_at(token: &str, now: OffsetDateTime) -> Result<Verified, TokenError> {
    let issuers = TestIssuers::standard();
    verify(token, &acme(ReplayMode::Network), &issuers, now)
}

fn check(token: &str) -> Result<Verified, TokenError> {
    check_at(token, at(NOW))
}

fn with(claim: &str, value: Value) -> String {
    let mut claims = claims("t1");
    claims[claim] = value;
    token_of(&claims)
}

/// A claim written as this text, which need not be what `serde_json` would write.
fn with_text(claim: &str, text: &str) -> String {
    let mut claims = claims("t1");
    claims[claim] = Value::from("@");
    let payload = claims.to_string().replace("\"@\"", text);
    KEYS["eddsa"].token(&header("eddsa"), &payload)
}

#[test]
fn a_sound_token_of_every_algorithm_verifies() {
    for (kid, key) in &*KEYS {
        let token = key.token(&header(kid), &claims("t1").to_string());
        let verified = check(&token).unwrap();
        assert_eq!(verified.claims.subject.as_str(), "agent:copilot", "{kid}");
        assert_eq!(verified.claims.scopes.len(), 1);
        assert_eq!(verified.claims.expires_at, at(NOW + 600));
    }
}

#[test]
fn the_type_is_at_jwt_in_any_case_and_nothing_else() {
    let typed = |typ: Value| {
        let header = json!({"typ": typ, "alg": "EdDSA", "kid": "eddsa"}).to_string();
        check(&KEYS["eddsa"].token(&header, &claims("t1").to_string()))
    };
    for typ in [
        "at+jwt",
        "AT+JWT",
        "application/at+jwt",
        "Application/At+Jwt",
    ] {
        assert!(typed(typ.into()).is_ok(), "{typ}");
    }
    for typ in [
        json!("JWT"),
        json!("dpop+jwt"),
        json!("at+jwt "),
        json!("application/application/at+jwt"),
        json!("text/at+jwt"),
        json!(""),
        json!(null),
        json!(["at+jwt"]),
    ] {
        assert!(matches!(typed(typ.clone()), Err(TokenError::Type)), "{typ}");
    }
}

#[test]
fn claims_that_are_missing_are_named() {
    for claim in ["iss", "aud", "sub", "exp", "nbf", "iat", "jti"] {
        let mut claims = claims("t1");
        claims.as_object_mut().unwrap().remove(claim);
        let error = check(&token_of(&claims)).unwrap_err();
        assert!(
            matches!(error, TokenError::ClaimMissing { claim: named } if named == claim),
            "{claim}: {error}"
        );
    }
}

#[test]
fn claims_of_the_wrong_type_are_refused() {
    let wrong_everywhere = [
        "null",
        "true",
        "{}",
        "[]",
        "[[]]",
        "1.5",
        "-1",
        "[null]",
        "{\"x\":1}",
    ];
    for claim in [
        "iss",
        "aud",
        "sub",
        "exp",
        "nbf",
        "iat",
        "jti",
        "scope",
        "purpose",
        "client_id",
    ] {
        for text in wrong_everywhere {
            let error = check(&with_text(claim, text)).unwrap_err();
            assert!(
                matches!(error, TokenError::ClaimMalformed { claim: named, .. } if named == claim),
                "{claim} {text}: {error}"
            );
        }
    }
    for claim in ["iss", "aud", "sub", "jti", "scope", "purpose", "client_id"] {
        assert!(check(&with_text(claim, "1")).is_err(), "{claim}");
    }
}

#[test]
fn times_are_whole_seconds_and_nothing_like_them() {
    let now = NOW.to_string();
    for claim in ["exp", "nbf", "iat"] {
        for text in [
            format!("\"{now}\""),
            format!("{now}.0"),
            format!("{now}.5"),
            format!("-{now}"),
            format!("[{now}]"),
            "1.76e9".to_owned(),
            "176e7".to_owned(),
            "-0".to_owned(),
            "253402300800".to_owned(),
            "9223372036854775807".to_owned(),
            "9223372036854775808".to_owned(),
            "18446744073709551615".to_owned(),
            "18446744073709551616".to_owned(),
            "1e400".to_owned(),
            format!("1{}", "0".repeat(400)),
        ] {
            let error = check(&with_text(claim, &text)).unwrap_err();
            let malformed =
                matches!(error, TokenError::ClaimMalformed { claim: c, .. } if c == claim);
            let unreadable = matches!(error, TokenError::Malformed { .. });
            assert!(malformed || unreadable, "{claim} {text}: {error}");
        }
        for text in [
            "",
            "01760000000",
            "0x68E6A800",
            "1_760_000_000",
            "NaN",
            "Infinity",
            "+1",
        ] {
            let error = check(&with_text(claim, text)).unwrap_err();
            assert!(
                matches!(error, TokenError::Malformed { .. }),
                "{claim} {text}"
            );
        }
    }
}

/// A name written with JSON escapes alone.
fn escaped(name: &str) -> String {
    name.chars().fold(String::new(), |text, character| {
        format!("{text}\\u{:04x}", u32::from(character))
    })
}

#[test]
fn a_claim_that_stands_twice_is_refused_even_with_one_value() {
    let sound = claims("t1").to_string();
    for name in [
        "iss", "aud", "sub", "exp", "nbf", "iat", "jti", "scope", "x", "",
    ] {
        for spelled in [name.to_owned(), escaped(name)] {
            let value = claims("t1").get(name).cloned().unwrap_or(json!(1));
            let extra = format!("{{\"{spelled}\":{value},\"{name}\":{value},");
            let payload = sound.replacen('{', &extra, 1);
            let error = check(&KEYS["eddsa"].token(&header("eddsa"), &payload)).unwrap_err();
            let part = TokenPart::Claims;
            assert!(
                matches!(error, TokenError::Repeated { part: p } if p == part),
                "{name}"
            );
        }
    }
}

#[test]
fn a_header_member_that_stands_twice_is_refused() {
    for header in [
        r#"{"typ":"at+jwt","alg":"EdDSA","alg":"EdDSA","kid":"eddsa"}"#,
        r#"{"typ":"at+jwt","alg":"none","\u0061lg":"EdDSA","kid":"eddsa"}"#,
        r#"{"typ":"at+jwt","alg":"EdDSA","kid":"x","kid":"eddsa"}"#,
        r#"{"typ":"at+jwt","alg":"EdDSA","kid":"eddsa","cty":1,"cty":2}"#,
    ] {
        let error = check(&KEYS["eddsa"].token(header, &claims("t1").to_string())).unwrap_err();
        let repeated = matches!(
            error,
            TokenError::Repeated {
                part: TokenPart::Header
            }
        );
        assert!(repeated, "{header}: {error}");
    }
}

#[test]
fn a_token_that_brings_its_own_key_or_rules_is_refused() {
    let own = PrivateKey::ed();
    let x = URL_SAFE_NO_PAD.encode(own.public_bytes());
    for (member, value) in [
        ("jwk", json!({"kty": "OKP", "crv": "Ed25519", "x": x})),
        ("jku", json!("https://evil.example.com/jwks.json")),
        ("x5u", json!("https://evil.example.com/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("jwk", json!(null)),
    ] {
        for signer in [&own, &KEYS["eddsa"]] {
            let mut header = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": "eddsa"});
            header[member] = value.clone();
            let error = check(&signer.token(&header.to_string(), &claims("t1").to_string()));
            assert!(
                matches!(error, Err(TokenError::ForbiddenHeader { member: named }) if named == member)
            );
        }
    }
}

#[test]
fn an_unknown_header_member_changes_nothing() {
    let header = r#"{"typ":"at+jwt","alg":"EdDSA","kid":"eddsa","x":{"alg":"none"},"X5C":["a"]}"#;
    assert!(check(&KEYS["eddsa"].token(header, &claims("t1").to_string())).is_ok());
}

#[test]
fn no_algorithm_but_the_keys_own_is_accepted() {
    for (kid, key) in &*KEYS {
        for alg in [
            "none", "None", "NONE", "nOnE", "HS256", "HS384", "HS512", "RS384", "RS512", "PS384",
            "PS512", "ES384", "ES512", "ES256K", "Ed25519", "eddsa", "", "RSA1_5",
        ] {
            let header = json!({"typ": "at+jwt", "alg": alg, "kid": kid}).to_string();
            let error = check(&key.token(&header, &claims("t1").to_string())).unwrap_err();
            assert!(
                matches!(error, TokenError::Algorithm),
                "{kid} {alg}: {error}"
            );
        }
        for alg in ["EdDSA", "ES256", "RS256", "PS256"] {
            if alg == key.alg() {
                continue;
            }
            let header = json!({"typ": "at+jwt", "alg": alg, "kid": kid}).to_string();
            let error = check(&key.token(&header, &claims("t1").to_string())).unwrap_err();
            let refused = matches!(error, TokenError::AlgorithmOfAnotherKey);
            assert!(refused, "{kid} {alg}: {error}");
        }
        for alg in [json!(null), json!(256), json!(["EdDSA"])] {
            let header = json!({"typ": "at+jwt", "alg": alg, "kid": kid}).to_string();
            let error = check(&key.token(&header, &claims("t1").to_string())).unwrap_err();
            assert!(matches!(error, TokenError::Algorithm));
        }
    }
}

/// The classic: the public key, which everybody has, as the secret of an HMAC.
#[test]
fn an_hmac_over_a_public_key_is_no_signature() {
    for (kid, key) in &*KEYS {
        for alg in ["HS256", key.alg()] {
            let header = json!({"typ": "at+jwt", "alg": alg, "kid": kid}).to_string();
            let input = format!(
                "{}.{}",
                URL_SAFE_NO_PAD.encode(header),
                URL_SAFE_NO_PAD.encode(claims("t1").to_string())
            );
            let secret = hmac::Key::new(hmac::HMAC_SHA256, &key.public_bytes());
            let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&secret, input.as_bytes()));
            assert!(check(&format!("{input}.{tag}")).is_err(), "{kid} {alg}");
        }
    }
}

#[test]
fn a_token_without_a_signature_is_refused() {
    let sound = token("t1");
    let (input, signature) = sound.rsplit_once('.').unwrap();
    let empty = check(&format!("{input}.")).unwrap_err();
    assert!(matches!(empty, TokenError::Signature));
    for text in [
        input.to_owned(),
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        format!("{sound}."),
        format!("{sound}.{signature}"),
        format!(".{sound}"),
        format!("{input}..{signature}"),
        sound.replace('.', " ."),
    ] {
        assert!(check(&text).is_err(), "{text}");
    }
}

#[test]
fn padding_and_stray_bits_are_refused() {
    let sound = token("t1");
    let parts: Vec<&str> = sound.split('.').collect();
    let (head, body, tail) = (parts[0], parts[1], parts[2]);
    for text in [
        format!("{head}=.{body}.{tail}"),
        format!("{head}.{body}=.{tail}"),
        format!("{head}.{body}.{tail}="),
        format!("{head}.{body}.{tail}=="),
        format!("{head}.{body}.{tail}\n"),
        format!("{head}.{body}.+{tail}"),
    ] {
        assert!(check(&text).is_err(), "{text}");
    }
    // 64 bytes end in a character of which four bits count: the other two have to be zero.
    let last = tail.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = alphabet.find(last).unwrap();
    for stray in 1..4 {
        let other = alphabet.as_bytes()[(place & !3) | stray];
        let forged = format!(
            "{head}.{body}.{}{}",
            tail.strip_suffix(last).unwrap(),
            char::from(other)
        );
        assert!(check(&forged).is_err());
    }
}

#[test]
fn a_key_id_is_opaque_and_bounded() {
    let signed = |kid: Value| {
        let header = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": kid}).to_string();
        check(&KEYS["eddsa"].token(&header, &claims("t1").to_string())).unwrap_err()
    };
    for kid in [
        "../../etc/passwd",
        "/dev/null",
        "eddsa' or '1'='1",
        "eddsa\0",
        "EDDSA",
        "eddsa ",
        "https://evil.example.com/key",
        "| id",
        "%65ddsa",
        &"k".repeat(128),
    ] {
        assert!(
            matches!(signed(kid.into()), TokenError::UnknownKey),
            "{kid}"
        );
    }
    for kid in [
        json!(""),
        json!("k".repeat(129)),
        json!(null),
        json!(7),
        json!(["eddsa"]),
    ] {
        assert!(matches!(signed(kid), TokenError::KeyId));
    }
    let header = r#"{"typ":"at+jwt","alg":"EdDSA"}"#;
    let without = check(&KEYS["eddsa"].token(header, &claims("t1").to_string()));
    assert!(matches!(without, Err(TokenError::KeyId)));
}

#[test]
fn two_issuers_with_one_key_id_do_not_answer_for_each_other() {
    const OTHER: &str = "https://other.example.com";
    let issuers = TestIssuers::standard();
    let other = PrivateKey::ed();
    issuers.add(OTHER, "eddsa", &other);
    let tenant = acme(ReplayMode::Network);
    let says = |issuer: &str, key: &PrivateKey| {
        let mut claims = claims("t1");
        claims["iss"] = issuer.into();
        let token = key.token(&header("eddsa"), &claims.to_string());
        verify(&token, &tenant, &issuers, at(NOW))
    };
    assert!(says(ISSUER, &KEYS["eddsa"]).is_ok());
    assert!(says(OTHER, &other).is_ok());
    assert!(matches!(says(ISSUER, &other), Err(TokenError::Signature)));
    assert!(matches!(
        says(OTHER, &KEYS["eddsa"]),
        Err(TokenError::Signature)
    ));
    let stranger = says("https://gate.example.com/", &KEYS["eddsa"]);
    assert!(matches!(stranger, Err(TokenError::UnknownIssuer)));
}

#[test]
fn both_keys_verify_while_one_is_rotated_out_and_only_one_after() {
    let issuers = TestIssuers::standard();
    let tenant = acme(ReplayMode::Network);
    let next = PrivateKey::ed();
    issuers.add(ISSUER, "next", &next);
    let old_token = token("t1");
    let new_header = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": "next"}).to_string();
    let new_token = next.token(&new_header, &claims("t2").to_string());
    for token in [&old_token, &new_token] {
        assert!(verify(token, &tenant, &issuers, at(NOW)).is_ok());
    }
    issuers.withdraw(ISSUER, "eddsa");
    let old = verify(&old_token, &tenant, &issuers, at(NOW));
    assert!(matches!(old, Err(TokenError::UnknownKey)));
    assert!(verify(&new_token, &tenant, &issuers, at(NOW)).is_ok());
}

#[test]
fn the_audience_is_this_resource_and_no_other() {
    assert!(check(&with("aud", json!(AUDIENCE))).is_ok());
    assert!(check(&with("aud", json!([AUDIENCE]))).is_ok());
    for other in [
        "https://gate.example.com/t/globex/mcp",
        "https://gate.example.com/t/acme/mcp/",
        "https://gate.example.com/t/acme",
        "HTTPS://gate.example.com/t/acme/mcp",
        "https://gate.example.com",
        "",
        "*",
    ] {
        for aud in [json!(other), json!([other])] {
            let error = check(&with("aud", aud)).unwrap_err();
            assert!(matches!(error, TokenError::Audience), "{other}");
        }
    }
    for aud in [
        json!([]),
        json!([AUDIENCE, AUDIENCE]),
        json!([AUDIENCE, "https://gate.example.com/t/globex/mcp"]),
        json!([[AUDIENCE]]),
        json!({"0": AUDIENCE}),
    ] {
        let error = check(&with("aud", aud.clone())).unwrap_err();
        assert!(
            matches!(error, TokenError::ClaimMalformed { claim: "aud", .. }),
            "{aud}"
        );
    }
}

#[test]
fn a_token_lives_600_seconds_and_not_601() {
    let lives = |seconds: i64| {
        let mut claims = claims("t1");
        claims["exp"] = json!(NOW + seconds);
        check(&token_of(&claims))
    };
    for seconds in [1, 599, 600] {
        assert!(lives(seconds).is_ok(), "{seconds}");
    }
    for seconds in [601, 3_600, 0, -1, -600] {
        assert!(
            matches!(lives(seconds), Err(TokenError::Lifetime)),
            "{seconds}"
        );
    }
    let mut claims = claims("t1");
    claims["nbf"] = json!(NOW + 601);
    assert!(matches!(
        check(&token_of(&claims)),
        Err(TokenError::Lifetime)
    ));
}

#[test]
fn clocks_may_differ_by_60_seconds_and_not_by_61() {
    let token = token("t1");
    let end = NOW + 600;
    assert!(check_at(&token, at(end + 60)).is_ok());
    assert!(matches!(
        check_at(&token, at(end + 61)),
        Err(TokenError::Expired)
    ));
    let barely = at(end + 60) + time::Duration::milliseconds(1);
    assert!(matches!(check_at(&token, barely), Err(TokenError::Expired)));
    assert!(check_at(&token, at(NOW - 60)).is_ok());
    assert!(matches!(
        check_at(&token, at(NOW - 61)),
        Err(TokenError::NotYetValid)
    ));

    let issued_later = |seconds: i64| {
        let mut claims = claims("t1");
        claims["iat"] = json!(NOW + seconds);
        check(&token_of(&claims))
    };
    assert!(issued_later(60).is_ok());
    assert!(matches!(issued_later(61), Err(TokenError::IssuedInFuture)));
}

#[test]
fn texts_are_bounded_and_printable() {
    assert!(check(&with("jti", json!("j".repeat(128)))).is_ok());
    assert!(check(&with("jti", json!("é".repeat(128)))).is_ok());
    for (claim, text) in [
        ("jti", String::new()),
        ("jti", "j".repeat(129)),
        ("jti", "a\0b".to_owned()),
        ("jti", "a\nb".to_owned()),
        ("iss", String::new()),
        ("sub", "copilot".to_owned()),
        ("sub", "admin:root".to_owned()),
        ("sub", "agent:".to_owned()),
        ("sub", "agent:co pilot".to_owned()),
        ("sub", format!("agent:{}", "x".repeat(123))),
        ("purpose", String::new()),
        ("purpose", "p".repeat(201)),
    ] {
        let error = check(&with(claim, json!(text))).unwrap_err();
        assert!(
            matches!(error, TokenError::ClaimMalformed { claim: named, .. } if named == claim),
            "{claim} {text}"
        );
    }
}

#[test]
fn a_scope_claim_holds_scopes_and_no_wildcard() {
    let scopes = |text: &str| check(&with("scope", json!(text)));
    let two = scopes("orders.read flags.write:staging").unwrap();
    assert_eq!(two.claims.scopes.len(), 2);
    assert!(scopes("").unwrap().claims.scopes.is_empty());
    for text in [
        "*",
        "orders.*",
        "orders.read *",
        "orders",
        "a.b:*",
        "ORDERS.READ",
        "a.b,c.d",
    ] {
        let error = scopes(text).unwrap_err();
        let malformed = matches!(error, TokenError::ClaimMalformed { claim: "scope", .. });
        assert!(malformed, "{text}");
    }
    let list = check(&with("scope", json!(["orders.read"])));
    assert!(list.is_err());
    let mut without = claims("t1");
    without.as_object_mut().unwrap().remove("scope");
    assert!(check(&token_of(&without)).unwrap().claims.scopes.is_empty());
}

#[test]
fn a_token_that_asks_for_a_proof_is_refused_since_none_can_be_checked() {
    for cnf in [
        json!({"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}),
        json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        json!({}),
        json!(null),
        json!("jkt"),
    ] {
        let error = check(&with("cnf", cnf)).unwrap_err();
        assert!(matches!(error, TokenError::ProofImpossible));
    }
}

#[test]
fn actors_are_read_strictly() {
    let chain = json!({"sub": "agent:planner", "act": {"sub": "service:gateway"}});
    let actors = check(&with("act", chain)).unwrap().claims.actors;
    assert_eq!(actors, ["agent:planner", "service:gateway"]);
    for text in [
        "null",
        "\"agent:planner\"",
        "[]",
        "{}",
        r#"{"sub": ""}"#,
        r#"{"sub": 7}"#,
        r#"{"sub": "a", "sub": "b"}"#,
        r#"{"sub": "a", "act": null}"#,
        r#"{"sub": "a", "act": {}}"#,
    ] {
        assert!(check(&with_text("act", text)).is_err(), "{text}");
    }
    let endless = format!(
        "{}{}{}",
        "{\"sub\":\"a\",\"act\":".repeat(8),
        r#"{"sub":"a"}"#,
        "}".repeat(8)
    );
    assert!(check(&with_text("act", &endless)).is_err());
}

#[test]
fn claims_without_a_sound_signature_are_not_believed() {
    let own = PrivateKey::ed();
    let mut expired = claims("t1");
    expired["exp"] = json!(NOW - 1000);
    let error = check(&own.token(&header("eddsa"), &expired.to_string())).unwrap_err();
    assert!(matches!(error, TokenError::Signature), "{error}");
}

#[test]
fn a_token_longer_than_eight_kibibytes_is_not_read() {
    let long = |bytes: usize| {
        let empty = with("x", json!("")).len();
        with("x", json!("a".repeat((bytes - empty) * 3 / 4)))
    };
    assert!(check(&long(8_100)).is_ok());
    let over = long(8_300);
    assert!(over.len() > 8_192);
    assert!(matches!(check(&over), Err(TokenError::TooLong)));
}

#[test]
fn a_refusal_repeats_nothing_of_the_token() {
    for claim in ["iss", "aud", "sub", "jti", "scope", "purpose", "client_id"] {
        let error = check(&with(claim, json!("\u{1}s3cretvalue"))).unwrap_err();
        let told = format!("{error} {error:?} {}", error.remedy());
        assert!(!told.contains("s3cret"), "{told}");
    }
    let verified = check(&token("s3cret-id")).unwrap();
    assert!(!format!("{:?}", verified.key).contains("s3cret"));
}

/// Our own issuer publishes a key before it signs and a while longer than it signs, then no more.
#[test]
fn a_key_of_the_platform_verifies_while_it_is_published() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("keys.json");
    LocalKeys::open_or_create(&path, at(NOW)).unwrap();
    let keys = LocalKeys::rotate_issuer(&path, at(NOW), at(NOW + 3_600)).unwrap();
    let keys = Arc::new(keys);
    let clock = Arc::new(ManualClock::at(NOW));
    let issuer = PlatformIssuer::new(ISSUER, Arc::clone(&keys), Arc::<ManualClock>::clone(&clock));
    let tenant = acme(ReplayMode::Network).id;
    let old = keys.issuer_active(at(NOW)).unwrap().kid();
    let new = keys.issuer_active(at(NOW + 3_600)).unwrap().kid();
    assert_ne!(old, new);
    for (wait, old_verifies) in [(0, true), (3_600, true), (899, true), (1, false)] {
        clock.advance(time::Duration::seconds(wait));
        assert_eq!(
            issuer.find(tenant, ISSUER, old).is_ok(),
            old_verifies,
            "{wait}"
        );
        assert!(issuer.find(tenant, ISSUER, new).is_ok(), "{wait}");
    }
}

#[test]
fn the_platforms_own_tokens_verify_and_no_other_issuer_has_its_keys() {
    let keys = local_keys();
    let clock = Arc::new(ManualClock::at(NOW));
    let issuer = PlatformIssuer::new(ISSUER, Arc::clone(&keys), Arc::<ManualClock>::clone(&clock));
    let tenant = acme(ReplayMode::Network);
    let active = keys.issuer_active(clock.now()).unwrap();
    let signer =
        PrivateKey::Ed(aws_lc_rs::signature::Ed25519KeyPair::from_pkcs8(active.pkcs8()).unwrap());
    let header = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": active.kid()}).to_string();
    let token = signer.token(&header, &claims("t1").to_string());
    assert!(verify(&token, &tenant, &issuer, at(NOW)).is_ok());
    assert!(issuer.find(tenant.id, ISSUER, "other").is_err());
    let elsewhere = issuer.find(tenant.id, "https://other.example.com", active.kid());
    assert!(elsewhere.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Any change of any byte of a signed token makes it another token, which nobody signed.
    #[test]
    fn a_changed_token_never_verifies(
        place in any::<prop::sample::Index>(),
        byte in 0x21_u8..0x7f,
        edit in 0..4_u8,
    ) {
        let sound = token("t1");
        let at = place.index(sound.len());
        let mut bytes = sound.clone().into_bytes();
        match edit {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            2 => { bytes.remove(at); }
            _ => bytes.truncate(at),
        }
        let changed = String::from_utf8(bytes).unwrap();
        prop_assume!(changed != sound);
        prop_assert!(check(&changed).is_err());
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// No input, however made, makes the reader fail in another way than by refusing.
    #[test]
    fn any_text_is_refused_in_order(text in "\\PC{0,200}", parts in "[A-Za-z0-9_.-]{0,400}") {
        prop_assert!(check(&text).is_err());
        prop_assert!(check(&parts).is_err());
    }

    /// Any JSON as header and claims, even signed by the issuer, is refused or sound; never a crash.
    #[test]
    fn any_signed_json_is_refused_or_sound(header in ".{0,60}", payload in ".{0,120}") {
        prop_assert!(check(&KEYS["eddsa"].token(&header, &payload)).is_err());
    }
}
