//! A tenant's endpoint as a host uses it: its metadata, a token, and the tools that the token shows.

use std::path::PathBuf;

use portcullis_domain::Clock;
use serde_json::{Value, json};

use super::DEADLINE;
use super::row::Report;
use crate::cli::access::{self, Access, Discovered};
use crate::cli::client;
use crate::cli::connection::Connection;
use crate::cli::credentials::Credentials;
use crate::cli::error::CliError;
use crate::cli::stdio;

/// The revision that is offered: one that every server of this platform knows.
const REVISION: &str = "2025-06-18";

/// Whose connection is checked.
pub(super) struct Whose<'a> {
    /// What it is called here.
    pub(super) name: &'a str,
    /// Where to, and as whom.
    pub(super) connection: &'a Connection,
    /// The authorities that the server's certificate may come from besides the system's.
    pub(super) ca_file: Option<PathBuf>,
    /// Whether a host uses it: it should be good for something then.
    pub(super) in_use: bool,
}

impl Whose<'_> {
    /// How the command line names the principal.
    fn principal(&self) -> String {
        let mut parts = self.connection.url.path_segments().into_iter().flatten();
        let tenant = parts.nth(1).unwrap_or("TENANT");
        format!("--tenant {tenant} {}", self.connection.client_id)
    }
}

/// Checks an endpoint.
pub(super) async fn check(report: &mut Report, whose: &Whose<'_>, clock: &dyn Clock) {
    let Whose {
        name, connection, ..
    } = *whose;
    let asked = client::brief_http(&connection.url, whose.ca_file.as_deref(), DEADLINE);
    let asked = asked.and_then(|http| Ok((http, connection.credentials()?)));
    let (http, who) = match asked {
        Ok(asked) => asked,
        Err(error) => return report.error(("credentials", name), &error),
    };
    let Some(found) = metadata(report, name, connection, &http).await else {
        return report.skipped(("token", name), "its metadata are not usable");
    };
    if !token(report, whose, (&http, &found, &who), clock).await {
        return report.skipped(("tools", name), "there is no token");
    }
    let access = Access::new(http.clone(), connection.url.clone(), who, clock);
    let answers = stdio::ask(http, access, &questions()).await;
    version(report, name, answers.first());
    tools(report, whose, answers.get(1));
}

/// Where tokens come from (RFC 9728, RFC 8414).
async fn metadata(
    report: &mut Report,
    name: &str,
    connection: &Connection,
    http: &reqwest::Client,
) -> Option<Discovered> {
    match access::discover(http, &connection.url).await {
        Ok(found) if found.resource == connection.url.as_str() => {
            report.ok(
                ("metadata", name),
                format!("tokens come from {}", found.issuer),
            );
            Some(found)
        }
        Ok(found) => {
            report.failed(
                ("metadata", name),
                format!("{} calls itself {}", connection.url, found.resource),
                "use that address: write the connection file anew with `portcullis connect`",
            );
            None
        }
        Err(error) => {
            report.error(("metadata", name), &error);
            None
        }
    }
}

/// Asks for a token, and tells what it may be used for, never the token.
async fn token(
    report: &mut Report,
    whose: &Whose<'_>,
    (http, found, who): (&reqwest::Client, &Discovered, &Credentials),
    clock: &dyn Clock,
) -> bool {
    let name = whose.name;
    match access::request(http, found, who, None, clock).await {
        Ok(issued) => {
            let life = issued.get("expires_in").and_then(Value::as_u64);
            let scope = issued.get("scope").and_then(Value::as_str);
            let (life, scope) = (life.unwrap_or_default(), scope.unwrap_or_default());
            report.ok(("token", name), format!("for {life} s and {scope}"));
            true
        }
        Err(CliError::TokenRefused {
            code, description, ..
        }) => {
            let found = format!("{code}{description}");
            refused(report, whose, &code, found);
            false
        }
        Err(error) => {
            report.error(("token", name), &error);
            false
        }
    }
}

fn refused(report: &mut Report, whose: &Whose<'_>, code: &str, found: String) {
    let (of, principal) = (("token", whose.name), whose.principal());
    match code {
        // The credentials are good; there is nothing that they may ask for.
        "invalid_scope" if whose.in_use => {
            report.warning(of, found, format!("portcullis grant add {principal} SCOPE"));
        }
        "invalid_scope" => report.skipped(of, found),
        "invalid_client" => report.failed(
            of,
            found,
            format!(
                "the secret or key was revoked or has ended: `portcullis principal secret create \
                 {principal}`, and put the new one into the connection file"
            ),
        ),
        "unauthorized_client" => report.failed(
            of,
            found,
            "a switch stops the principal or its tenant: `portcullis switch status --tenant …`",
        ),
        _ => report.failed(of, found, "the server's log says why"),
    }
}

fn questions() -> [Value; 2] {
    let client = json!({"name": "portcullis-doctor", "version": env!("CARGO_PKG_VERSION")});
    [
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize",
            "params": {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": client}}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}),
    ]
}

fn version(report: &mut Report, name: &str, answer: Option<&Value>) {
    let told = answer.and_then(|answer| answer.pointer("/result/serverInfo/version"));
    let ours = env!("CARGO_PKG_VERSION");
    match told.and_then(Value::as_str) {
        Some(theirs) if theirs == ours => report.ok(("version", name), format!("{ours}, as here")),
        Some(theirs) => report.warning(
            ("version", name),
            format!("the server is {theirs}, this program {ours}"),
            "use the program of the server's version",
        ),
        None => report.error(("version", name), &CliError::Failed(trouble(answer))),
    }
}

/// What a host would see.
fn tools(report: &mut Report, whose: &Whose<'_>, answer: Option<&Value>) {
    let name = whose.name;
    let list = answer.and_then(|answer| answer.pointer("/result/tools")?.as_array());
    let Some(list) = list else {
        return report.error(("tools", name), &CliError::Failed(trouble(answer)));
    };
    if list.is_empty() {
        let principal = whose.principal();
        return report.warning(
            ("tools", name),
            "the host sees none",
            format!(
                "a tool shows where a grant has its scope: `portcullis grant add {principal} SCOPE`"
            ),
        );
    }
    let names = list.iter().filter_map(|tool| tool.get("name")?.as_str());
    let names = names.take(8).collect::<Vec<_>>().join(", ");
    report.ok(("tools", name), format!("{}: {names}", list.len()));
}

/// Why there is no result.
fn trouble(answer: Option<&Value>) -> String {
    answer
        .and_then(|answer| answer.pointer("/error/message"))
        .and_then(Value::as_str)
        .unwrap_or("the endpoint gave no answer")
        .to_owned()
}
