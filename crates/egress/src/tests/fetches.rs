//! Fetches: which redirects are followed, what goes along, and what is never reached.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION, HeaderName};
use tokio::time::Instant;

use super::upstream::{Answers, Then, Upstream, client, opened, opened_at};
use crate::allowlist::Allowlist;
use crate::dial::TcpDial;
use crate::error::{EgressError, Refusal};
use crate::fetch::{Fetch, FetchError, Fetched};
use crate::headers::Headers;
use crate::target::Target;
use crate::watch::{Unwatched, Watch};

const MOST: usize = 64 * 1024;

pub(super) fn head(status: u16, extra: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Said\r\n{extra}\r\n\r\n").into_bytes()
}

fn redirect(status: u16, to: &str) -> Vec<u8> {
    head(status, &format!("location: {to}\r\ncontent-length: 0"))
}

fn page() -> Vec<u8> {
    let mut page = head(200, "content-type: text/plain\r\ncontent-length: 5");
    page.extend(b"hello");
    page
}

async fn fetch(
    upstream: &Upstream,
    path: &str,
    watch: &dyn Watch,
) -> Result<Fetched, Box<FetchError>> {
    let port = upstream.port;
    let allowlist = Allowlist::read(&[
        format!("a.example.com:{port}"),
        format!("b.example.com:{port}"),
    ]);
    let fetch = Fetch {
        target: Target::parse(&format!("http://a.example.com:{port}{path}")).unwrap(),
        headers: Headers::new()
            .with(ACCEPT, HeaderValue::from_static("text/*"))
            .with(AUTHORIZATION, HeaderValue::from_static("Bearer secret"))
            .with(
                HeaderName::from_static("x-own"),
                HeaderValue::from_static("1"),
            ),
        allowlist: &allowlist.unwrap(),
        allowance: &opened(port),
        watch,
        max_bytes: MOST,
    };
    let client = client(&Answers::new(&[&["127.0.0.1"]]), &Arc::new(TcpDial));
    let deadline = Instant::now() + Duration::from_secs(5);
    client.fetch(&fetch, deadline).await
}

/// What a fetch comes to where a server answers so, one request after the other.
pub(super) async fn fetched(answers: &[Vec<u8>]) -> Result<Fetched, Box<FetchError>> {
    fetch(&Upstream::start_each(answers).await, "/", &Unwatched).await
}

/// Fetches from a server that redirects once, to a place that may name its port.
async fn led(status: u16, to: &str) -> (Result<Fetched, Box<FetchError>>, Vec<String>) {
    // The port is known only when the server listens: `PORT` is replaced by a second server's.
    let next = Upstream::start(&page(), Then::Close).await;
    let to = to.replace("PORT", &next.port.to_string());
    let first = Upstream::start(&redirect(status, &to), Then::Close).await;
    let list = [
        format!("a.example.com:{}", first.port),
        format!("a.example.com:{}", next.port),
        format!("b.example.com:{}", next.port),
    ];
    let allowance = opened_at(&[first.port, next.port]);
    let fetch = Fetch {
        target: Target::parse(&format!("http://a.example.com:{}/", first.port)).unwrap(),
        headers: Headers::new()
            .with(ACCEPT, HeaderValue::from_static("text/*"))
            .with(AUTHORIZATION, HeaderValue::from_static("Bearer secret"))
            .with(
                HeaderName::from_static("x-own"),
                HeaderValue::from_static("1"),
            ),
        allowlist: &Allowlist::read(&list).unwrap(),
        allowance: &allowance,
        watch: &Unwatched,
        max_bytes: MOST,
    };
    let client = client(&Answers::new(&[&["127.0.0.1"]]), &Arc::new(TcpDial));
    let ended = client
        .fetch(&fetch, Instant::now() + Duration::from_secs(5))
        .await;
    (ended, next.received())
}

fn refusal(ended: Result<Fetched, Box<FetchError>>) -> Refusal {
    let error = ended.unwrap_err().error;
    let EgressError::Refused(refusal) = error else {
        panic!("{error:?}");
    };
    refusal
}

#[tokio::test]
async fn a_page_is_fetched_by_get_without_a_body() {
    let upstream = Upstream::start(&page(), Then::Close).await;
    let fetched = fetch(&upstream, "/a%20b?x=1", &Unwatched).await.unwrap();
    assert_eq!(fetched.status, 200);
    assert_eq!(fetched.body, "hello");
    assert_eq!(fetched.redirects, 0);
    let received = &upstream.received()[0];
    assert!(
        received.starts_with("GET /a%20b?x=1 HTTP/1.1\r\n"),
        "{received}"
    );
    assert!(
        received.contains("accept-encoding: gzip, br, zstd\r\n"),
        "{received}"
    );
    assert!(received.ends_with("\r\n\r\n"), "{received}");
}

#[tokio::test]
async fn every_kind_of_redirect_is_followed_by_get() {
    for status in [301, 302, 303, 307, 308] {
        let (ended, received) = led(status, "http://b.example.com:PORT/there#part").await;
        let fetched = ended.unwrap();
        assert_eq!(
            (fetched.redirects, fetched.status.as_u16()),
            (1, 200),
            "{status}"
        );
        assert!(
            received[0].starts_with("GET /there HTTP/1.1\r\n"),
            "{received:?}"
        );
    }
}

#[tokio::test]
async fn nothing_that_says_who_asks_goes_to_another_origin() {
    for place in ["http://b.example.com:PORT/", "http://a.example.com:PORT/"] {
        let (ended, received) = led(302, place).await;
        ended.unwrap();
        let received = received[0].to_ascii_lowercase();
        assert!(received.contains("accept: text/*"), "{received}");
        for name in ["authorization", "secret", "x-own", "cookie"] {
            assert!(!received.contains(name), "{place}: {received}");
        }
    }
}

#[tokio::test]
async fn headers_stay_with_their_origin() {
    let upstream = Upstream::start_each(&[redirect(302, "/next"), page()]).await;
    fetch(&upstream, "/", &Unwatched).await.unwrap();
    let received = upstream.received();
    assert!(received[1].starts_with("GET /next HTTP/1.1\r\n"));
    assert!(received[1].contains("authorization: Bearer secret"));
}

#[tokio::test]
async fn three_redirects_are_followed_and_no_fourth() {
    let hops = |count: usize| {
        let mut answers: Vec<_> = (0..count)
            .map(|hop| redirect(302, &format!("/{hop}")))
            .collect();
        answers.push(page());
        answers
    };
    assert_eq!(fetched(&hops(3)).await.unwrap().redirects, 3);
    assert_eq!(refusal(fetched(&hops(4)).await), Refusal::TooManyRedirects);
    let circle = Upstream::start(&redirect(302, "/"), Then::Close).await;
    let ended = fetch(&circle, "/", &Unwatched).await;
    assert_eq!(refusal(ended), Refusal::TooManyRedirects);
    assert_eq!(circle.received().len(), 4);
}

#[tokio::test]
async fn a_redirect_is_checked_as_if_it_were_the_first_request() {
    for (place, expected) in [
        ("http://c.example.com:PORT/", Refusal::NotListed),
        ("http://127.0.0.1:PORT/", Refusal::NotListed),
        (
            "http://169.254.169.254/latest/meta-data/",
            Refusal::NotListed,
        ),
        ("//evil.example.net/", Refusal::NotListed),
        ("http://a.example.com/", Refusal::NotListed),
        ("file:///etc/passwd", Refusal::Redirect),
        ("gopher://127.0.0.1:6379/_", Refusal::Redirect),
        ("http://user@b.example.com:PORT/", Refusal::Redirect),
        ("http://b.example.com:PORT\\@127.0.0.1/", Refusal::Redirect),
        ("http://0x7f.1:PORT/", Refusal::Redirect),
        ("http:\\\\127.0.0.1\\", Refusal::Redirect),
        ("javascript:alert(1)", Refusal::Redirect),
        ("http://b.example.com:PORT/%0d%0aHost:x", Refusal::Redirect),
        ("http:b.example.com", Refusal::Redirect),
    ] {
        let (ended, received) = led(302, place).await;
        assert_eq!(refusal(ended), expected, "{place}");
        assert!(received.is_empty(), "{place}");
    }
}

#[tokio::test]
async fn listed_is_not_open() {
    // On the list, and still inside: the second hop's address is judged like any other.
    let upstream = Upstream::start(&redirect(302, "http://inside.example.com/"), Then::Close).await;
    let port = upstream.port;
    let list = Allowlist::read(&[
        format!("a.example.com:{port}"),
        "inside.example.com".to_owned(),
    ]);
    let fetch = Fetch {
        target: Target::parse(&format!("http://a.example.com:{port}/")).unwrap(),
        headers: Headers::new(),
        allowlist: &list.unwrap(),
        allowance: &opened(port),
        watch: &Unwatched,
        max_bytes: MOST,
    };
    for inside in ["10.0.0.1", "169.254.169.254", "127.0.0.1", "fd00::1"] {
        let resolver = Answers::new(&[&["127.0.0.1"], &[inside]]);
        let client = client(&resolver, &Arc::new(TcpDial));
        let ended = client
            .fetch(&fetch, Instant::now() + Duration::from_secs(5))
            .await;
        assert!(matches!(refusal(ended), Refusal::Address(_)), "{inside}");
    }
}

#[test]
fn https_never_leads_to_http() {
    let from = Target::parse("https://a.example.com/").unwrap();
    let next = from.redirected("http://a.example.com/").unwrap();
    assert!(from.is_https() && !next.is_https());
    assert_eq!(
        crate::fetch::next(&from, b"http://a.example.com/"),
        Err(Refusal::Downgrade)
    );
    assert!(
        crate::fetch::next(&from, b"//b.example.com/")
            .unwrap()
            .is_https()
    );
    assert_eq!(crate::fetch::next(&from, b"/\xff"), Err(Refusal::Redirect));
}

/// Blocks a host and an address, and writes down what it was asked.
#[derive(Debug, Default)]
struct Blocking {
    host: &'static str,
    address: Option<IpAddr>,
    asked: Mutex<Vec<(String, usize)>>,
}

impl Watch for Blocking {
    fn admits(&self, target: &Target, addresses: &[IpAddr]) -> bool {
        let question = (target.host(), addresses.len());
        self.asked.lock().unwrap().push(question);
        target.host() != self.host && self.address.is_none_or(|one| !addresses.contains(&one))
    }
}

#[tokio::test]
async fn blocks_are_asked_for_at_each_hop_before_and_after_the_name_is_resolved() {
    let upstream = Upstream::start_each(&[redirect(302, "/next"), page()]).await;
    let watch = Blocking::default();
    fetch(&upstream, "/", &watch).await.unwrap();
    let host = || "a.example.com".to_owned();
    let asked = watch.asked.lock().unwrap().clone();
    assert_eq!(asked, [(host(), 0), (host(), 1), (host(), 0), (host(), 1)]);
}

#[tokio::test]
async fn a_blocked_host_or_address_is_not_dialled() {
    for watch in [
        Blocking {
            host: "a.example.com",
            ..Blocking::default()
        },
        Blocking {
            address: Some([127, 0, 0, 1].into()),
            ..Blocking::default()
        },
    ] {
        let upstream = Upstream::start(&page(), Then::Close).await;
        let ended = fetch(&upstream, "/", &watch).await;
        assert_eq!(refusal(ended), Refusal::Blocked);
        assert!(upstream.received().is_empty());
    }
}

#[tokio::test]
async fn all_hops_share_one_deadline() {
    let upstream =
        Upstream::start(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx", Then::Hang).await;
    let port = upstream.port;
    let list = Allowlist::read(&[format!("a.example.com:{port}")]).unwrap();
    let fetch = Fetch {
        target: Target::parse(&format!("http://a.example.com:{port}/")).unwrap(),
        headers: Headers::new(),
        allowlist: &list,
        allowance: &opened(port),
        watch: &Unwatched,
        max_bytes: MOST,
    };
    let client = client(&Answers::new(&[&["127.0.0.1"]]), &Arc::new(TcpDial));
    let ended = client
        .fetch(&fetch, Instant::now() + Duration::from_millis(100))
        .await;
    assert!(matches!(ended.unwrap_err().error, EgressError::Deadline));
}
