//! `portcullis stdio`: a bridge for hosts that speak MCP over stdio (a JSON-RPC message a line) to a
//! tenant's endpoint. It gets tokens by itself and renews them, so that a host's configuration goes on
//! working. Standard output carries messages alone, and no message carries a credential.

mod message;
mod pipes;
mod upstream;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use portcullis_domain::PrincipalName;
use serde_json::Value;
use tokio::sync::mpsc::{self, Receiver};
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::client;
use super::connection::Connection;
use super::error::CliError;
use super::session::Session;
use crate::platform;
use message::{INVALID_REQUEST, Message, Read, failure};
use pipes::Line;
use upstream::Upstream;

/// How long the endpoint may say nothing. Tools have shorter deadlines of their own.
const SILENCE: Duration = Duration::from_mins(2);
/// How long calls under way are waited for when the host closes its side.
const FAREWELL: Duration = Duration::from_secs(10);
/// Requests that are under way at once. A host that asks for more is told so.
const AT_ONCE: usize = 64;

/// Whom to speak for.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A connection file that `portcullis connect` or `portcullis up` wrote
    #[arg(long, value_name = "FILE", conflicts_with_all = ["tenant", "principal"])]
    connection: Option<PathBuf>,
    /// The tenant's slug, to use credentials of the operator file
    #[arg(long, requires = "principal")]
    tenant: Option<String>,
    /// The principal whose credentials the operator file holds
    #[arg(long, requires = "tenant")]
    principal: Option<PrincipalName>,
    /// How long to wait for a server that cannot be reached before a request is answered with an error
    #[arg(long, value_name = "DURATION", default_value = "20s")]
    patience: humantime::Duration,
}

/// Bridges until standard input ends, or the process is asked to.
///
/// # Errors
/// There are no credentials, or the endpoint would take them in the clear. Whatever happens later is
/// told to the host as a JSON-RPC error.
pub async fn run(arguments: Arguments, session: Session<'_>) -> Result<(), CliError> {
    let connection = connection(&arguments, &session)?;
    let who = connection.credentials()?;
    let ca_file = session.named_ca_file().or(connection.ca_file.clone());
    let tokens = client::http(&connection.url, ca_file.as_deref())?;
    let calls = client::patient_http(&connection.url, ca_file.as_deref(), SILENCE)?;
    let shutdown = platform::shutdown_on_signals().map_err(CliError::Output)?;
    let input = pipes::input().map_err(CliError::Output)?;
    let (lines, written) = pipes::output().map_err(CliError::Output)?;
    let access = Access::new(tokens, connection.url.clone(), who, session.clock());
    let upstream = Upstream::new(calls, access, lines).with_patience(*arguments.patience);
    bridge(&upstream, input, &shutdown).await;
    // The thread that writes ends with its last sender.
    drop(upstream);
    // Of a host that does not read, nothing more can be had.
    let _unread = tokio::time::timeout(Duration::from_secs(2), written).await;
    Ok(())
}

/// Sends requests one after the other as the bridge does, and gives back what a host would be told.
pub(super) async fn ask(
    http: reqwest::Client,
    access: Access<'_>,
    requests: &[Value],
) -> Vec<Value> {
    let (lines, mut told) = mpsc::channel(AT_ONCE);
    let asking = async move {
        let upstream = Upstream::new(http, access, lines);
        let mut revision: Option<String> = None;
        for request in requests {
            if let Read::Message(message) = message::read(request.to_string().into_bytes()) {
                let settled = upstream.pass(&message, revision.as_deref()).await;
                revision = settled.or(revision);
            }
        }
    };
    let hearing = async {
        let mut heard = Vec::new();
        while let Some(line) = told.recv().await {
            heard.extend(serde_json::from_slice::<Value>(&line));
        }
        heard
    };
    tokio::join!(asking, hearing).1
}

fn connection(arguments: &Arguments, session: &Session<'_>) -> Result<Connection, CliError> {
    if let Some(path) = &arguments.connection {
        return Ok(Connection::load(path)?);
    }
    let (Some(tenant), Some(principal)) = (&arguments.tenant, &arguments.principal) else {
        return Err(CliError::Usage(
            "name a connection file with --connection, or --tenant and --principal".to_owned(),
        ));
    };
    session.connection(tenant, principal)
}

/// What a bridge knows while it runs.
struct Bridge<'a> {
    upstream: &'a Upstream<'a>,
    running: FuturesUnordered<BoxFuture<'a, Passed>>,
    /// What the host may still take back, by the request's id as JSON.
    under_way: HashMap<String, CancellationToken>,
    /// What an `initialize` settled; the newer revisions say it in each message.
    revision: Option<String>,
}

/// A message that needs nothing more.
struct Passed {
    /// The request's id as JSON.
    id: Option<String>,
    /// The revision that it settled.
    settled: Option<String>,
}

async fn bridge(upstream: &Upstream<'_>, mut input: Receiver<Line>, shutdown: &CancellationToken) {
    let mut bridge = Bridge {
        upstream,
        running: FuturesUnordered::new(),
        under_way: HashMap::new(),
        revision: None,
    };
    loop {
        tokio::select! {
            // What has ended comes first: what it settled holds for what the host says next.
            biased;
            () = shutdown.cancelled() => return,
            Some(passed) = bridge.running.next() => bridge.ended(passed),
            line = input.recv() => match line {
                Some(line) => bridge.take(line).await,
                None => break,
            },
        }
    }
    let farewell = async { while bridge.running.next().await.is_some() {} };
    tokio::select! {
        () = farewell => {}
        () = tokio::time::sleep(FAREWELL) => {}
        () = shutdown.cancelled() => {}
    }
}

impl Bridge<'_> {
    fn ended(&mut self, passed: Passed) {
        if let Some(id) = passed.id {
            self.under_way.remove(&id);
        }
        self.revision = passed.settled.or(self.revision.take());
    }

    /// Takes a line of the host's: sends it on, or answers it where it cannot be.
    async fn take(&mut self, line: Line) {
        let read = match line {
            Line::Whole(line) => message::read(line),
            Line::TooLong => {
                let words = "the message is longer than the gate takes (1 MiB)";
                Read::Wrong(failure(None, INVALID_REQUEST, words, None))
            }
        };
        match read {
            Read::Message(message) => self.forward(message).await,
            // The platform asks hosts nothing.
            Read::Answer => {}
            Read::Wrong(answer) => self.upstream.write(answer.into_bytes()).await,
        }
    }

    async fn forward(&mut self, message: Message) {
        let cancelled = message.cancels().and_then(|id| self.under_way.remove(&id));
        if let Some(cancelled) = cancelled {
            cancelled.cancel();
            return;
        }
        if let Some(words) = self.refuses(&message) {
            let told = message.failure(words, None).unwrap_or_default();
            self.upstream.write(told.into_bytes()).await;
            return;
        }
        let cancel = CancellationToken::new();
        if let Some(id) = message.id_as_json() {
            self.under_way.insert(id.to_owned(), cancel.clone());
        }
        let revision = self.revision.clone();
        self.running
            .push(pass(self.upstream, message, revision, cancel).boxed());
    }

    /// Why a message is not sent on.
    fn refuses(&self, message: &Message) -> Option<&'static str> {
        let id = message.id_as_json();
        if id.is_some_and(|id| self.under_way.contains_key(id)) {
            return Some("a request with this id is under way: give each request an id of its own");
        }
        (self.running.len() >= AT_ONCE)
            .then_some("64 requests are under way: wait until one of them is answered")
    }
}

/// Sends one message. A request that the host takes back is broken off, which cancels it at the
/// endpoint, and is not answered.
async fn pass(
    upstream: &Upstream<'_>,
    message: Message,
    revision: Option<String>,
    cancel: CancellationToken,
) -> Passed {
    let settled = tokio::select! {
        settled = upstream.pass(&message, revision.as_deref()) => settled,
        () = cancel.cancelled() => None,
    };
    let id = message.id_as_json().map(str::to_owned);
    Passed { id, settled }
}
