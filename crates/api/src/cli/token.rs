//! `portcullis token`: an access token by client credentials (RFC 6749 §4.4), for the resource that
//! the server's metadata names (RFC 9728).

use std::path::PathBuf;

use clap::Args;
use http::StatusCode;
use portcullis_domain::PrincipalName;
use portcullis_domain::id::{Id, Principal};
use secrecy::SecretString;
use serde_json::Value;

use super::access::{self, Credentials};
use super::client;
use super::error::CliError;
use super::session::{Session, read_secret};

/// For whom and for what.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The tenant's slug
    #[arg(long)]
    tenant: String,
    /// The principal whose credentials the operator file holds
    #[arg(long, required_unless_present = "client_id")]
    principal: Option<PrincipalName>,
    /// The OAuth client id (the principal's id), instead of the operator file's
    #[arg(long, requires = "client_secret_file", conflicts_with = "principal")]
    client_id: Option<Id<Principal>>,
    /// A file that holds the client secret
    #[arg(long, value_name = "FILE", requires = "client_id")]
    client_secret_file: Option<PathBuf>,
    /// Ask for these scopes only, separated by spaces [default: all that are granted]
    #[arg(long)]
    scope: Option<String>,
}

/// Runs the command: prints the token alone, or the whole response as JSON.
///
/// # Errors
/// There are no credentials, or the server refuses or cannot be reached.
pub async fn run(arguments: Arguments, mut session: Session<'_>) -> Result<(), CliError> {
    let server = session.server()?;
    let (client_id, secret) = credentials(&arguments, &session)?;
    let http = client::http(&server, session.ca_file().as_deref())?;
    let endpoint = client::below(&server, &["t", &arguments.tenant, "mcp"])?;
    let discovered = access::discover(&http, &endpoint).await?;
    let who = Credentials {
        client_id,
        client_secret: &secret,
    };
    let response = access::request(&http, &discovered, who, arguments.scope.as_deref()).await?;
    if session.output.is_json() {
        return session.output.value(&response, |_| String::new());
    }
    match response.get("access_token").and_then(Value::as_str) {
        Some(token) => session.output.line(token),
        None => Err(client::foreign(&server, StatusCode::OK)),
    }
}

fn credentials(
    arguments: &Arguments,
    session: &Session<'_>,
) -> Result<(Id<Principal>, SecretString), CliError> {
    if let (Some(id), Some(path)) = (arguments.client_id, &arguments.client_secret_file) {
        return Ok((id, read_secret(path, "pcs_")?));
    }
    let Some(name) = &arguments.principal else {
        return Err(CliError::Usage(
            "name a principal with --principal, or --client-id and --client-secret-file".to_owned(),
        ));
    };
    let known = session.connection(&arguments.tenant, name)?;
    Ok((known.client_id, known.client_secret))
}
