//! `portcullis service-token`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use portcullis_domain::id::{Id, ServiceToken as TokenKind};
use portcullis_wire::api::{CreateServiceToken, CreatedServiceToken, Role, ServiceToken};
use secrecy::SecretString;

use super::error::CliError;
use super::operator::TenantCredentials;
use super::output;
use super::session::{Session, write_secret};

/// What can be done with service tokens.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a service token; it is shown once
    Create(Create),
    /// Show the service tokens that these credentials may see
    List {
        /// Only those of this tenant (slug or id)
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Make a service token stop working
    Revoke {
        /// The tenant whose owner revokes it (slug or id) [default: the platform]
        #[arg(long)]
        tenant: Option<String>,
        /// Its id
        id: Id<TokenKind>,
    },
}

/// What to create.
#[derive(Debug, Args)]
pub struct Create {
    /// What its holder may do: owner, operator, approver, auditor, viewer or platform
    #[arg(long)]
    role: Role,
    /// The tenant's slug or id; none for the role platform
    #[arg(long)]
    tenant: Option<String>,
    /// What it is for, in words
    #[arg(long, default_value = "made on the command line")]
    name: String,
    /// How long it works
    #[arg(long, value_name = "LIFETIME", default_value = "90d")]
    expires_in: humantime::Duration,
    /// Write the token to this new file instead of standard output
    #[arg(long, value_name = "FILE", conflicts_with = "save")]
    out: Option<PathBuf>,
    /// Keep the owner's token in the operator file, for later commands
    #[arg(long, requires = "tenant")]
    save: bool,
}

/// Runs the command.
///
/// # Errors
/// The server refuses or cannot be reached.
pub async fn run(command: Command, mut session: Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Create(create) => self::create(create, session).await,
        Command::List { tenant } => {
            let client = session.client(tenant.as_deref())?;
            let query = tenant.map(|tenant| ("tenant", tenant));
            let list: Vec<ServiceToken> = client
                .list(&["service-tokens"], query.as_slice(), usize::MAX)
                .await?;
            let head = [
                "ID",
                "ROLE",
                "TENANT",
                "EXPIRES",
                "REVOKED",
                "CREATED BY",
                "NAME",
            ];
            session.output.list(&list, head, |token| {
                let tenant = token.tenant.map(|id| id.to_string());
                [
                    token.id.to_string(),
                    token.role.to_string(),
                    tenant.unwrap_or_else(|| "-".to_owned()),
                    output::time(Some(token.expires_at)),
                    output::time(token.revoked_at),
                    token.created_by.clone(),
                    token.name.clone(),
                ]
            })
        }
        Command::Revoke { tenant, id } => {
            let client = session.client(tenant.as_deref())?;
            client.delete(&["service-tokens", &id.to_string()]).await?;
            session.output.hint(&format!("Revoked {id}"))
        }
    }
}

async fn create(create: Create, mut session: Session<'_>) -> Result<(), CliError> {
    if create.save && create.role != Role::Owner {
        return Err(CliError::Usage(
            "the operator file keeps the owner's token of a tenant: use --out FILE for other roles"
                .to_owned(),
        ));
    }
    let body = CreateServiceToken {
        name: create.name,
        role: create.role,
        tenant: create.tenant.clone(),
        expires_at: session.end_of(create.expires_in)?,
    };
    let client = session.client(create.tenant.as_deref())?;
    let created: CreatedServiceToken = client.post(&["service-tokens"], &body).await?.value;
    let id = created.service_token.id;
    if let (true, Some(tenant)) = (create.save, create.tenant) {
        let mut operator = session.operator()?;
        let token = SecretString::from(created.token);
        let credentials = operator.tenants.entry(tenant);
        credentials
            .and_modify(|credentials| credentials.owner_token = token.clone())
            .or_insert_with(|| TenantCredentials {
                owner_token: token.clone(),
                clients: std::collections::BTreeMap::new(),
            });
        operator.save(&session.operator_path()?)?;
        return session.output.line(&id.to_string());
    }
    if let Some(path) = create.out {
        write_secret(&path, &SecretString::from(created.token))?;
        session.output.line(&id.to_string())?;
        return session
            .output
            .hint(&format!("The token is in {}", path.display()));
    }
    session.output.value(&created, |created| {
        output::pairs(&[
            ("id", created.service_token.id.to_string()),
            ("role", created.service_token.role.to_string()),
            ("token", created.token.clone()),
            (
                "expires",
                output::time(Some(created.service_token.expires_at)),
            ),
        ])
    })?;
    session
        .output
        .hint("The token is shown this once and stored nowhere.")
}
