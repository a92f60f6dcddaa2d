//! The edge of the running program over raw sockets: what is too large, too much or too slow is cut, and
//! everybody else is served meanwhile.

mod asking;
mod slow;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use portcullis_e2e::raw::{self, RawReply};
use portcullis_e2e::{Options, Platform};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(30);

async fn get(address: SocketAddr, path: &str, headers: &str) -> RawReply {
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n");
    raw::exchange(address, request.as_bytes()).await.unwrap()
}

/// A connection from an address of this machine.
async fn connect_from(source: [u8; 4], to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::from(source), 0))?;
    socket.connect(to).await
}

/// Reads until the server ends the connection.
async fn until_ended(stream: &mut TcpStream) -> String {
    let mut told = Vec::new();
    // A reset is an end as well.
    let _ended = timeout(SOON, stream.read_to_end(&mut told)).await.unwrap();
    String::from_utf8_lossy(&told).into_owned()
}

#[tokio::test]
async fn heads_that_are_too_large_in_any_way_are_refused() {
    let platform = Platform::shared().unwrap();
    let address = platform.address().unwrap();
    let (long, many) = ("a".repeat(100_000), "x-many: a\r\n".repeat(120));
    let large = get(address, "/readyz", &format!("x-large: {long}\r\n")).await;
    assert_eq!(large.status, 431, "{}", large.text);
    let several = get(address, "/readyz", &many).await;
    assert_eq!(several.status, 431, "{}", several.text);
    for path in [
        "/readyz",
        "/t/acme/mcp",
        "/oauth/token",
        "/api/v1/tenants",
        "/nowhere",
    ] {
        let path = format!("{path}?filter={}", "a".repeat(4_096));
        let reply = get(address, &path, "").await;
        assert_eq!(reply.status, 414, "{}", reply.text);
        assert_eq!(reply.headers("content-type"), ["application/problem+json"]);
        assert_eq!(reply.headers("cache-control"), ["no-store"]);
        assert!(
            reply.text.contains("/problems/uri-too-long"),
            "{}",
            reply.text
        );
        assert!(
            !reply.text.contains("aaaa"),
            "it is not repeated: {}",
            reply.text
        );
    }
    let fits = get(address, &format!("/readyz?{}", "a".repeat(4_000)), "").await;
    assert_eq!(fits.status, 200, "{}", fits.text);
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused_at_every_door() {
    let platform = Platform::shared().unwrap();
    let address = platform.address().unwrap();
    let client = platform.caller("acme").await.unwrap();
    let owner = platform.operator().owner_token("acme").unwrap();
    let (caller, owner) = (
        format!("Bearer {}", client.token()),
        format!("Bearer {owner}"),
    );
    for (path, bearer, kind, bytes) in [
        ("/t/acme/mcp", caller.as_str(), "application/json", 1 << 20),
        (
            "/t/acme/tools/orders.get",
            &caller,
            "application/json",
            1 << 20,
        ),
        (
            "/oauth/token",
            "Basic eDp5",
            "application/x-www-form-urlencoded",
            8 << 10,
        ),
        (
            "/api/v1/tenants/acme/principals",
            &owner,
            "application/json",
            512 << 10,
        ),
    ] {
        let headers = [("authorization", bearer), ("content-type", kind)];
        // A body that is announced, and one whose length nobody knows before its end.
        let body = "a".repeat(bytes + 1);
        let whole = raw::post(path, &address.to_string(), &headers, &body);
        let chunked = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: \
             {bearer}\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n\
             0\r\n\r\n",
            body.len()
        );
        for request in [whole, chunked.into_bytes()] {
            let reply = raw::exchange(address, &request).await.unwrap();
            assert_eq!(reply.status, 413, "{path}: {}", reply.text);
        }
    }
}

#[tokio::test]
async fn http_2_is_not_spoken_by_whoever_knows_it_beforehand() {
    let platform = Platform::shared().unwrap();
    let mut stream = TcpStream::connect(platform.address().unwrap())
        .await
        .unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(preface).await.unwrap();
    let told = until_ended(&mut stream).await;
    // A server that speaks it begins with a SETTINGS frame, which is no text.
    assert!(
        told.is_empty() || told.starts_with("HTTP/1.1 4"),
        "{told:?}"
    );
}

#[tokio::test]
async fn one_peer_does_not_take_every_connection() {
    let options = Options::default().with("PORTCULLIS_SERVER_MAX_CONNECTIONS", "256");
    let platform = Platform::start_with(options).await.unwrap();
    let address = platform.address().unwrap();
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(connect_from([127, 0, 0, 91], address).await.unwrap());
    }
    // Beyond its half, a connection of this machine's is closed at once; those before stay.
    let mut beyond = held.pop().unwrap();
    assert_eq!(until_ended(&mut beyond).await, "");
    let first = &mut held[0];
    let request = format!("GET /livez HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    first.write_all(request.as_bytes()).await.unwrap();
    assert!(until_ended(first).await.starts_with("HTTP/1.1 200"));
    let client = platform.caller("acme").await.unwrap();
    let listed = client
        .send("tools/list", Value::Object(<_>::default()))
        .await
        .unwrap();
    assert_eq!(listed.status, 200, "{}", listed.told());
}
