//! `portcullis claim`.

use clap::{Args, Subcommand};
use portcullis_domain::id::{Claim as ClaimKind, Id};
use portcullis_wire::api::{Claim, ClaimState, Finding, ResolveClaim, ResolvedClaim};

use super::error::CliError;
use super::output;
use super::session::Session;

/// Which claim.
#[derive(Debug, Args)]
pub struct Which {
    /// The tenant's slug or id
    #[arg(long)]
    tenant: String,
    /// The claim's id
    id: Id<ClaimKind>,
}

/// What can be done with claims of idempotency keys.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the claims of a tenant
    List {
        /// The tenant's slug or id
        #[arg(long)]
        tenant: String,
        /// Only those that are claimed, done or unknown
        #[arg(long)]
        state: Option<ClaimState>,
    },
    /// Show one claim
    Show(Which),
    /// Say how a call of unknown outcome ended, as you found out in the system that it called
    Resolve {
        /// Which claim
        #[command(flatten)]
        which: Which,
        /// executed: a repeat stays refused; not-executed: the key is free
        #[arg(long)]
        outcome: Finding,
        /// How you found out
        #[arg(long)]
        reason: String,
    },
}

/// Runs the command.
///
/// # Errors
/// The server refuses or cannot be reached.
pub async fn run(command: Command, mut session: Session<'_>) -> Result<(), CliError> {
    match command {
        Command::List { tenant, state } => {
            let client = session.client(Some(&tenant))?;
            let path = ["tenants", tenant.as_str(), "claims"];
            let query: Vec<_> = state
                .map(|state| ("state", state.as_str().to_owned()))
                .into_iter()
                .collect();
            let list: Vec<Claim> = client.list(&path, &query, usize::MAX).await?;
            session.output.list(&list, HEAD, row)
        }
        Command::Show(which) => {
            let client = session.client(Some(&which.tenant))?;
            let id = which.id.to_string();
            let path = ["tenants", which.tenant.as_str(), "claims", &id];
            let claim: Claim = client.get(&path).await?.value;
            session.output.value(&claim, card)
        }
        Command::Resolve {
            which,
            outcome,
            reason,
        } => {
            let client = session.client(Some(&which.tenant))?;
            let id = which.id.to_string();
            let path = ["tenants", which.tenant.as_str(), "claims", &id, "resolve"];
            let body = ResolveClaim { outcome, reason };
            let resolved: ResolvedClaim = client.post(&path, &body).await?.value;
            session.output.value(&resolved, resolved_card)
        }
    }
}

const HEAD: [&str; 6] = ["ID", "STATE", "TOOL", "PRINCIPAL", "POOL", "CLAIMED"];

fn row(claim: &Claim) -> [String; 6] {
    [
        claim.id.to_string(),
        claim.state.as_str().to_owned(),
        claim.tool.clone(),
        claim.principal.to_string(),
        claim.pool.to_string(),
        output::time(Some(claim.claimed_at)),
    ]
}

fn card(claim: &Claim) -> String {
    let mut lines = vec![
        ("id", claim.id.to_string()),
        ("state", claim.state.as_str().to_owned()),
        ("tool", claim.tool.clone()),
        ("principal", claim.principal.to_string()),
        ("pool", claim.pool.to_string()),
        ("intent", claim.intent.to_string()),
        ("outcome", claim.outcome.to_string()),
        ("claimed", output::time(Some(claim.claimed_at))),
        ("held until", output::time(Some(claim.lease_until))),
    ];
    if claim.completed_at.is_some() {
        lines.push(("completed", output::time(claim.completed_at)));
    }
    if let (Some(by), Some(reason)) = (&claim.resolved_by, &claim.resolved_reason) {
        lines.push(("resolved by", by.clone()));
        lines.push(("resolved for", reason.clone()));
    }
    output::pairs(&lines)
}

fn resolved_card(resolved: &ResolvedClaim) -> String {
    output::pairs(&[
        ("id", resolved.id.to_string()),
        ("tool", resolved.tool.clone()),
        ("principal", resolved.principal.to_string()),
        ("outcome", resolved.outcome.as_str().to_owned()),
        ("resolved by", resolved.resolved_by.clone()),
        ("reason", resolved.reason.clone()),
    ])
}
