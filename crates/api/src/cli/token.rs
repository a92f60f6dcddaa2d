//! `portcullis token`: an access token by client credentials (RFC 6749 §4.4), for the resource that
//! the server's metadata names (RFC 9728).

use std::path::PathBuf;

use clap::Args;
use portcullis_domain::PrincipalName;
use portcullis_domain::id::{Id, Principal};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

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

/// What the metadata of a protected resource says, as far as it is needed here.
#[derive(Debug, Deserialize)]
struct Resource {
    resource: String,
}

#[derive(Serialize)]
struct Request<'a> {
    grant_type: &'static str,
    resource: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
}

/// RFC 6749 §5.2.
#[derive(Debug, Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

/// Runs the command: prints the token alone, or the whole response as JSON.
///
/// # Errors
/// There are no credentials, or the server refuses or cannot be reached.
pub async fn run(arguments: Arguments, mut session: Session<'_>) -> Result<(), CliError> {
    let server = session.server()?;
    let (client_id, secret) = credentials(&arguments, &session)?;
    let http = client::http(&server, session.ca_file().as_deref())?;
    let tenant = arguments.tenant.as_str();
    let path = [
        ".well-known",
        "oauth-protected-resource",
        "t",
        tenant,
        "mcp",
    ];
    let metadata = http.get(client::below(&server, &path)?);
    let (status, _, body) = client::exchange(&server, metadata).await?;
    if status == http::StatusCode::NOT_FOUND {
        return Err(CliError::Failed(format!(
            "the server has no tenant {tenant}"
        )));
    }
    let Ok(Resource { resource }) = serde_json::from_slice(&body) else {
        return Err(client::foreign(&server, status));
    };
    let request = http
        .post(client::below(&server, &["oauth", "token"])?)
        .basic_auth(client_id, Some(secret.expose_secret()))
        .form(&Request {
            grant_type: "client_credentials",
            resource: &resource,
            scope: arguments.scope.as_deref(),
        });
    let (status, _, body) = client::exchange(&server, request).await?;
    let response = read(&server, status, &body)?;
    if session.output.is_json() {
        return session.output.value(&response, |_| String::new());
    }
    match response.get("access_token").and_then(Value::as_str) {
        Some(token) => session.output.line(token),
        None => Err(client::foreign(&server, status)),
    }
}

fn read(server: &Url, status: http::StatusCode, body: &[u8]) -> Result<Value, CliError> {
    if status.is_success() {
        return match serde_json::from_slice(body) {
            Ok(value) => Ok(value),
            Err(_) => Err(client::foreign(server, status)),
        };
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => Err(CliError::TokenRefused {
            credentials: refusal.error == "invalid_client",
            code: refusal.error,
            description: refusal
                .error_description
                .map(|text| format!(": {text}"))
                .unwrap_or_default(),
        }),
        Err(_) => Err(client::foreign(server, status)),
    }
}

fn credentials(
    arguments: &Arguments,
    session: &Session<'_>,
) -> Result<(Id<Principal>, SecretString), CliError> {
    if let (Some(id), Some(path)) = (arguments.client_id, &arguments.client_secret_file) {
        return Ok((id, read_secret(path, "pcs_")?));
    }
    let operator = session.operator()?;
    let name = arguments.principal.as_ref();
    let client = operator
        .tenants
        .get(&arguments.tenant)
        .and_then(|tenant| tenant.clients.get(name?));
    match client {
        Some(client) => Ok((client.client_id, client.client_secret.clone())),
        None => Err(CliError::Usage(format!(
            "the operator file holds no credentials of {} in {}: create some with `portcullis \
             principal secret create --tenant {} {} --save`, or name them with --client-id and \
             --client-secret-file",
            name.map_or("that principal", PrincipalName::as_str),
            arguments.tenant,
            arguments.tenant,
            name.map_or("NAME", PrincipalName::as_str),
        ))),
    }
}
