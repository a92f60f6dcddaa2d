//! One message to the endpoint, and what comes back for the host: answers as they are, or an error in
//! words. It repeats only what cannot act twice, and it always ends.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use http::StatusCode;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::Response;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use sse_stream::SseStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::message::Message;
use crate::cli::access::Access;
use crate::cli::error::CliError;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The most that an answer may hold. The platform's own stay far below it.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Why the host gets an error of the bridge's own.
#[derive(Debug)]
pub(super) struct Trouble {
    /// In words, with a remedy.
    pub(super) message: String,
    /// What the platform said (RFC 9457), where it said it so.
    pub(super) data: Option<Value>,
}

impl From<String> for Trouble {
    fn from(message: String) -> Self {
        Self {
            message,
            data: None,
        }
    }
}

/// How one sending ended, where it did not end well.
enum Sent {
    /// Nobody was there: nothing was sent.
    Unreached(reqwest::Error),
    /// It was sent, and then the connection broke.
    Broken(reqwest::Error),
}

/// The endpoint, as one host uses it.
#[derive(Debug)]
pub(super) struct Upstream<'a> {
    http: reqwest::Client,
    access: Access<'a>,
    lines: mpsc::Sender<Vec<u8>>,
    patience: Duration,
}

/// An answer of `initialize`, as far as it matters to the calls that follow.
#[derive(Deserialize)]
struct Initialized {
    result: Negotiated,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Negotiated {
    protocol_version: String,
}

impl<'a> Upstream<'a> {
    /// Writes what comes back to `lines`, a message each.
    pub(super) const fn new(
        http: reqwest::Client,
        access: Access<'a>,
        lines: mpsc::Sender<Vec<u8>>,
    ) -> Self {
        Self {
            http,
            access,
            lines,
            patience: Duration::ZERO,
        }
    }

    /// Waits so long for a server that cannot be reached.
    pub(super) const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sends a message and passes on what answers it. Tells the revision that an `initialize` settled.
    pub(super) async fn pass(&self, message: &Message, revision: Option<&str>) -> Option<String> {
        match self.exchange(message, revision).await {
            Ok(settled) => settled,
            Err(Trouble {
                message: text,
                data,
            }) => {
                let failure = message.failure(&text, data);
                self.write(failure.unwrap_or_default().into_bytes()).await;
                None
            }
        }
    }

    /// Gives the host a line.
    pub(super) async fn write(&self, line: Vec<u8>) {
        if !line.is_empty() {
            // A host that reads no more has gone: the bridge ends with its input.
            let _gone = self.lines.send(line).await;
        }
    }

    async fn exchange(
        &self,
        message: &Message,
        revision: Option<&str>,
    ) -> Result<Option<String>, Trouble> {
        let deadline = Instant::now() + self.patience;
        let mut token = self.token(deadline).await?;
        let mut response = self.send(message, revision, &token, deadline).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            // It ended on the way, or its key is no longer in use. Nothing was done for it: ask once more.
            token = self.access.instead_of(&token).await.map_err(told)?;
            response = self.send(message, revision, &token, deadline).await?;
        }
        self.answer(message, response).await
    }

    /// A token, as soon as somebody gives one.
    async fn token(&self, deadline: Instant) -> Result<Arc<SecretString>, Trouble> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.access.token().await {
                Ok(token) => return Ok(token),
                Err(CliError::Unreachable { .. }) if Instant::now() + pause < deadline => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return Err(told(error)),
            }
        }
    }

    async fn send(
        &self,
        message: &Message,
        revision: Option<&str>,
        token: &SecretString,
        deadline: Instant,
    ) -> Result<Response, Trouble> {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.send_once(message, revision, token).await? {
                Ok(response) => return Ok(response),
                Err(Sent::Broken(_)) if !message.repeats_safely() => {
                    return Err(Trouble::from(
                        "the connection broke before the answer, so it is not known whether the call \
                         was executed: look before you repeat it, and give a call that changes \
                         something an idempotency key (argument `idemKey`), with which it repeats safely"
                            .to_owned(),
                    ));
                }
                Err(Sent::Unreached(error) | Sent::Broken(error)) => error,
            };
            if Instant::now() + pause >= deadline {
                return Err(told(crate::cli::client::unreachable_server(
                    self.access.endpoint(),
                    error,
                )));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn send_once(
        &self,
        message: &Message,
        revision: Option<&str>,
        token: &SecretString,
    ) -> Result<Result<Response, Sent>, Trouble> {
        let bearer = zeroize::Zeroizing::new(format!("Bearer {}", token.expose_secret()));
        let Ok(mut bearer) = HeaderValue::from_str(&bearer) else {
            return Err(Trouble::from(
                "the token endpoint gave no token that a header can hold".to_owned(),
            ));
        };
        bearer.set_sensitive(true);
        let mut request = self
            .http
            .post(self.access.endpoint().clone())
            .header(AUTHORIZATION, bearer)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .body(message.line.clone());
        if let Some(own) = message.revision() {
            // This revision says in headers what its body says, so that proxies need not read it.
            request = request.header("MCP-Protocol-Version", own);
            request = request.header("Mcp-Method", message.method.as_str());
            if let Some(name) = message.name() {
                request = request.header("Mcp-Name", name);
            }
        } else if let Some(revision) = revision {
            request = request.header("MCP-Protocol-Version", revision);
        }
        Ok(request.send().await.map_err(|error| {
            if error.is_connect() {
                Sent::Unreached(error)
            } else {
                Sent::Broken(error)
            }
        }))
    }

    async fn answer(
        &self,
        message: &Message,
        response: Response,
    ) -> Result<Option<String>, Trouble> {
        let status = response.status();
        if message.id.is_none() {
            // Nothing answers a notification.
            return Ok(None);
        }
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if status.is_success() && kind.starts_with("text/event-stream") {
            return self.events(message, response).await;
        }
        let body = whole(response).await?;
        let ours = answers(&body, message);
        if ours {
            let settled = settled(message, &body);
            self.write(one_line(body)).await;
            return Ok(settled);
        }
        Err(refusal(status, &body))
    }

    /// Passes on each message of a stream until the one that answers.
    async fn events(
        &self,
        message: &Message,
        response: Response,
    ) -> Result<Option<String>, Trouble> {
        let chunks = stream::unfold(response, |mut response| async {
            response
                .chunk()
                .await
                .transpose()
                .map(|chunk| (chunk, response))
        });
        let mut events = std::pin::pin!(SseStream::from_bytes_stream(chunks));
        while let Some(Ok(event)) = events.next().await {
            let Some(data) = event.data.map(String::into_bytes) else {
                continue;
            };
            let last = answers(&data, message);
            let settled = settled(message, &data);
            self.write(one_line(data)).await;
            if last {
                return Ok(settled);
            }
        }
        Err(Trouble::from(
            "the stream ended before the answer: repeat the request".to_owned(),
        ))
    }
}

/// The whole body, as far as an answer may go.
async fn whole(mut response: Response) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len().saturating_add(chunk.len()) <= MAX_ANSWER_BYTES => {
                body.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => {
                return Err(Trouble::from(format!(
                    "the answer is longer than {MAX_ANSWER_BYTES} bytes: ask for less"
                )));
            }
            Ok(None) => return Ok(body),
            Err(_) => {
                return Err(Trouble::from(
                    "the connection broke in the middle of the answer, so it is not known what came \
                     of the call: look before you repeat it, or repeat it with the same idempotency key"
                        .to_owned(),
                ));
            }
        }
    }
}

/// Whether a message answers the request.
fn answers(body: &[u8], message: &Message) -> bool {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        id: Option<&'a serde_json::value::RawValue>,
        #[serde(borrow)]
        method: Option<&'a serde_json::value::RawValue>,
    }
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(body) else {
        return false;
    };
    answer.method.is_none()
        && answer.id.map(serde_json::value::RawValue::get) == message.id_as_json()
}

fn settled(message: &Message, body: &[u8]) -> Option<String> {
    if message.method != "initialize" {
        return None;
    }
    let answer: Initialized = serde_json::from_slice(body).ok()?;
    Some(answer.result.protocol_version)
}

/// A message in one line. Within JSON a line's end is only ever white space.
fn one_line(mut body: Vec<u8>) -> Vec<u8> {
    for byte in &mut body {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    body
}

/// What a body that answers nobody says, in words.
fn refusal(status: StatusCode, body: &[u8]) -> Trouble {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let word = |pointer: &str| said.pointer(pointer).and_then(Value::as_str);
    let words = word("/error/message")
        .or_else(|| word("/detail"))
        .or_else(|| word("/error_description"))
        .or_else(|| word("/title"))
        .unwrap_or("it says no more");
    let remedy = word("/remedy").map(|remedy| format!(" {remedy}"));
    let problem = said.get("type").is_some().then(|| said.clone());
    Trouble {
        message: format!(
            "the gate answered {status}: {words}{}",
            remedy.unwrap_or_default()
        ),
        data: problem.or_else(|| said.pointer("/error/data").cloned()),
    }
}

fn told(error: CliError) -> Trouble {
    Trouble::from(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_the_platform_said() {
        let problem = br#"{"type":"/problems/principal-suspended","title":"t","detail":"It is suspended.","remedy":"Ask."}"#;
        let trouble = refusal(StatusCode::FORBIDDEN, problem);
        assert!(
            trouble
                .message
                .ends_with("403 Forbidden: It is suspended. Ask."),
            "{}",
            trouble.message
        );
        assert_eq!(trouble.data.unwrap()["title"], "t");
        let foreign = refusal(StatusCode::BAD_GATEWAY, b"<html>").message;
        assert!(foreign.contains("502 Bad Gateway"), "{foreign}");
    }

    #[test]
    fn an_answer_becomes_one_line_and_stays_the_same() {
        let body = b"{\n \"a\":\r\n \"b\\nc\"}".to_vec();
        let before: Value = serde_json::from_slice(&body).unwrap();
        let line = one_line(body);
        assert!(!line.contains(&b'\n'));
        assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), before);
    }
}
