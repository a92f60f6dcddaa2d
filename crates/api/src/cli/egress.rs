//! `portcullis egress`.

use clap::Subcommand;
use http::Method;
use portcullis_wire::api::{EgressAllowlist, PutEgressAllowlist};

use super::error::CliError;
use super::output;
use super::session::Session;

/// What can be done with the hosts that tools may call.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the hosts that a tenant's tools may call
    Show {
        /// The tenant's slug or id
        #[arg(long)]
        tenant: String,
    },
    /// Let a tenant's tools call these hosts and no others
    Set {
        /// The tenant's slug or id
        #[arg(long)]
        tenant: String,
        /// `host` for the ports 80 and 443, or `host:port`; none closes the list
        hosts: Vec<String>,
    },
}

/// Runs the command.
///
/// # Errors
/// The server refuses or cannot be reached.
pub async fn run(command: Command, mut session: Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Show { tenant } => {
            let client = session.client(Some(&tenant))?;
            let list = client.get(&path(&tenant)).await?;
            session.output.value(&list.value, card)
        }
        Command::Set { tenant, hosts } => {
            let client = session.client(Some(&tenant))?;
            let path = path(&tenant);
            let present = client.get::<EgressAllowlist>(&path).await?;
            let etag = present.etag.as_deref();
            let body = PutEgressAllowlist { hosts };
            let set = client.change(Method::PUT, &path, etag, &body).await?;
            session.output.value(&set.value, card)
        }
    }
}

const fn path(tenant: &str) -> [&str; 3] {
    ["tenants", tenant, "egress-allowlist"]
}

fn card(list: &EgressAllowlist) -> String {
    let hosts = if list.hosts.is_empty() {
        "none".to_owned()
    } else {
        list.hosts.join(", ")
    };
    output::pairs(&[("hosts", hosts), ("version", list.version.to_string())])
}
