//! `portcullis grant`.

use clap::{Args, Subcommand};
use portcullis_domain::Scope;
use portcullis_domain::id::{Grant as GrantKind, Id};
use portcullis_wire::api::{CreateGrant, Grant};

use super::error::CliError;
use super::output;
use super::session::Session;

/// Whose grants.
#[derive(Debug, Args)]
pub struct Whose {
    /// The tenant's slug or id
    #[arg(long)]
    tenant: String,
    /// The principal's name (agent:copilot) or id
    principal: String,
}

/// What can be done with grants.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Let a principal ask for a scope
    Add {
        /// Whose grants
        #[command(flatten)]
        whose: Whose,
        /// The scope, e.g. orders.read
        scope: Scope,
        /// What for, in words
        #[arg(long)]
        purpose: Option<String>,
        /// How long it lasts, e.g. 60m [default: until revoked]
        #[arg(long, value_name = "LIFETIME")]
        expires_in: Option<humantime::Duration>,
    },
    /// Show a principal's grants
    List(Whose),
    /// End a grant
    Revoke {
        /// Whose grants
        #[command(flatten)]
        whose: Whose,
        /// The grant's id
        id: Id<GrantKind>,
    },
}

impl Whose {
    fn path(&self) -> [&str; 5] {
        [
            "tenants",
            &self.tenant,
            "principals",
            &self.principal,
            "grants",
        ]
    }
}

/// Runs the command.
///
/// # Errors
/// The server refuses or cannot be reached.
pub async fn run(command: Command, mut session: Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Add {
            whose,
            scope,
            purpose,
            expires_in,
        } => {
            let expires_at = expires_in.map(|lifetime| session.end_of(lifetime));
            let body = CreateGrant {
                scope,
                purpose,
                expires_at: expires_at.transpose()?,
            };
            let client = session.client(Some(&whose.tenant))?;
            let grant: Grant = client.post(&whose.path(), &body).await?.value;
            session.output.list(&[grant], HEAD, row)
        }
        Command::List(whose) => {
            let client = session.client(Some(&whose.tenant))?;
            let list: Vec<Grant> = client.list(&whose.path(), &[], usize::MAX).await?;
            session.output.list(&list, HEAD, row)
        }
        Command::Revoke { whose, id } => {
            let client = session.client(Some(&whose.tenant))?;
            let id = id.to_string();
            let path = [&whose.path()[..], &[&id]].concat();
            client.delete(&path).await?;
            session.output.hint(&format!("Revoked {id}"))
        }
    }
}

const HEAD: [&str; 5] = ["SCOPE", "ID", "EXPIRES", "GRANTED BY", "PURPOSE"];

fn row(grant: &Grant) -> [String; 5] {
    [
        grant.scope.to_string(),
        grant.id.to_string(),
        output::time(grant.expires_at),
        grant.granted_by.clone(),
        grant.purpose.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}
