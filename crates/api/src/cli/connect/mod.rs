//! `portcullis connect`: puts the bridge into an MCP host's configuration, and takes it out again. A
//! connection that does not work is never written, and no secret is written into a host's file.

mod file;
mod hosts;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use portcullis_domain::{Clock, PrincipalName};
use serde_json::{Value, json};

use super::access::Access;
use super::client;
use super::connection::Connection;
use super::error::CliError;
use super::session::Session;
use file::{After, HostFile};
use hosts::{Host, Places};

/// What to connect, and to what.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The host
    host: Host,
    /// The tenant's slug
    #[arg(long, required_unless_present_any = ["connection", "undo"])]
    tenant: Option<String>,
    /// The principal whose credentials the operator file holds
    #[arg(long, requires = "tenant")]
    principal: Option<PrincipalName>,
    /// A connection file that there is already
    #[arg(long, value_name = "FILE", conflicts_with_all = ["tenant", "principal"])]
    connection: Option<PathBuf>,
    /// The server's name in the host's configuration [default: portcullis-TENANT]
    #[arg(long)]
    name: Option<String>,
    /// The host's configuration file [default: where the host looks for it]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Take the server out of the host's configuration again
    #[arg(long)]
    undo: bool,
    /// Print what would be written, and write nothing
    #[arg(long, conflicts_with = "undo")]
    dry_run: bool,
    /// Where desktop programs keep their configuration, as the desktop says it
    #[arg(long, hide = true, value_name = "DIR", env = "XDG_CONFIG_HOME")]
    config_home: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// The credentials do not work, or the host's file cannot be read, understood or written; then
/// everything is as it was.
pub async fn run(arguments: Arguments, mut session: Session<'_>) -> Result<(), CliError> {
    let file = host_file(&arguments)?;
    if arguments.undo {
        return undo(&arguments, file, &mut session);
    }
    let (connection, kept) = connection(&arguments, &session)?;
    works(&connection, session.named_ca_file(), session.clock()).await?;
    let name = name(&arguments, &connection);
    let program = std::env::current_exe().map_err(|source| CliError::File {
        action: "find",
        path: PathBuf::from("portcullis"),
        source,
    })?;
    let server = arguments.host.server(&program, &kept);
    let whole = json!({arguments.host.member(): {name.as_str(): server.json()}});
    let after = match &file {
        Some(file) if !arguments.dry_run => {
            let after = file.with(&name, &server)?;
            if arguments.connection.is_none() {
                save(&connection, &kept)?;
            }
            file.apply(&after)?;
            after
        }
        Some(file) => {
            // What could not be written is told now.
            file.with(&name, &server)?;
            return session.output.value(&whole, pretty);
        }
        None => {
            if arguments.connection.is_none() && !arguments.dry_run {
                save(&connection, &kept)?;
            }
            return session.output.value(&whole, pretty);
        }
    };
    let Some(file) = file else { return Ok(()) };
    let told = json!({
        "host": arguments.host.title(),
        "file": file.path(),
        "changed": after != After::Unchanged,
        "server": name,
        "connection_file": kept,
        "backup": file.backup().exists().then(|| file.backup()),
    });
    session.output.value(&told, |_| {
        format!(
            "{name} stands in {}. Restart {}; take it out again with --undo.",
            file.path().display(),
            arguments.host.title()
        )
    })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

fn host_file(arguments: &Arguments) -> Result<Option<HostFile>, CliError> {
    let path = match &arguments.file {
        Some(path) => Some(path.clone()),
        None => arguments
            .host
            .file(&places(arguments.config_home.as_deref())?),
    };
    path.map(|path| HostFile::read(arguments.host, &path))
        .transpose()
}

/// A host whose configuration is there.
#[derive(Debug)]
pub(super) struct Known {
    /// What the command line calls it.
    pub(super) name: String,
    /// What people call it.
    pub(super) title: &'static str,
    /// The servers of ours that it names.
    pub(super) servers: Result<Vec<Installed>, CliError>,
}

/// A server of ours in a host's configuration.
#[derive(Debug)]
pub(super) struct Installed {
    /// Its name there.
    pub(super) name: String,
    /// The program that the host starts.
    pub(super) command: PathBuf,
    /// The connection file that the program reads.
    pub(super) connection: PathBuf,
}

/// The hosts on this machine whose configuration is where they look for it.
///
/// # Errors
/// There is no home directory, or no present one.
pub(super) fn known(config_home: Option<&Path>) -> Result<Vec<Known>, CliError> {
    let places = places(config_home)?;
    let mut known = Vec::new();
    for host in Host::value_variants() {
        let Some(path) = host.file(&places).filter(|path| path.exists()) else {
            continue;
        };
        let read = HostFile::read(*host, &path).and_then(|file| file.ours());
        known.push(Known {
            name: host
                .to_possible_value()
                .map_or_else(String::new, |value| value.get_name().to_owned()),
            title: host.title(),
            servers: read.map(|servers| servers.iter().map(installed).collect()),
        });
    }
    Ok(known)
}

fn installed((name, server): &(String, Value)) -> Installed {
    let text = |pointer| server.pointer(pointer).and_then(Value::as_str);
    Installed {
        name: name.clone(),
        command: text("/command").unwrap_or_default().into(),
        connection: text("/args/2").unwrap_or_default().into(),
    }
}

fn places(config_home: Option<&Path>) -> Result<Places, CliError> {
    let Some(home) = std::env::home_dir() else {
        return Err(CliError::Usage(
            "there is no home directory: name the host's configuration with --file".to_owned(),
        ));
    };
    let own = if cfg!(target_os = "macos") {
        home.join("Library/Application Support")
    } else {
        home.join(".config")
    };
    Ok(Places {
        config: config_home.map_or(own, Path::to_owned),
        here: std::env::current_dir().map_err(|source| CliError::File {
            action: "find",
            path: PathBuf::from("."),
            source,
        })?,
        home,
    })
}

/// The connection, and the file that holds it or is to hold it.
fn connection(
    arguments: &Arguments,
    session: &Session<'_>,
) -> Result<(Connection, PathBuf), CliError> {
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|source| CliError::File {
            action: "find",
            path: path.to_owned(),
            source,
        })
    };
    if let Some(path) = &arguments.connection {
        return Ok((Connection::load(path)?, absolute(path)?));
    }
    let (Some(tenant), Some(principal)) = (&arguments.tenant, &arguments.principal) else {
        return Err(CliError::Usage(
            "name --tenant and --principal, or a connection file with --connection".to_owned(),
        ));
    };
    let mut connection = session.connection(tenant, principal)?;
    if let Some(ca_file) = connection.ca_file.take() {
        // The host starts the bridge somewhere else.
        connection.ca_file = Some(absolute(&ca_file)?);
    }
    let file = format!("{tenant}.{}.json", principal.as_str().replace(':', "-"));
    let operator = session.operator_path()?;
    let folder = operator
        .parent()
        .unwrap_or(Path::new("."))
        .join("connections");
    Ok((connection, absolute(&folder.join(file))?))
}

fn save(connection: &Connection, path: &Path) -> Result<(), CliError> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(folder) = path.parent() {
        let mut builder = std::fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(folder);
        made.map_err(|source| CliError::File {
            action: "create",
            path: folder.to_owned(),
            source,
        })?;
    }
    Ok(connection.save(path)?)
}

/// Makes sure that the credentials get a token at the endpoint that they are for.
async fn works(
    connection: &Connection,
    named: Option<PathBuf>,
    clock: &dyn Clock,
) -> Result<(), CliError> {
    let ca_file = named.or(connection.ca_file.clone());
    let http = client::http(&connection.url, ca_file.as_deref())?;
    let who = connection.credentials()?;
    let access = Access::new(http, connection.url.clone(), who, clock);
    access.token().await.map(drop)
}

/// What the server is called in the host's file.
fn name(arguments: &Arguments, connection: &Connection) -> String {
    let tenant = || {
        let mut parts = connection.url.path_segments()?;
        (parts.next() == Some("t")).then(|| parts.next()).flatten()
    };
    match (&arguments.name, &arguments.tenant) {
        (Some(name), _) => name.clone(),
        (None, Some(tenant)) => format!("portcullis-{tenant}"),
        (None, None) => tenant().map_or_else(
            || "portcullis".to_owned(),
            |tenant| format!("portcullis-{tenant}"),
        ),
    }
}

fn undo(
    arguments: &Arguments,
    file: Option<HostFile>,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let Some(file) = file else {
        return Err(CliError::Usage(
            "nothing was written that could be undone".to_owned(),
        ));
    };
    let name = match (&arguments.name, &arguments.tenant, &arguments.connection) {
        (Some(name), ..) => name.clone(),
        (None, Some(tenant), _) => format!("portcullis-{tenant}"),
        (None, None, Some(path)) => name(arguments, &Connection::load(path)?),
        (None, None, None) => {
            return Err(CliError::Usage(
                "name the server to take out with --name, or its tenant with --tenant".to_owned(),
            ));
        }
    };
    let after = file.without(&name)?;
    file.apply(&after)?;
    if after != After::Unchanged && !file.holds_ours()? {
        file.forget()?;
    }
    let told = json!({"host": arguments.host.title(), "file": file.path(), "server": name,
        "changed": after != After::Unchanged});
    session.output.value(&told, |_| match after {
        After::Unchanged => format!("{} has no server {name}.", file.path().display()),
        After::Text(_) | After::Nothing => {
            format!("{name} was taken out of {}.", file.path().display())
        }
    })
}
