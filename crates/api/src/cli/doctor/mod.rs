//! `portcullis doctor`: checks what a host or an operator depends on, each thing by using it as they do,
//! and says what helps. It writes nothing, and shows no secret.

mod endpoint;
mod hosts;
mod operator;
mod row;
mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use url::Url;

use super::connection::Connection;
use super::error::CliError;
use super::operator::OperatorFile;
use super::secret_file::SecretFileError;
use super::session::Session;
use row::{Report, State};

/// How long one question may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// What to check.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Check this connection file alone [default: those of the hosts on this machine, and the operator file]
    #[arg(long, value_name = "FILE")]
    connection: Option<PathBuf>,
    /// Check this tenant of the operator file alone [default: every one]
    #[arg(long, conflicts_with = "connection")]
    tenant: Option<String>,
    /// Where desktop programs keep their configuration, as the desktop says it
    #[arg(long, hide = true, value_name = "DIR", env = "XDG_CONFIG_HOME")]
    config_home: Option<PathBuf>,
}

/// A server, and the authorities that its certificate may come from besides the system's.
type Servers = BTreeMap<String, (Url, Option<PathBuf>)>;

/// Connections, by what they are called.
type Connections = BTreeMap<String, Held>;

/// A connection of this machine.
struct Held {
    connection: Connection,
    /// Whether a host uses it.
    in_use: bool,
}

impl Held {
    fn is(&self, other: &Connection) -> bool {
        let known = &self.connection;
        (&known.url, known.client_id) == (&other.url, other.client_id)
    }
}

/// Runs the command.
///
/// # Errors
/// A check failed or warned.
pub async fn run(arguments: Arguments, mut session: Session<'_>) -> Result<(), CliError> {
    let mut report = Report::default();
    let mut connections = BTreeMap::new();
    let operator = match &arguments.connection {
        Some(path) => {
            connections.extend(load(&mut report, path));
            None
        }
        None => everything(&arguments, &session, &mut report, &mut connections)?,
    };
    let mut servers = servers(&connections, &session);
    if let Some(operator) = &operator {
        match session.server() {
            Ok(url) => {
                let ca_file = session.named_ca_file().or(operator.ca_file.clone());
                servers.insert(url.origin().ascii_serialization(), (url, ca_file));
            }
            Err(error) => report.error(("server", "the operator file"), &error),
        }
    }
    let clock = session.clock();
    let mut reached = BTreeMap::new();
    for (origin, (url, ca_file)) in &servers {
        let there = server::check(&mut report, url, ca_file.as_deref(), clock).await;
        reached.insert(origin.clone(), there);
    }
    for (name, held) in &connections {
        let connection = &held.connection;
        let origin = connection.url.origin().ascii_serialization();
        if reached.get(&origin).is_some_and(|there| *there) {
            let whose = endpoint::Whose {
                name,
                connection,
                ca_file: session.named_ca_file().or(connection.ca_file.clone()),
                in_use: held.in_use,
            };
            endpoint::check(&mut report, &whose, clock).await;
        } else {
            report.skipped(("endpoint", name), "its server cannot be reached");
        }
    }
    if let Some(operator) = &operator {
        let only = arguments.tenant.as_deref();
        let origin = session
            .server()
            .map(|url| url.origin().ascii_serialization());
        if origin.is_ok_and(|origin| reached.get(&origin).is_some_and(|there| *there)) {
            let askers = operator::askers(&session, operator, only);
            operator::check(&mut report, askers, clock.now()).await;
        } else {
            report.skipped(("management API", ""), "its server cannot be reached");
        }
    }
    finish(&report, &mut session)
}

fn finish(report: &Report, session: &mut Session<'_>) -> Result<(), CliError> {
    session.output.value(report, Report::told)?;
    let (failed, warnings) = (report.count(State::Failed), report.count(State::Warning));
    if failed == 0 && warnings == 0 {
        return Ok(());
    }
    Err(CliError::Unwell { failed, warnings })
}

/// What there is on this machine: the hosts' connections, and the operator's.
fn everything(
    arguments: &Arguments,
    session: &Session<'_>,
    report: &mut Report,
    connections: &mut Connections,
) -> Result<Option<OperatorFile>, CliError> {
    let named = hosts::check(report, arguments.config_home.as_deref())?;
    for path in &named {
        connections.extend(load(report, path));
    }
    let path = session.operator_path()?;
    let subject = path.display().to_string();
    let operator = match OperatorFile::load(&path) {
        Ok(operator) => operator,
        // Whoever has a host alone has no such file.
        Err(SecretFileError::Absent { .. }) if !named.is_empty() => {
            report.skipped(("operator file", &subject), "there is none");
            return Ok(None);
        }
        Err(error) => {
            report.error(("operator file", &subject), &CliError::SecretFile(error));
            return Ok(None);
        }
    };
    let only = arguments.tenant.as_deref();
    let mut tenants = operator.tenants.iter();
    if only.is_some_and(|only| !operator.tenants.contains_key(only)) {
        report.failed(
            ("operator file", &subject),
            "it holds nothing of that tenant",
            "name one of `portcullis tenant list`, or leave --tenant out",
        );
    } else {
        report.ok(("operator file", &subject), "read, and by its owner alone");
    }
    let mine = tenants
        .by_ref()
        .filter(|(tenant, _)| only.is_none_or(|only| only == *tenant));
    for (tenant, credentials) in mine {
        for principal in credentials.clients.keys() {
            let name = format!("{principal} in {tenant}");
            match session.connection(tenant, principal) {
                Ok(connection) if connections.values().any(|held| held.is(&connection)) => {}
                Ok(connection) => {
                    let in_use = false;
                    connections.insert(name, Held { connection, in_use });
                }
                Err(error) => report.error(("connection", &name), &error),
            }
        }
    }
    Ok(Some(operator))
}

/// Reads a connection file.
fn load(report: &mut Report, path: &Path) -> Option<(String, Held)> {
    let name = path.display().to_string();
    match Connection::load(path) {
        Ok(connection) => {
            report.ok(("connection file", &name), "read, and by its owner alone");
            let in_use = true;
            Some((name, Held { connection, in_use }))
        }
        Err(error) => {
            report.error(("connection file", &name), &CliError::SecretFile(error));
            None
        }
    }
}

/// The servers of connections.
fn servers(connections: &Connections, session: &Session<'_>) -> Servers {
    let of = |Held { connection, .. }: &Held| {
        let ca_file = session.named_ca_file().or(connection.ca_file.clone());
        let mut url = connection.url.clone();
        url.set_path("/");
        (url.origin().ascii_serialization(), (url, ca_file))
    };
    connections.values().map(of).collect()
}
