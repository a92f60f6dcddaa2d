//! Clients that take their time: with a head, a body, a handshake, an answer, or with nothing at all.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use portcullis_e2e::{McpClient, Options, Platform, raw};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{SOON, tls, until_ended};
use crate::answers::assert_result;

/// How long a slow client waits between two bytes.
const BETWEEN: Duration = Duration::from_millis(150);
/// Slow clients of each kind.
const SLOW: usize = 24;

fn hasty() -> Options {
    Options::default()
        .with("PORTCULLIS_SERVER_HEAD_TIMEOUT_SECONDS", "2")
        .with("PORTCULLIS_SERVER_BODY_TIMEOUT_SECONDS", "2")
        .with("PORTCULLIS_SERVER_WRITE_TIMEOUT_SECONDS", "2")
}

/// Sends the beginning at once and then a byte now and then, until the server has enough. Gives back
/// what it said.
async fn drip(address: SocketAddr, begin: Vec<u8>, byte: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&begin).await.unwrap();
    let deadline = Instant::now() + SOON;
    loop {
        assert!(Instant::now() < deadline, "it is never cut off");
        tokio::time::sleep(BETWEEN).await;
        let ended = stream.write_all(byte).await.is_err();
        let mut peeked = [0];
        let said = tokio::time::timeout(Duration::from_millis(1), stream.peek(&mut peeked)).await;
        if ended || said.is_ok() {
            return until_ended(&mut stream).await;
        }
    }
}

/// Calls all the while, and expects every one to be answered.
async fn served_meanwhile(client: &McpClient, slow: &mut JoinSet<String>) -> Vec<String> {
    let mut told = Vec::new();
    let mut calls = 0;
    while !slow.is_empty() {
        let order = json!({"orderId": "none"});
        assert_result(&client.call("orders.get", order).await.unwrap());
        calls += 1;
        while let Some(ended) = slow.try_join_next() {
            told.push(ended.unwrap());
        }
    }
    assert!(calls >= 5, "{calls} calls were answered meanwhile");
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_comes_byte_by_byte_is_cut_off_and_delays_nobody() {
    let platform = Platform::start_with(hasty()).await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    let address = platform.address().unwrap();
    let mut slow = JoinSet::new();
    for _ in 0..SLOW {
        let begin = format!("POST /t/acme/mcp HTTP/1.1\r\nhost: {address}\r\nx-slow: ");
        slow.spawn(drip(address, begin.into_bytes(), b"a"));
    }
    for told in served_meanwhile(&client, &mut slow).await {
        assert!(!told.contains(" 200 "), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_comes_byte_by_byte_is_cut_off_at_every_door_and_delays_nobody() {
    let platform = Platform::start_with(hasty()).await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    let owner = platform.operator().owner_token("acme").unwrap();
    let address = platform.address().unwrap();
    let caller = format!("Bearer {}", client.token());
    let owner = format!("Bearer {owner}");
    let mut slow = JoinSet::new();
    for number in 0..SLOW {
        let (path, bearer, kind) = [
            ("/t/acme/mcp", caller.as_str(), "application/json"),
            ("/t/acme/tools/orders.get", &caller, "application/json"),
            (
                "/oauth/token",
                "Basic eDp5",
                "application/x-www-form-urlencoded",
            ),
            (
                "/api/v1/tenants/acme/principals",
                &owner,
                "application/json",
            ),
        ][number % 4];
        let headers = [("authorization", bearer), ("content-type", kind)];
        let host = address.to_string();
        let whole = raw::post(path, &host, &headers, &" ".repeat(4_000));
        let begin = whole[..whole.len() - 3_900].to_vec();
        slow.spawn(drip(address, begin, b" "));
    }
    for told in served_meanwhile(&client, &mut slow).await {
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 4"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_comes_byte_by_byte_is_cut_off_and_delays_nobody() {
    let platform = Platform::start_with(hasty()).await.unwrap();
    let https = tls::https(&platform);
    let mut slow = JoinSet::new();
    for number in 0..SLOW {
        // Half of them say nothing at all.
        if number % 2 == 0 {
            slow.spawn(async move {
                let mut stream = TcpStream::connect(https).await.unwrap();
                until_ended(&mut stream).await
            });
        } else {
            // A record of 16,000 bytes, as far as its first five say.
            slow.spawn(drip(https, vec![22, 3, 1, 62, 128, 1], &[0]));
        }
    }
    let browser = tls::trusting(&tls::authority(&platform));
    let url = format!("https://{https}/livez");
    let mut asked = 0;
    while !slow.is_empty() {
        let answer = browser.get(&url).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        asked += 1;
        while let Some(ended) = slow.try_join_next() {
            assert!(!ended.unwrap().contains("HTTP"), "an answer without TLS");
        }
    }
    assert!(asked >= 5, "{asked} handshakes were done meanwhile");
}

#[tokio::test]
async fn a_connection_that_rests_is_closed() {
    let platform = Platform::start_with(hasty()).await.unwrap();
    let address = platform.address().unwrap();
    let mut used = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /livez HTTP/1.1\r\nhost: {address}\r\n\r\n");
    used.write_all(request.as_bytes()).await.unwrap();
    let told = until_ended(&mut used).await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    let mut unused = TcpStream::connect(address).await.unwrap();
    let told = until_ended(&mut unused).await;
    assert!(!told.contains(" 200 "), "{told}");
}

#[tokio::test]
async fn answers_that_nobody_reads_are_given_up() {
    let platform = Platform::start_with(hasty()).await.unwrap();
    let address = platform.address().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    // More than the buffers of both sides hold.
    let many = format!("GET /api/v1/openapi.json HTTP/1.1\r\nhost: {address}\r\n\r\n").repeat(400);
    let begun = Instant::now();
    let gone = loop {
        let sent = tokio::time::timeout(SOON, stream.write_all(many.as_bytes())).await;
        match sent {
            Ok(Ok(())) => tokio::time::sleep(BETWEEN).await,
            Ok(Err(gone)) => break gone,
            Err(stuck) => panic!("it is never given up: {stuck}"),
        }
        assert!(begun.elapsed() < SOON * 2, "it is never given up");
    };
    println!("given up after {:?}: {gone}", begun.elapsed());
    let client = platform.caller("acme").await.unwrap();
    let order = json!({"orderId": "none"});
    assert_result(&client.call("orders.get", order).await.unwrap());
}
