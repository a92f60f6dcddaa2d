//! The load: connections that are kept, each sending the same request again as soon as its answer is
//! there. Spelled out over TCP, so that the client costs the machine as little as it can.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What stands in a request for a text that no other request has: replaced in each by as many letters.
pub const FRESH: &str = "########################";
/// What stands in a request for the number of its connection.
pub const CONNECTION: &str = "~~~~";

/// What is sent, where, and how long.
#[derive(Debug, Clone)]
pub struct Load {
    /// The server.
    pub address: SocketAddr,
    /// The whole request.
    pub request: Vec<u8>,
    /// What every answer's body has to contain.
    pub expected: String,
    /// How many connections.
    pub connections: usize,
    /// How long before anything is counted.
    pub warm_up: Duration,
    /// How long is counted.
    pub duration: Duration,
}

/// What was measured.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Answers a second.
    pub rate: f64,
    /// How many answers were counted.
    pub answers: usize,
    /// Answers that were not what was expected.
    pub errors: usize,
    /// The median time of an answer, in milliseconds.
    pub p50_ms: f64,
    /// The time within which 99 of 100 answers came, in milliseconds.
    pub p99_ms: f64,
}

impl Measured {
    /// As JSON, for another program.
    pub fn json(&self) -> Value {
        json!({
            "rate": self.rate, "answers": self.answers, "errors": self.errors,
            "p50_ms": self.p50_ms, "p99_ms": self.p99_ms,
        })
    }
}

impl Load {
    /// Runs the load; `counting` is called when the warm-up is over.
    ///
    /// # Errors
    /// A connection cannot be made or breaks.
    pub async fn run(&self, counting: impl FnOnce() + Send) -> Result<Measured> {
        let begun = Instant::now();
        let (from, until) = (begun + self.warm_up, begun + self.warm_up + self.duration);
        let mut connections = JoinSet::new();
        for number in 0..self.connections {
            let load = self.clone();
            let template = Template::new(load.request.clone(), number);
            connections.spawn(async move { load.one_connection(template, from, until).await });
        }
        tokio::time::sleep_until(from.into()).await;
        counting();
        let (mut times, mut errors) = (Vec::new(), 0);
        while let Some(ended) = connections.join_next().await {
            let (own, wrong) = ended.context("run a connection")??;
            times.extend(own);
            errors += wrong;
        }
        times.sort_unstable();
        let within = |share: usize| {
            let index = times.len().saturating_sub(1) * share / 100;
            times
                .get(index)
                .map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
        };
        let answers = u32::try_from(times.len()).context("count the answers")?;
        Ok(Measured {
            rate: f64::from(answers) / self.duration.as_secs_f64(),
            answers: times.len(),
            errors,
            p50_ms: within(50),
            p99_ms: within(99),
        })
    }

    async fn one_connection(
        &self,
        mut template: Template,
        from: Instant,
        until: Instant,
    ) -> Result<(Vec<Duration>, usize)> {
        let mut stream = TcpStream::connect(self.address).await.context("connect")?;
        stream.set_nodelay(true)?;
        let (mut times, mut errors, mut buffer) = (Vec::new(), 0, Vec::with_capacity(8_192));
        loop {
            let sent = Instant::now();
            if sent >= until {
                return Ok((times, errors));
            }
            stream.write_all(template.next()).await.context("send")?;
            let good = self.one_answer(&mut stream, &mut buffer).await?;
            let done = Instant::now();
            if done >= from && done < until {
                times.push(done - sent);
                errors += usize::from(!good);
            }
        }
    }

    /// Reads one answer; whether it is the one that is expected.
    async fn one_answer(&self, stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<bool> {
        buffer.clear();
        let head = loop {
            let read = stream.read_buf(buffer).await.context("receive")?;
            ensure!(read > 0, "the server closed the connection");
            if let Some(at) = find(buffer, b"\r\n\r\n") {
                break at + 4;
            }
        };
        let text = std::str::from_utf8(buffer.get(..head).unwrap_or_default())?;
        let length = content_length(text).context("find the answer's length")?;
        let good = text.starts_with("HTTP/1.1 200 ");
        while buffer.len() < head + length {
            let read = stream.read_buf(buffer).await.context("receive")?;
            ensure!(read > 0, "the server closed the connection");
        }
        let body = buffer.get(head..).unwrap_or_default();
        Ok(good && find(body, self.expected.as_bytes()).is_some())
    }
}

/// A request that says something else each time where it has to.
#[derive(Debug)]
struct Template {
    bytes: Vec<u8>,
    fresh: Vec<usize>,
    connection: usize,
    sent: u64,
}

impl Template {
    fn new(mut bytes: Vec<u8>, connection: usize) -> Self {
        let number = format!("{connection:04}");
        while let Some(at) = find(&bytes, CONNECTION.as_bytes()) {
            put(&mut bytes, at, &number);
        }
        let mut fresh = Vec::new();
        while let Some(at) = find(&bytes, FRESH.as_bytes()) {
            put(&mut bytes, at, &"-".repeat(FRESH.len()));
            fresh.push(at);
        }
        Self {
            bytes,
            fresh,
            connection,
            sent: 0,
        }
    }

    /// The next request. Another process, connection or request never has the same fresh text.
    fn next(&mut self) -> &[u8] {
        if !self.fresh.is_empty() {
            let text = format!(
                "{:08}{:04}{:012}",
                std::process::id(),
                self.connection,
                self.sent
            );
            for at in &self.fresh {
                put(&mut self.bytes, *at, &text);
            }
            self.sent += 1;
        }
        &self.bytes
    }
}

fn put(bytes: &mut [u8], at: usize, text: &str) {
    for (to, from) in bytes.iter_mut().skip(at).zip(text.bytes()) {
        *to = from;
    }
}

fn find(within: &[u8], what: &[u8]) -> Option<usize> {
    within.windows(what.len()).position(|part| part == what)
}

fn content_length(head: &str) -> Option<usize> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
}

/// A keep-alive POST of a JSON body.
pub fn request(path: &str, host: SocketAddr, headers: &[(&str, &str)], body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let mut text = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        for part in [name, ": ", value, "\r\n"] {
            text.push_str(part);
        }
    }
    text.push_str("\r\n");
    text.push_str(&body);
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Answers each request with the next of these, for ever.
    async fn server(answers: Vec<&'static str>) -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 4_096];
            for body in answers.iter().cycle() {
                if !matches!(stream.read(&mut bytes).await, Ok(1..)) {
                    return;
                }
                let length = body.len();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
        (address, tasks)
    }

    async fn measured(answers: Vec<&'static str>) -> Measured {
        let (address, _tasks) = server(answers).await;
        let load = Load {
            address,
            request: request("/", address, &[], &json!({})),
            expected: "good".to_owned(),
            connections: 1,
            warm_up: Duration::from_millis(20),
            duration: Duration::from_millis(100),
        };
        load.run(|| {}).await.unwrap()
    }

    #[test]
    fn no_two_requests_have_the_same_fresh_text_and_all_else_stays() {
        let body = json!({"key": FRESH, "flag": format!("f-{CONNECTION}"), "again": FRESH});
        let whole = body.to_string();
        let mut seen = std::collections::BTreeSet::new();
        for connection in 0..3 {
            let mut template = Template::new(whole.clone().into_bytes(), connection);
            for _ in 0..3 {
                let sent: Value = serde_json::from_slice(template.next()).unwrap();
                assert_eq!(sent["flag"], format!("f-{connection:04}"));
                assert_eq!(sent["key"], sent["again"]);
                assert!(seen.insert(sent["key"].to_string()), "{sent}");
                assert_eq!(sent.to_string().len(), whole.len());
            }
        }
        let mut plain = Template::new(b"plain".to_vec(), 7);
        assert_eq!(plain.next(), b"plain");
    }

    #[tokio::test]
    async fn good_answers_are_counted_and_no_error_is() {
        let measured = measured(vec!["good"]).await;
        assert!(
            measured.answers > 10 && measured.errors == 0,
            "{measured:?}"
        );
        assert!(
            measured.p50_ms > 0.0 && measured.p50_ms <= measured.p99_ms,
            "{measured:?}"
        );
    }

    #[tokio::test]
    async fn an_answer_with_another_body_is_an_error() {
        let measured = measured(vec!["good", "bad"]).await;
        let half = measured.answers / 2;
        assert!(
            (half - 1..=half + 1).contains(&measured.errors),
            "{measured:?}"
        );
    }
}
