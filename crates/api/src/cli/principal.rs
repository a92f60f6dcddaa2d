//! `portcullis principal`.

mod key;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use http::Method;
use portcullis_domain::id::{ClientSecret as SecretKind, Id};
use portcullis_domain::{Jurisdiction, PrincipalName};
use portcullis_wire::api::{
    ClientSecret, CreatePrincipal, CreateSecret, CreatedSecret, Principal, PrincipalStatus,
    RotateSecret, UpdatePrincipal,
};
use secrecy::SecretString;

use super::error::CliError;
use super::operator::ClientCredentials;
use super::output;
use super::session::{Session, write_secret};
pub use key::KeyCommand;

/// Which principal.
#[derive(Debug, Args)]
pub struct Which {
    /// The tenant's slug or id
    #[arg(long)]
    tenant: String,
    /// Its name (agent:copilot) or id
    principal: String,
}

/// What can be done with principals.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the principals of a tenant
    List {
        /// The tenant's slug or id
        #[arg(long)]
        tenant: String,
    },
    /// Create a principal
    Create {
        /// The tenant's slug or id
        #[arg(long)]
        tenant: String,
        /// Its name: agent:…, user:… or service:…
        name: PrincipalName,
        /// Whose law it falls under, EU or US [default: the tenant's]
        #[arg(long)]
        region: Option<Jurisdiction>,
    },
    /// Show one principal
    Show(Which),
    /// Refuse a principal's calls and give it no tokens
    Suspend(Which),
    /// Let a suspended principal act again
    Activate(Which),
    /// Client secrets of a principal
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Public keys by which a principal proves who it is without a secret (`private_key_jwt`)
    #[command(subcommand)]
    Key(KeyCommand),
}

/// What can be done with client secrets.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Create a client secret; it is shown once
    Create {
        /// Which principal
        #[command(flatten)]
        which: Which,
        /// How long it works, e.g. 90d [default: until revoked]
        #[arg(long, value_name = "LIFETIME")]
        expires_in: Option<humantime::Duration>,
        /// Write the secret to this new file instead of standard output
        #[arg(long, value_name = "FILE", conflicts_with = "save")]
        out: Option<PathBuf>,
        /// Keep the secret in the operator file, for `portcullis token`
        #[arg(long)]
        save: bool,
    },
    /// Put a new secret in the place of all others, which go on working for a while
    Rotate {
        /// Which principal
        #[command(flatten)]
        which: Which,
        /// How long the others go on working, 30d at most; 0s ends them at once
        #[arg(long, value_name = "DURATION", default_value = "24h")]
        overlap: humantime::Duration,
        /// How long the new one works, e.g. 90d [default: until revoked]
        #[arg(long, value_name = "LIFETIME")]
        expires_in: Option<humantime::Duration>,
        /// Write the secret to this new file instead of standard output
        #[arg(long, value_name = "FILE", conflicts_with = "save")]
        out: Option<PathBuf>,
        /// Keep the secret in the operator file, for `portcullis token`
        #[arg(long)]
        save: bool,
    },
    /// Show which secrets a principal has
    List(Which),
    /// Make a secret stop working
    Revoke {
        /// Which principal
        #[command(flatten)]
        which: Which,
        /// The secret's id
        id: Id<SecretKind>,
    },
}

/// Runs the command.
///
/// # Errors
/// The server refuses or cannot be reached.
pub async fn run(command: Command, mut session: Session<'_>) -> Result<(), CliError> {
    match command {
        Command::List { tenant } => {
            let client = session.client(Some(&tenant))?;
            let path = ["tenants", tenant.as_str(), "principals"];
            let list: Vec<Principal> = client.list(&path, &[], usize::MAX).await?;
            session
                .output
                .list(&list, ["NAME", "ID", "REGION", "STATUS"], |principal| {
                    [
                        principal.name.to_string(),
                        principal.id.to_string(),
                        principal.region.to_string(),
                        principal.status.as_str().to_owned(),
                    ]
                })
        }
        Command::Create {
            tenant,
            name,
            region,
        } => {
            let client = session.client(Some(&tenant))?;
            let path = ["tenants", tenant.as_str(), "principals"];
            let body = CreatePrincipal { name, region };
            let created = client.post(&path, &body).await?.value;
            session.output.value(&created, card)?;
            session.output.hint(&format!(
                "Next: portcullis principal secret create --tenant {tenant} {} --save",
                created.name
            ))
        }
        Command::Show(which) => {
            let client = session.client(Some(&which.tenant))?;
            let principal = client.get(&which.path()).await?.value;
            session.output.value(&principal, card)
        }
        Command::Suspend(which) => set_status(which, PrincipalStatus::Suspended, session).await,
        Command::Activate(which) => set_status(which, PrincipalStatus::Active, session).await,
        Command::Secret(command) => secret(command, session).await,
        Command::Key(command) => key::run(command, session).await,
    }
}

impl Which {
    fn path(&self) -> [&str; 4] {
        ["tenants", &self.tenant, "principals", &self.principal]
    }

    fn keys(&self) -> [&str; 5] {
        let [tenants, tenant, principals, principal] = self.path();
        [tenants, tenant, principals, principal, "keys"]
    }

    fn secrets(&self) -> [&str; 5] {
        let [tenants, tenant, principals, principal] = self.path();
        [tenants, tenant, principals, principal, "secrets"]
    }
}

async fn set_status(
    which: Which,
    status: PrincipalStatus,
    mut session: Session<'_>,
) -> Result<(), CliError> {
    let client = session.client(Some(&which.tenant))?;
    let path = which.path();
    let present = client.get::<Principal>(&path).await?;
    let etag = present.etag.as_deref();
    let body = UpdatePrincipal { status };
    let changed = client.change(Method::PATCH, &path, etag, &body).await?;
    session.output.value(&changed.value, card)
}

async fn secret(command: SecretCommand, mut session: Session<'_>) -> Result<(), CliError> {
    match command {
        SecretCommand::Create {
            which,
            expires_in,
            out,
            save,
        } => {
            let expires_at = expires_in.map(|lifetime| session.end_of(lifetime));
            let body = CreateSecret {
                expires_at: expires_at.transpose()?,
            };
            let client = session.client(Some(&which.tenant))?;
            let created: CreatedSecret = client.post(&which.secrets(), &body).await?.value;
            hand_over(&which, created, out, save, session).await
        }
        SecretCommand::Rotate {
            which,
            overlap,
            expires_in,
            out,
            save,
        } => {
            let expires_at = expires_in.map(|lifetime| session.end_of(lifetime));
            let body = RotateSecret {
                overlap_seconds: u32::try_from(overlap.as_secs()).unwrap_or(u32::MAX),
                expires_at: expires_at.transpose()?,
            };
            let client = session.client(Some(&which.tenant))?;
            let path = [&which.secrets()[..], &["rotate"]].concat();
            let created: CreatedSecret = client.post(&path, &body).await?.value;
            hand_over(&which, created, out, save, session).await
        }
        SecretCommand::List(which) => {
            let client = session.client(Some(&which.tenant))?;
            let list: Vec<ClientSecret> = client.list(&which.secrets(), &[], usize::MAX).await?;
            let head = ["ID", "CREATED", "EXPIRES", "REVOKED"];
            session.output.list(&list, head, |secret| {
                [
                    secret.id.to_string(),
                    output::time(Some(secret.created_at)),
                    output::time(secret.expires_at),
                    output::time(secret.revoked_at),
                ]
            })
        }
        SecretCommand::Revoke { which, id } => {
            let client = session.client(Some(&which.tenant))?;
            let id = id.to_string();
            let path = [&which.secrets()[..], &[&id]].concat();
            client.delete(&path).await?;
            session.output.hint(&format!("Revoked {id}"))
        }
    }
}

/// Gives a new secret to whoever asked for it, in the way that was asked for.
async fn hand_over(
    which: &Which,
    created: CreatedSecret,
    out: Option<PathBuf>,
    save: bool,
    session: Session<'_>,
) -> Result<(), CliError> {
    if save {
        let client = session.client(Some(&which.tenant))?;
        let principal: Principal = client.get(&which.path()).await?.value;
        return keep(&which.tenant, principal.name, created, session);
    }
    show(created, out, session)
}

fn keep(
    tenant: &str,
    name: PrincipalName,
    created: CreatedSecret,
    mut session: Session<'_>,
) -> Result<(), CliError> {
    let mut operator = session.operator()?;
    let Some(credentials) = operator.tenants.get_mut(tenant) else {
        return Err(CliError::Usage(format!(
            "the secret {} is created, but the operator file has no tenant {tenant} to keep it in: \
             revoke it, and create another one with --out FILE",
            created.id
        )));
    };
    let client = ClientCredentials {
        client_id: created.client_id,
        client_secret: SecretString::from(created.client_secret),
    };
    credentials.clients.insert(name.clone(), client);
    operator.save(&session.operator_path()?)?;
    session.output.line(&created.id.to_string())?;
    session.output.hint(&format!(
        "Next: portcullis token --tenant {tenant} --principal {name}"
    ))
}

fn show(
    created: CreatedSecret,
    out: Option<PathBuf>,
    mut session: Session<'_>,
) -> Result<(), CliError> {
    let Some(path) = out else {
        session.output.value(&created, |created| {
            output::pairs(&[
                ("id", created.id.to_string()),
                ("client id", created.client_id.to_string()),
                ("client secret", created.client_secret.clone()),
                ("expires", output::time(created.expires_at)),
            ])
        })?;
        return session
            .output
            .hint("The secret is shown this once and stored nowhere.");
    };
    write_secret(&path, &SecretString::from(created.client_secret))?;
    session.output.line(&created.id.to_string())?;
    session.output.hint(&format!(
        "The secret is in {}; the client id is {}",
        path.display(),
        created.client_id
    ))
}

fn card(principal: &Principal) -> String {
    output::pairs(&[
        ("name", principal.name.to_string()),
        ("id", principal.id.to_string()),
        ("region", principal.region.to_string()),
        ("status", principal.status.as_str().to_owned()),
        ("created", output::time(Some(principal.created_at))),
    ])
}
