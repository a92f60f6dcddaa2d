//! `portcullis token`: an access token by client credentials (RFC 6749 §4.4), for the resource that
//! the server's metadata names (RFC 9728).

use std::path::PathBuf;

use clap::Args;
use http::StatusCode;
use portcullis_domain::PrincipalName;
use portcullis_domain::id::{Id, Principal};
use serde_json::Value;

use super::access;
use super::client;
use super::credentials::{Credentials, PrivateKey, Proof};
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
    #[arg(long, requires = "proof", conflicts_with = "principal")]
    client_id: Option<Id<Principal>>,
    /// A file that holds the client secret
    #[arg(long, value_name = "FILE", group = "proof", requires = "client_id")]
    client_secret_file: Option<PathBuf>,
    /// A file that holds the client's own key, an Ed25519 key in PKCS#8 PEM
    #[arg(long, value_name = "FILE", group = "proof", requires = "client_id")]
    private_key: Option<PathBuf>,
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
    let who = credentials(&arguments, &session)?;
    let http = client::http(&server, session.ca_file().as_deref())?;
    let endpoint = client::below(&server, &["t", &arguments.tenant, "mcp"])?;
    let discovered = access::discover(&http, &endpoint).await?;
    let scope = arguments.scope.as_deref();
    let response = access::request(&http, &discovered, &who, scope, session.clock()).await?;
    if session.output.is_json() {
        return session.output.value(&response, |_| String::new());
    }
    match response.get("access_token").and_then(Value::as_str) {
        Some(token) => session.output.line(token),
        None => Err(client::foreign(&server, StatusCode::OK)),
    }
}

fn credentials(arguments: &Arguments, session: &Session<'_>) -> Result<Credentials, CliError> {
    let given = (&arguments.client_secret_file, &arguments.private_key);
    let proof = match given {
        (Some(path), _) => Proof::Secret(read_secret(path, "pcs_")?),
        (None, Some(path)) => Proof::Key(PrivateKey::read(path)?),
        (None, None) => return session_credentials(arguments, session),
    };
    match arguments.client_id {
        Some(client_id) => Ok(Credentials { client_id, proof }),
        None => Err(CliError::Usage(
            "name the client with --client-id".to_owned(),
        )),
    }
}

fn session_credentials(
    arguments: &Arguments,
    session: &Session<'_>,
) -> Result<Credentials, CliError> {
    let Some(name) = &arguments.principal else {
        return Err(CliError::Usage(
            "name a principal with --principal, or --client-id with --client-secret-file or \
             --private-key"
                .to_owned(),
        ));
    };
    session.connection(&arguments.tenant, name)?.credentials()
}
