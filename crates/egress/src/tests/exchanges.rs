//! Requests: who is dialled, what is sent, what is read, and when it ends.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::upstream::{
    Answers, LIMIT, Recorded, Silent, Then, Upstream, client, local, opened, trusting,
};
use crate::address::{Class, class};
use crate::allowance::Allowance;
use crate::client::{Client, Request, Response};
use crate::destination::Destination;
use crate::dial::TcpDial;
use crate::error::{EgressError, Refusal};
use crate::headers::Headers;
use crate::target::Target;
use crate::tls::Trust;
use crate::watch::Unwatched;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

async fn send_within(
    client: &Client,
    url: &str,
    allowance: &Allowance,
    within: Duration,
) -> Result<Response, EgressError> {
    let target = Target::parse(url).unwrap();
    let destination = Destination {
        target: &target,
        ports: &[],
        allowance,
        watch: &Unwatched,
    };
    let request = Request {
        method: Method::POST,
        headers: Headers::new().with(CONTENT_TYPE, HeaderValue::from_static("application/json")),
        body: Bytes::from_static(b"{\"a\":1}"),
    };
    let deadline = Instant::now() + within;
    let connection = client.open(destination, deadline).await?;
    connection.send(request, deadline).await
}

async fn send(client: &Client, url: &str, allowance: &Allowance) -> Result<Response, EgressError> {
    send_within(client, url, allowance, Duration::from_secs(10)).await
}

/// What became of a request to a local server that answers so.
async fn answered(answer: &[u8], then: Then) -> Result<Response, EgressError> {
    let upstream = Upstream::start(answer, then).await;
    let url = format!("http://127.0.0.1:{}/", upstream.port);
    send(&local(), &url, &opened(upstream.port)).await
}

#[tokio::test]
async fn of_1000_rebinding_attempts_none_dials_the_inside() {
    let answers: Vec<&[&str]> = (0..1_000)
        .map(|turn| match turn % 4 {
            0 => &["93.184.216.34"][..],
            1 => &["127.0.0.1"],
            2 => &["2606:4700:4700::1111"],
            _ => &["169.254.169.254"],
        })
        .collect();
    let resolver = Answers::new(&answers);
    let dial = Arc::new(Recorded::default());
    let client = client(&resolver, &dial);
    let mut refused = 0;
    for _ in 0..1_000 {
        match send(&client, "http://rebind.example.com/", &Allowance::none()).await {
            Err(EgressError::Refused(Refusal::Address(_))) => refused += 1,
            Err(EgressError::Connect(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, 500);
    // One question a request: there is no second answer to dial.
    assert_eq!(resolver.asked().len(), 1_000);
    let dialled = dial.dialled.lock().unwrap();
    assert_eq!(dialled.len(), 500);
    assert!(dialled.iter().all(|peer| class(peer.ip()) == Class::Public));
}

#[tokio::test]
async fn one_address_that_is_not_public_refuses_the_name() {
    for answer in [
        &["93.184.216.34", "10.0.0.1"][..],
        &["10.0.0.1", "93.184.216.34"],
        &["93.184.216.34", "1.1.1.1", "::1"],
        &["2606:4700:4700::1111", "::ffff:93.184.216.34"],
        &["93.184.216.34", "169.254.169.254"],
        &["93.184.216.34", "64:ff9b::5db8:d822"],
        &[],
    ] {
        let dial = Arc::new(Recorded::default());
        let client = client(&Answers::new(&[answer]), &dial);
        let ended = send(&client, "https://api.example.com/", &Allowance::none()).await;
        assert!(matches!(ended, Err(EgressError::Refused(_))), "{answer:?}");
        assert!(dial.dialled.lock().unwrap().is_empty(), "{answer:?}");
    }
}

#[tokio::test]
async fn public_and_opened_addresses_in_one_answer_refuse_the_name() {
    let client = client(
        &Answers::new(&[&["127.0.0.1", "93.184.216.34"]]),
        &Arc::new(Recorded::default()),
    );
    let ended = send(&client, "http://api.example.com/", &opened(80)).await;
    assert!(matches!(ended, Err(EgressError::Refused(Refusal::Mixed))));
}

#[tokio::test]
async fn a_name_of_the_inside_is_not_dialled_in_public() {
    let dial = Arc::new(Recorded::default());
    let client = client(&Answers::new(&[&["93.184.216.34"]]), &dial);
    let ended = send(&client, "http://orders/", &opened(80)).await;
    assert!(matches!(ended, Err(EgressError::Refused(Refusal::Name))));
    assert!(dial.dialled.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_port_opened_inside_is_not_dialled_in_public() {
    let client = client(
        &Answers::new(&[&["93.184.216.34"]]),
        &Arc::new(Recorded::default()),
    );
    let ended = send(&client, "http://api.example.com:8080/", &opened(8080)).await;
    assert!(matches!(ended, Err(EgressError::Refused(Refusal::Port))));
}

#[tokio::test]
async fn only_checked_addresses_are_dialled_each_with_the_urls_port() {
    let dial = Arc::new(Recorded::default());
    let answer: &[&str] = &["93.184.216.34", "2606:4700:4700::1111"];
    let client = client(&Answers::new(&[answer]), &dial);
    let ended = send(&client, "https://api.example.com/", &Allowance::none()).await;
    assert!(ended.unwrap_err().is_certainly_unsent());
    let dialled = dial.dialled.lock().unwrap().clone();
    assert_eq!(
        dialled,
        [
            "93.184.216.34:443".parse().unwrap(),
            "[2606:4700:4700::1111]:443".parse().unwrap()
        ]
    );
}

#[tokio::test]
async fn an_address_in_the_url_asks_no_resolver() {
    let resolver = Answers::new(&[&["127.0.0.1"]]);
    let dial = Arc::new(Recorded::default());
    let client = client(&resolver, &dial);
    drop(send(&client, "http://1.1.1.1/", &Allowance::none()).await);
    assert!(resolver.asked().is_empty());
    let dialled = dial.dialled.lock().unwrap();
    assert_eq!(dialled[0].ip(), "1.1.1.1".parse::<IpAddr>().unwrap());
}

#[tokio::test]
async fn a_peer_that_was_not_dialled_gets_nothing() {
    let upstream = Upstream::start(OK, Then::Close).await;
    let dial = Recorded {
        instead: Some(([127, 0, 0, 1], upstream.port).into()),
        ..Recorded::default()
    };
    let client = client(&Answers::new(&[&["93.184.216.34"]]), &Arc::new(dial));
    let ended = send(&client, "http://api.example.com/", &Allowance::none()).await;
    assert!(matches!(ended, Err(EgressError::Refused(Refusal::Peer))));
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn an_opened_address_is_reached_and_the_host_is_kept() {
    let upstream = Upstream::start(OK, Then::Close).await;
    let url = format!("http://orders:{}/v1/a%20b?x=1", upstream.port);
    let answer = send(&local(), &url, &opened(upstream.port)).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body, "{}");
    let received = upstream.received();
    assert!(received[0].starts_with("POST /v1/a%20b?x=1 HTTP/1.1\r\n"));
    let host = format!("host: orders:{}\r\n", upstream.port);
    assert!(received[0].contains(&host), "{}", received[0]);
    assert!(received[0].contains("accept-encoding: identity\r\n"));
}

#[tokio::test]
async fn the_same_address_is_refused_without_the_opening() {
    let upstream = Upstream::start(OK, Then::Close).await;
    let url = format!("http://127.0.0.1:{}/", upstream.port);
    for allowance in [Allowance::none(), opened(upstream.port.wrapping_add(1))] {
        let ended = send(&local(), &url, &allowance).await;
        assert!(matches!(ended, Err(EgressError::Refused(_))));
    }
    assert!(upstream.received().is_empty());
}

fn tls() -> (TlsAcceptor, tempfile::NamedTempFile) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["orders.example.com".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), cert.pem()).unwrap();
    (TlsAcceptor::from(Arc::new(config)), file)
}

#[tokio::test]
async fn tls_names_and_checks_the_host_not_the_address() {
    let (acceptor, authority) = tls();
    let upstream = Upstream::start_tls(OK, acceptor).await;
    let trust = Trust::public().with_file(authority.path()).unwrap();
    let resolver = Answers::new(&[&["127.0.0.1"]]);
    let client = trusting(&resolver, &Arc::new(TcpDial), trust);
    let allowance = opened(upstream.port);
    let url = format!("https://orders.example.com:{}/", upstream.port);
    assert!(send(&client, &url, &allowance).await.is_ok());
    assert_eq!(upstream.received()[0], "SNI orders.example.com");
    // The same server under a name that its certificate does not bear.
    let url = format!("https://other.example.com:{}/", upstream.port);
    let ended = send(&client, &url, &allowance).await.unwrap_err();
    assert!(matches!(ended, EgressError::Tls(_)));
    assert!(ended.is_certainly_unsent());
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_not_believed() {
    let (acceptor, _authority) = tls();
    let upstream = Upstream::start_tls(OK, acceptor).await;
    let url = format!("https://orders.example.com:{}/", upstream.port);
    let ended = send(&local(), &url, &opened(upstream.port)).await;
    assert!(matches!(ended, Err(EgressError::Tls(_))));
}

#[test]
fn a_file_without_a_certificate_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "nothing").unwrap();
    assert!(Trust::public().with_file(file.path()).is_err());
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let redirect = b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest/\r\n\
                     content-length: 0\r\n\r\n";
    let upstream = Upstream::start(redirect, Then::Close).await;
    let url = format!("http://127.0.0.1:{}/", upstream.port);
    let answer = send(&local(), &url, &opened(upstream.port)).await.unwrap();
    assert_eq!(answer.status, StatusCode::FOUND);
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test]
async fn an_answer_is_read_up_to_the_limit_and_not_beyond() {
    let most = vec![b' '; LIMIT];
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LIMIT}\r\n\r\n");
    let fits = [head.as_bytes(), &most].concat();
    assert_eq!(
        answered(&fits, Then::Close).await.unwrap().body.len(),
        LIMIT
    );
    let endless = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &most].concat();
    let ended = answered(&endless, Then::Repeat).await.unwrap_err();
    assert!(matches!(ended, EgressError::TooLarge { limit: LIMIT }));
    assert!(!ended.is_certainly_unsent());
}

#[tokio::test]
async fn a_packed_answer_is_not_unpacked() {
    for coding in ["gzip", "br", "zstd", "deflate", "identity, gzip", "x-gzip"] {
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        let ended = answered(answer.as_bytes(), Then::Close).await;
        assert!(matches!(ended, Err(EgressError::Encoded)), "{coding}");
    }
}

#[tokio::test]
async fn an_endless_head_is_not_read() {
    let head = [
        b"HTTP/1.1 200 OK\r\nx-a: ".as_slice(),
        &vec![b'a'; 512 * 1024],
    ]
    .concat();
    let ended = answered(&head, Then::Hang).await;
    assert!(matches!(ended, Err(EgressError::Exchange(_))));
}

#[tokio::test]
async fn a_broken_connection_leaves_it_open_what_happened() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}",
        b"SSH-2.0-OpenSSH_9.6\r\n",
    ] {
        let ended = answered(answer, Then::Close).await.unwrap_err();
        assert!(matches!(ended, EgressError::Exchange(_)), "{ended:?}");
        assert!(!ended.is_certainly_unsent());
    }
}

#[tokio::test]
async fn a_slow_answer_ends_at_the_deadline() {
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{"] {
        let upstream = Upstream::start(answer, Then::Hang).await;
        let url = format!("http://127.0.0.1:{}/", upstream.port);
        let allowance = opened(upstream.port);
        let began = Instant::now();
        let within = Duration::from_millis(200);
        let ended = send_within(&local(), &url, &allowance, within).await;
        assert!(matches!(ended, Err(EgressError::Deadline)));
        assert!(began.elapsed() < Duration::from_millis(450));
    }
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_never_answers_ends_at_the_deadline_unsent() {
    let client = client(&Arc::new(Silent), &Arc::new(Recorded::default()));
    let ended = send(&client, "https://api.example.com/", &Allowance::none()).await;
    let error = ended.unwrap_err();
    assert!(matches!(error, EgressError::DeadlineBeforeSend));
    assert!(error.is_certainly_unsent());
}

#[tokio::test]
async fn nobody_at_the_port_is_certainly_no_effect() {
    let upstream = Upstream::start(OK, Then::Close).await;
    let port = upstream.port;
    drop(upstream);
    let url = format!("http://127.0.0.1:{port}/");
    let ended = send(&local(), &url, &opened(port)).await;
    assert!(ended.unwrap_err().is_certainly_unsent());
}
