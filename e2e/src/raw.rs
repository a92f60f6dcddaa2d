//! Bytes over TCP, for requests that no well-behaved client would make.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// What came back over a connection.
#[derive(Debug, Clone)]
pub struct RawReply {
    /// The status of the first answer, or 0 if the connection ended without one.
    pub status: u16,
    /// Everything that came.
    pub text: String,
}

impl RawReply {
    /// The values of a header of the first answer.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        head.lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }
}

/// Sends bytes and reads until the server closes. The request should say `Connection: close`.
///
/// # Errors
/// The connection cannot be made, or the server keeps it open.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Result<RawReply> {
    let mut stream = TcpStream::connect(address).await.context("connect")?;
    // A server that has seen enough may answer and close before everything is written.
    let _refused_early = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let _reset_after_answer = read.context("the server keeps the connection open")?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0);
    Ok(RawReply { status, text })
}

/// A POST with a JSON body that asks the server to close afterwards.
pub fn post(path: &str, host: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        for part in [name, ": ", value, "\r\n"] {
            text.push_str(part);
        }
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}
