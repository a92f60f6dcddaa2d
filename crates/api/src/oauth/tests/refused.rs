//! Requests that get no token, and what they learn by it: nothing.

use std::sync::atomic::Ordering;

use axum::body::Body;
use http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, Request, StatusCode};
use portcullis_domain::SwitchKind;
use portcullis_domain::id::{Id, Tenant};
use portcullis_mcp_runtime::token::TrustedProxies;
use portcullis_store::switches::{Concern, SwitchRow};
use time::Duration;
use uuid::Uuid;

use super::{
    FORM, NOW, OAuthSettings, PEER, SECRET, Server, acme, at, basic, client_id, local_keys,
    settings,
};
use crate::oauth::{OAuth, OAuthSettingsError};

const GRANT: &str = "grant_type=client_credentials";

#[tokio::test]
async fn every_failure_to_prove_who_one_is_gives_the_same_bytes() {
    let wrong = SECRET.replace('A', "C");
    let id = client_id(1).to_string();
    let other = client_id(2).to_string();
    let mut answers = Vec::new();
    for (id, secret) in [
        (id.as_str(), wrong.as_str()),
        (other.as_str(), SECRET),
        ("nobody", SECRET),
        ("prn_00000000000000000000000000000000", SECRET),
        (id.to_uppercase().as_str(), SECRET),
        (id.as_str(), SECRET.strip_suffix('A').unwrap()),
        (id.as_str(), "x"),
    ] {
        let server = Server::new();
        let answer = server.ask_as(id, secret, GRANT, PEER).await;
        assert_eq!(server.directory.asked.load(Ordering::SeqCst), 1, "{id}");
        answers.push(answer);
    }
    let suspended = Server::new();
    suspended.change(|client| client.active = false);
    answers.push(suspended.ask("").await);
    let expired = Server::new();
    expired.change(|client| client.secrets[0].expires_at = Some(at(NOW)));
    answers.push(expired.ask("").await);
    let without = Server::new();
    without.change(|client| client.secrets.clear());
    answers.push(without.ask("").await);
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.error(), "invalid_client");
        assert_eq!(answer.body, answers[0].body);
        assert_eq!(answer.headers, answers[0].headers);
        assert_eq!(
            answer.headers[WWW_AUTHENTICATE],
            "Basic realm=\"portcullis\""
        );
    }
}

#[tokio::test]
async fn credentials_come_once_and_in_one_place() {
    let server = Server::new();
    let id = client_id(1).to_string();
    let header = basic(&id, SECRET);
    let shown = ("authorization", header.as_str());
    let pair = format!("{GRANT}&client_id={id}&client_secret={SECRET}");
    let secret = format!("{GRANT}&client_secret={SECRET}");
    let other = format!("{GRANT}&client_id={}", client_id(2));
    for (headers, form) in [
        (&[FORM, shown][..], pair.as_str()),
        (&[FORM, shown], &secret),
        (&[FORM, shown], &other),
        (&[FORM, shown, shown], GRANT),
    ] {
        let answer = server.ask_with(headers, form).await;
        assert_eq!(answer.error(), "invalid_request", "{headers:?} {form}");
    }
    assert_eq!(server.directory.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn credentials_that_cannot_be_read_are_none() {
    let server = Server::new();
    let id = client_id(1).to_string();
    for form in [
        GRANT.to_owned(),
        format!("{GRANT}&client_id={id}"),
        format!("{GRANT}&client_secret={SECRET}"),
        format!("{GRANT}&client_id={id}&client_secret="),
    ] {
        let answer = server.ask_with(&[FORM], &form).await;
        assert_eq!(answer.error(), "invalid_client", "{form}");
    }
    for header in [
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic cHJu",
        "Basic Og==",
        "Bearer x",
        "",
    ] {
        let shown = ("authorization", header);
        let answer = server.ask_with(&[FORM, shown], GRANT).await;
        assert_eq!(answer.error(), "invalid_client", "{header}");
    }
    assert_eq!(server.directory.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn credentials_in_the_url_are_refused() {
    let server = Server::new();
    let id = client_id(1).to_string();
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!(
            "/oauth/token?client_id={id}&client_secret={SECRET}"
        ))
        .header(FORM.0, FORM.1)
        .header("authorization", basic(&id, SECRET))
        .body(Body::from(GRANT))
        .unwrap();
    let answer = server.send(request, PEER).await;
    assert_eq!(answer.error(), "invalid_request");
    assert_eq!(server.directory.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_request_that_breaks_the_grammar_is_refused() {
    let server = Server::new();
    for (more, error) in [
        ("&grant_type=client_credentials", "invalid_request"),
        ("&scope=orders.read&scope=orders.read", "invalid_request"),
        ("&scope=&scope=", "invalid_request"),
        ("&sc%6Fpe=orders.read&scope=orders.read", "invalid_request"),
        ("&unknown=1&unknown=2", "invalid_request"),
        ("&scope=%FF", "invalid_request"),
    ] {
        let answer = server.ask(more).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{more}");
        assert_eq!(answer.error(), error, "{more}");
        assert!(answer.headers.get(WWW_AUTHENTICATE).is_none());
    }
    let id = client_id(1).to_string();
    for (form, error) in [
        ("", "invalid_request"),
        ("grant_type=", "invalid_request"),
        (
            "grant_type=password&username=a&password=b",
            "unsupported_grant_type",
        ),
        (
            "grant_type=authorization_code&code=x",
            "unsupported_grant_type",
        ),
        (
            "grant_type=refresh_token&refresh_token=x",
            "unsupported_grant_type",
        ),
        ("grant_type=CLIENT_CREDENTIALS", "unsupported_grant_type"),
        ("{\"grant_type\":\"client_credentials\"}", "invalid_request"),
    ] {
        let answer = server.ask_as(&id, SECRET, form, PEER).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{form}");
        assert_eq!(answer.error(), error, "{form}");
    }
}

#[tokio::test]
async fn a_body_of_another_type_or_size_is_refused() {
    let server = Server::new();
    let header = basic(&client_id(1).to_string(), SECRET);
    let authorization = ("authorization", header.as_str());
    for headers in [
        &[authorization][..],
        &[authorization, ("content-type", "application/json")],
        &[authorization, ("content-type", "text/plain")],
        &[
            authorization,
            ("content-type", "multipart/form-data; boundary=x"),
        ],
        &[authorization, FORM, FORM],
    ] {
        let answer = server.ask_with(headers, GRANT).await;
        assert_eq!(answer.error(), "invalid_request", "{headers:?}");
    }
    let large = format!("{GRANT}&scope={}", "a".repeat(9_000));
    let answer = server.ask_with(&[authorization, FORM], &large).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.error(), "invalid_request");
    assert_eq!(answer.headers[CACHE_CONTROL], "no-store");
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let request = Request::builder().method(method).uri("/oauth/token");
        let answer = server
            .send(request.body(Body::empty()).unwrap(), PEER)
            .await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn a_token_is_for_the_clients_own_tenant_alone() {
    let server = Server::new();
    let own = "https%3A%2F%2Fgate.example.com%2Ft%2Facme%2Fmcp";
    for more in [
        "&resource=https://gate.example.com/t/globex/mcp".to_owned(),
        "&resource=https://gate.example.com/t/acme".to_owned(),
        "&resource=https://gate.example.com/t/acme/mcp/".to_owned(),
        "&resource=https://gate.example.com/t/acme/mcp#x".to_owned(),
        "&resource=https://gate.example.com".to_owned(),
        "&resource=acme".to_owned(),
        "&resource=*".to_owned(),
        format!("&resource={own}&resource={own}"),
        format!("&resource={own}&resource=https://gate.example.com/t/globex/mcp"),
    ] {
        let answer = server.ask(&more).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{more}");
        assert_eq!(answer.error(), "invalid_target", "{more}");
    }
}

#[tokio::test]
async fn a_client_gets_no_scope_that_it_is_not_granted() {
    let server = Server::new();
    for more in [
        "&scope=orders.write",
        "&scope=orders.read%20orders.write",
        "&scope=*",
        "&scope=orders.*",
        "&scope=flags.write",
        "&scope=flags.write:prod",
        "&scope=refunds.write",
        "&scope=%20",
        "&purpose=sales",
        "&purpose=sales&scope=orders.read",
    ] {
        let answer = server.ask(more).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{more}");
        assert_eq!(answer.error(), "invalid_scope", "{more}");
    }
    server.directory.grants.lock().unwrap().clear();
    assert_eq!(server.ask("").await.error(), "invalid_scope");
}

#[tokio::test]
async fn a_token_too_long_to_be_read_is_not_issued() {
    let server = Server::new();
    let many = (0..400).map(|n| super::grant(&format!("orders.read:{n:020}"), None));
    server.directory.grants.lock().unwrap().extend(many);
    let answer = server.ask("").await;
    assert_eq!(answer.error(), "invalid_scope");
    server.ask("&scope=orders.read").await.token();
}

#[tokio::test]
async fn whoever_fails_too_often_is_not_looked_up_any_more() {
    let server = Server::new();
    let form = GRANT;
    for n in 0..30_u128 {
        let id = client_id(100 + n).to_string();
        let answer = server.ask_as(&id, SECRET, form, PEER).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
    let before = server.directory.asked.load(Ordering::SeqCst);
    let blocked = server.ask("").await;
    assert_eq!(blocked.status, StatusCode::TOO_MANY_REQUESTS);
    let wait: i64 = blocked.headers[RETRY_AFTER]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(server.directory.asked.load(Ordering::SeqCst), before);
    // Others are served meanwhile, and everybody after the wait.
    let id = client_id(1).to_string();
    server
        .ask_as(&id, SECRET, form, "198.51.100.1:1")
        .await
        .token();
    server.clock.advance(Duration::seconds(wait));
    server.ask("").await.token();
}

#[tokio::test]
async fn failing_in_a_clients_name_gives_429_but_does_not_lock_it_out() {
    let server = Server::new();
    let id = client_id(1).to_string();
    let mut seen = Vec::new();
    for n in 0..12 {
        let peer = format!("203.0.113.{n}:1");
        seen.push(server.ask_as(&id, "pcs_wrong", GRANT, &peer).await.status);
    }
    assert_eq!(&seen[..10], [StatusCode::UNAUTHORIZED; 10]);
    assert_eq!(&seen[10..], [StatusCode::TOO_MANY_REQUESTS; 2]);
    server.ask("").await.token();
    // The same holds of a client that does not exist: the answers do not tell the two apart.
    let absent = client_id(9).to_string();
    let mut seen = Vec::new();
    for n in 0..12 {
        let peer = format!("203.0.113.{}:1", 100 + n);
        seen.push(
            server
                .ask_as(&absent, "pcs_wrong", GRANT, &peer)
                .await
                .status,
        );
    }
    assert_eq!(&seen[10..], [StatusCode::TOO_MANY_REQUESTS; 2]);
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_are_counted_apart() {
    let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
    let server = Server::with(
        local_keys(),
        OAuthSettings {
            proxies,
            ..settings()
        },
    );
    let id = client_id(1).to_string();
    let ask = async |chain: &str, secret: &str| {
        let header = basic(&id, secret);
        let request = Request::builder()
            .method(Method::POST)
            .uri("/oauth/token")
            .header(FORM.0, FORM.1)
            .header("authorization", header)
            .header("forwarded", chain)
            .body(Body::from(GRANT))
            .unwrap();
        server.send(request, "10.0.0.1:1").await.status
    };
    for _ in 0..30 {
        ask("for=192.0.2.66", "pcs_wrong").await;
    }
    let blocked = ask("for=192.0.2.66", SECRET).await;
    assert_eq!(blocked, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask("for=192.0.2.67", SECRET).await, StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_asks_without_end_waits_and_is_written_down_no_more() {
    let server = Server::new();
    let mut refused = None;
    for _ in 0..200 {
        let answer = server.ask("").await;
        if answer.status != StatusCode::OK {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers.contains_key(RETRY_AFTER));
    assert_eq!(server.directory.proofs.lock().unwrap().len(), 120);
    server.clock.advance(Duration::minutes(1));
    assert_eq!(server.ask("").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_directory_that_fails_gives_a_503_that_says_nothing() {
    let server = Server::new();
    server.directory.broken.store(true, Ordering::SeqCst);
    let answer = server.ask("").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.body, "{\"error\":\"temporarily_unavailable\"}");
}

#[tokio::test]
async fn no_answer_repeats_what_was_sent() {
    let server = Server::new();
    for more in [
        "&scope=s3cret",
        "&resource=s3cret",
        "&purpose=s3cret",
        "&s3cret=1&s3cret=2",
        "&grant_type=s3cret",
    ] {
        let answer = server.ask(more).await;
        let told = format!("{:?} {:?}", answer.headers, answer.body);
        assert!(!told.contains("s3cret"), "{told}");
    }
}

#[test]
fn settings_that_no_verifier_would_follow_are_refused() {
    let build = |settings: OAuthSettings| {
        let Server {
            directory,
            keys,
            clock,
            switchboard,
            ..
        } = Server::new();
        OAuth::new(directory, keys, clock, switchboard, settings).map(|_| ())
    };
    for lifetime in [
        Duration::ZERO,
        Duration::seconds(-1),
        Duration::seconds(601),
        Duration::milliseconds(500),
        Duration::milliseconds(1_500),
    ] {
        let refused = build(OAuthSettings {
            lifetime,
            ..settings()
        });
        assert_eq!(refused, Err(OAuthSettingsError::Lifetime), "{lifetime}");
    }
    for public_url in [
        "",
        "gate.example.com",
        "https://gate.example.com/",
        "https://gate.example.com/x",
        "https://gate.example.com:443",
        "https://GATE.example.com",
        "https://user@gate.example.com",
        "https://gate.example.com?x",
        "file:///etc",
    ] {
        let public_url = public_url.to_owned();
        let refused = build(OAuthSettings {
            public_url,
            ..settings()
        });
        assert_eq!(refused, Err(OAuthSettingsError::PublicUrl));
    }
    let local = "http://127.0.0.1:8420".to_owned();
    assert_eq!(
        build(OAuthSettings {
            public_url: local,
            ..settings()
        }),
        Ok(())
    );
}

fn down(kind: SwitchKind, tenant: Id<Tenant>, target: Option<&str>) -> SwitchRow {
    SwitchRow {
        id: Id::from_row(Uuid::from_u128(0x5317)),
        tenant: Some(tenant),
        by_platform: false,
        kind,
        target: target.map(str::to_owned),
        reason: "an odd pattern of calls".to_owned(),
        dropped_by: "operator".to_owned(),
        dropped_at: at(NOW),
        expires_at: Some(at(NOW + 60)),
        lift_request: None,
        lifted: None,
        epoch: 1,
        raised_at: None,
    }
}

#[tokio::test]
async fn whom_a_switch_stops_gets_no_token_until_it_is_lifted() {
    for (kind, target) in [
        (SwitchKind::PrincipalSuspension, Some("agent:copilot")),
        (SwitchKind::TenantFreeze, None),
    ] {
        let server = Server::new();
        let concern = Concern::One(acme());
        let rows = vec![down(kind, acme(), target)];
        server.switchboard.replace(concern, rows, at(NOW));
        let refused = server.ask("").await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert_eq!(refused.error(), "unauthorized_client");
        // The reason is written for operators: a client is told the kind alone.
        let told = String::from_utf8(refused.body.to_vec()).unwrap();
        assert!(
            told.contains("kill switch") && !told.contains("odd"),
            "{told}"
        );
        // The clock counts at once, before anybody wrote the lift down.
        server.clock.advance(Duration::seconds(61));
        server.ask("").await.token();
    }
}

#[tokio::test]
async fn a_switch_on_something_else_stops_no_token() {
    let server = Server::new();
    let other = Id::from_row(Uuid::from_u128(0x910b));
    for row in [
        down(SwitchKind::PrincipalSuspension, acme(), Some("agent:other")),
        down(SwitchKind::TenantReadOnly, acme(), None),
        down(SwitchKind::ToolQuarantine, acme(), Some("orders.get")),
        down(SwitchKind::TenantFreeze, other, None),
    ] {
        let concern = row.tenant.map_or(Concern::Everyone, Concern::One);
        server.switchboard.replace(concern, vec![row], at(NOW));
        server.ask("").await.token();
    }
}

#[tokio::test]
async fn a_wrong_secret_does_not_learn_of_a_switch() {
    let server = Server::new();
    let rows = vec![down(SwitchKind::TenantFreeze, acme(), None)];
    server
        .switchboard
        .replace(Concern::One(acme()), rows, at(NOW));
    let id = client_id(1).to_string();
    let refused = server.ask_as(&id, "pcs_wrong", GRANT, PEER).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.error(), "invalid_client");
}
