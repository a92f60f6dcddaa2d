//! What the server bounds and what no answer lacks, over real sockets.

mod https;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::extract::rejection::StringRejection;
use axum::routing::{get, post};
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::edge::StrictTransport;
use super::http::{Bounds, Door, Peers};
use super::{edge, http};
use crate::config::{self, Environment};

struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    served: JoinHandle<()>,
    begun: Arc<Notify>,
    finish: Arc<Notify>,
    /// Cancelled when the large answer is let go of.
    let_go: CancellationToken,
}

const PATIENT: Bounds = Bounds {
    connections: 64,
    head_timeout: Duration::from_secs(30),
    head_bytes: 16_384,
    write_timeout: Duration::from_secs(30),
    lame_duck: Duration::ZERO,
    drain: Duration::from_secs(30),
};

async fn start(bounds: Bounds) -> Running {
    let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (begun, finish) = (Arc::clone(&begun), Arc::clone(&finish));
        move || async move {
            begun.notify_one();
            finish.notified().await;
            "done"
        }
    };
    let let_go = CancellationToken::new();
    let large = {
        let let_go = let_go.clone();
        move || async move { large_body(let_go.drop_guard()) }
    };
    let router = Router::new()
        .route("/ok", get(|| async { "ok" }))
        .route(
            "/peer",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }),
        )
        .route("/slow", get(slow))
        .route("/large", get(large))
        .route("/panic", get(panics));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let router = edge::around(router, StrictTransport::Never);
    let doors = vec![Door {
        listener,
        tls: None,
    }];
    let serving = http::serve(doors, router, bounds, Vec::new(), shutdown.clone());
    Running {
        address,
        shutdown,
        served: TaskTracker::new().spawn(serving),
        begun,
        finish,
        let_go,
    }
}

/// More pieces than systems keep for a connection, as large as those of a call's answer.
const PIECES: usize = 1_024;
const PIECE: &[u8] = &[b'.'; 65_536];

fn large_body(held: DropGuard) -> Body {
    let pieces = stream::unfold((held, PIECES), |(held, left)| async move {
        let next = left.checked_sub(1)?;
        Some((Ok::<_, Infallible>(PIECE), (held, next)))
    });
    Body::from_stream(pieces)
}

async fn panics() -> &'static str {
    panic!("hunter2 is the password")
}

async fn send(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn read(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    String::from_utf8_lossy(&text).to_lowercase()
}

async fn ask(address: SocketAddr, line: &str, headers: &str) -> String {
    let request = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    read(send(address, &request).await).await
}

#[tokio::test]
async fn every_answer_has_the_common_headers() {
    let running = start(PATIENT).await;
    for (line, status) in [
        ("GET /ok", "200"),
        ("GET /nowhere", "404"),
        ("DELETE /ok", "405"),
        ("GET /panic", "500"),
    ] {
        let answer = ask(running.address, line, "").await;
        assert!(
            answer.starts_with(&format!("http/1.1 {status}")),
            "{answer}"
        );
        for header in [
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
        ] {
            assert!(answer.contains(header), "{line}: {answer}");
        }
        // Over plain HTTP it means nothing (RFC 6797 §7.2).
        assert!(!answer.contains("strict-transport-security"), "{answer}");
    }
}

#[tokio::test]
async fn a_panic_tells_its_trace_alone_and_the_server_lives_on() {
    let running = start(PATIENT).await;
    let parent = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    let answer = ask(running.address, "GET /panic", parent).await;
    assert!(
        answer.contains("\"type\":\"/problems/internal\""),
        "{answer}"
    );
    assert!(
        answer.contains("4bf92f3577b34da6a3ce929d0e0e4736"),
        "{answer}"
    );
    assert!(!answer.contains("hunter2"), "{answer}");
    let answer = ask(running.address, "GET /panic", "").await;
    assert!(answer.contains("\"trace_id\":\""), "{answer}");
    let answer = ask(running.address, "GET /ok", "").await;
    assert!(answer.ends_with("ok"), "{answer}");
}

#[tokio::test]
async fn a_host_that_is_not_served_and_a_foreign_origin_reach_no_guarded_route() {
    let text = include_str!("../../tests/production.toml")
        .replace("profile = \"production\"", "profile = \"local\"")
        .replace(
            "[control]",
            "allowed_origins = [\"https://app.example.com\"]\n[control]",
        );
    let config = config::parse(&text, &Environment::default()).unwrap();
    let inner = Router::new().route("/ok", get(|| async { "ok" }));
    let router = edge::around(
        edge::guarded(inner, &config.server),
        StrictTransport::Always,
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let doors = vec![Door {
        listener,
        tls: None,
    }];
    let serving = http::serve(doors, router, PATIENT, Vec::new(), stop);
    TaskTracker::new().spawn(serving);
    for (headers, passes) in [
        ("host: gate.example.com\r\n", true),
        ("host: GATE.example.com\r\n", true),
        (
            "host: gate.example.com\r\norigin: https://app.example.com\r\n",
            true,
        ),
        ("host: gate.example.com.evil.example\r\n", false),
        ("host: 127.0.0.1\r\n", false),
        (
            "host: gate.example.com\r\norigin: https://evil.example\r\n",
            false,
        ),
        ("host: gate.example.com\r\norigin: null\r\n", false),
    ] {
        let request = format!("GET /ok HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
        let answer = read(send(address, &request).await).await;
        assert_eq!(answer.ends_with("ok"), passes, "{headers}: {answer}");
        assert!(
            answer.contains("strict-transport-security: max-age="),
            "{answer}"
        );
        assert!(answer.contains("cache-control: no-store"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let text = include_str!("../../tests/production.toml")
        .replace("profile = \"production\"", "profile = \"local\"")
        .replace("[control]", "body_timeout_seconds = 1\n[control]");
    let config = config::parse(&text, &Environment::default()).unwrap();
    let echo = |body: Result<String, StringRejection>| async move {
        body.unwrap_or_else(|error| format!("unread: {}", error.status()))
    };
    let inner = Router::new().route("/echo", post(echo));
    let router = edge::around(
        edge::guarded(inner, &config.server),
        StrictTransport::Always,
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let doors = vec![Door {
        listener,
        tls: None,
    }];
    let serving = http::serve(doors, router, PATIENT, Vec::new(), stop);
    TaskTracker::new().spawn(serving);
    let head = "POST /echo HTTP/1.1\r\nhost: gate.example.com\r\nconnection: close\r\n";
    for (body, said) in [
        ("content-length: 4\r\n\r\nbody", "body"),
        ("content-length: 4\r\n\r\nbo", "unread: 400 bad request"),
        (
            "transfer-encoding: chunked\r\n\r\n2\r\nbo\r\n",
            "unread: 400 bad request",
        ),
    ] {
        let answer = read(send(address, &format!("{head}{body}")).await).await;
        assert!(answer.ends_with(said), "{answer}");
    }
}

#[test]
fn one_peer_does_not_take_every_place() {
    let peers = Arc::new(Peers::new(1_600, vec!["198.51.100.0/24".parse().unwrap()]));
    let enter = |text: &str| peers.enter(text.parse().unwrap());
    for (peer, same, other, share) in [
        ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", 100),
        ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", 100),
        ("127.0.0.1", "127.0.0.1", "127.0.0.2", 800),
        ("198.51.100.7", "198.51.100.7", "198.51.100.8", 800),
    ] {
        let held: Vec<_> = (0..share).map(|_| enter(peer).unwrap()).collect();
        assert!(enter(same).is_none(), "{peer}");
        assert!(enter(other).is_some(), "{peer}");
        drop(held);
        assert!(enter(same).is_some(), "{peer}");
    }
}

#[tokio::test]
async fn handlers_learn_who_calls() {
    let running = start(PATIENT).await;
    let request = "GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let stream = send(running.address, request).await;
    let own = stream.local_addr().unwrap().to_string();
    assert!(read(stream).await.ends_with(&own));
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let bounds = Bounds {
        head_timeout: Duration::from_millis(100),
        ..PATIENT
    };
    let running = start(bounds).await;
    for part in ["", "P", "GET /ok HTTP/1.1\r\nhost: x\r\n"] {
        let answer = read(send(running.address, part).await).await;
        assert!(!answer.contains("200 ok"), "{answer}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let running = start(PATIENT).await;
    let header = format!("x-long: {}\r\n", "a".repeat(32_768));
    let answer = ask(running.address, "GET /ok", &header).await;
    assert!(answer.starts_with("http/1.1 431"), "{answer}");
    let many = "x-many: a\r\n".repeat(200);
    let answer = ask(running.address, "GET /ok", &many).await;
    assert!(answer.starts_with("http/1.1 431"), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_bound_wait() {
    let bounds = Bounds {
        connections: 1,
        ..PATIENT
    };
    let running = start(bounds).await;
    let request = "GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let first = send(running.address, request).await;
    running.begun.notified().await;
    let mut second = send(
        running.address,
        "GET /ok HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    .await;
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(100), second.read(&mut byte)).await;
    assert!(early.is_err(), "the second was served beside the first");
    running.finish.notify_one();
    assert!(read(first).await.ends_with("done"));
    assert!(read(second).await.ends_with("ok"));
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up_with_its_place_and_slots() {
    let bounds = Bounds {
        connections: 1,
        write_timeout: Duration::from_secs(1),
        ..PATIENT
    };
    let running = start(bounds).await;
    let request = "GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut unread = send(running.address, request).await;
    // It has begun to come, and is not read any further.
    unread.read_exact(&mut [0; 8]).await.unwrap();
    let patience = Duration::from_secs(30);
    let given_up = tokio::time::timeout(patience, running.let_go.cancelled()).await;
    assert!(given_up.is_ok(), "the answer holds its slots for ever");
    let next = tokio::time::timeout(patience, ask(running.address, "GET /ok", "")).await;
    assert!(next.unwrap().ends_with("ok"), "its place is free again");
}

#[tokio::test]
async fn an_answer_that_is_taken_comes_whole_however_large() {
    let bounds = Bounds {
        write_timeout: Duration::from_secs(1),
        ..PATIENT
    };
    let running = start(bounds).await;
    let answer = ask(running.address, "GET /large", "").await;
    let dots = answer.bytes().filter(|byte| *byte == b'.').count();
    assert!(dots >= PIECES * PIECE.len(), "{dots}");
}

#[tokio::test]
async fn a_call_under_way_ends_before_the_server_does() {
    let running = start(PATIENT).await;
    let request = "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";
    let call = send(running.address, request).await;
    running.begun.notified().await;
    running.shutdown.cancel();
    running.finish.notify_one();
    assert!(read(call).await.ends_with("done"));
    running.served.await.unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn for_the_lame_duck_time_it_serves_on_and_asks_to_come_back_elsewhere() {
    let bounds = Bounds {
        lame_duck: Duration::from_mins(1),
        ..PATIENT
    };
    let running = start(bounds).await;
    let mut held = send(running.address, "GET /ok HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut first = [0; 512];
    let read_bytes = held.read(&mut first).await.unwrap();
    let first = String::from_utf8_lossy(&first[..read_bytes]).to_lowercase();
    assert!(!first.contains("connection: close"), "{first}");
    running.shutdown.cancel();
    let request = "GET /ok HTTP/1.1\r\nhost: x\r\n\r\n";
    // A connection that was there before, and one that is made now: each is served once more.
    held.write_all(request.as_bytes()).await.unwrap();
    for stream in [held, send(running.address, request).await] {
        let answer = read(stream).await;
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(answer.ends_with("ok"), "{answer}");
    }
}

#[tokio::test]
async fn who_is_connected_when_the_door_closes_is_still_served() {
    use std::io::Write;
    let running = start(PATIENT).await;
    running.shutdown.cancel();
    // Nothing is awaited in between, so the server finds both at once: the end, and a connection.
    let mut waiting = std::net::TcpStream::connect(running.address).unwrap();
    waiting
        .write_all(b"GET /ok HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    waiting.set_nonblocking(true).unwrap();
    let waiting = TcpStream::from_std(waiting).unwrap();
    assert!(read(waiting).await.ends_with("ok"));
    running.served.await.unwrap();
}

#[tokio::test]
async fn a_call_that_hangs_does_not_keep_the_server() {
    let bounds = Bounds {
        drain: Duration::from_millis(50),
        ..PATIENT
    };
    let running = start(bounds).await;
    let _call = send(running.address, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
    running.begun.notified().await;
    running.shutdown.cancel();
    running.served.await.unwrap();
}
