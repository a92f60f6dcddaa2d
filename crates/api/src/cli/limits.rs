//! `portcullis limits`.

use std::path::PathBuf;

use clap::Subcommand;
use http::Method;
use portcullis_wire::api::{LimitsSetting, PutLimits};

use super::error::CliError;
use super::output;
use super::session::{Session, read_text};

const MAX_FILE_BYTES: u64 = 64 << 10;

/// What can be done with limits.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set the limits of the principal that the file names, or of the whole tenant
    Set {
        /// The tenant's slug or id
        #[arg(long)]
        tenant: String,
        /// A file in the form of `policies/limits.json`; without `principal` it is for the tenant
        #[arg(short, long)]
        file: PathBuf,
    },
    /// Show the limits of a principal, or of the whole tenant
    Show {
        /// The tenant's slug or id
        #[arg(long)]
        tenant: String,
        /// The principal's name (agent:copilot) or id [default: the whole tenant]
        principal: Option<String>,
    },
}

/// Runs the command.
///
/// # Errors
/// The server refuses or cannot be reached, or the file is not in its form.
pub async fn run(command: Command, mut session: Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Set { tenant, file } => {
            let text = read_text(&file, MAX_FILE_BYTES)?;
            let body: PutLimits = serde_json::from_str(&text)
                .map_err(|error| CliError::Usage(format!("{}: {error}", file.display())))?;
            let name = body.principal.as_ref().map(ToString::to_string);
            let client = session.client(Some(&tenant))?;
            let path = path(&tenant, name.as_deref());
            let present = client.get::<LimitsSetting>(&path).await?;
            let etag = present.etag.as_deref();
            let set = client.change(Method::PUT, &path, etag, &body).await?;
            session.output.value(&set.value, card)
        }
        Command::Show { tenant, principal } => {
            let client = session.client(Some(&tenant))?;
            let limits = client.get(&path(&tenant, principal.as_deref())).await?;
            session.output.value(&limits.value, card)
        }
    }
}

fn path<'a>(tenant: &'a str, principal: Option<&'a str>) -> Vec<&'a str> {
    match principal {
        Some(principal) => vec!["tenants", tenant, "principals", principal, "limits"],
        None => vec!["tenants", tenant, "limits"],
    }
}

fn card(setting: &LimitsSetting) -> String {
    let whose = setting.principal.as_ref();
    output::pairs(&[
        (
            "for",
            whose.map_or_else(|| "the whole tenant".to_owned(), ToString::to_string),
        ),
        ("calls a minute", setting.limits.rpm.to_string()),
        ("burst", setting.limits.burst.to_string()),
        ("at once", setting.limits.concurrency.to_string()),
        ("daily cost", setting.limits.daily_cost.to_string()),
        ("plan depth", setting.stop_rules.max_plan_depth.to_string()),
        ("retries", setting.stop_rules.max_retries.to_string()),
    ])
}
