//! `portcullis policy`.

use std::path::PathBuf;

use clap::Subcommand;
use portcullis_domain::ToolDefinition;
use portcullis_mcp_runtime::connectors::native;
use portcullis_wire::api::{PolicyDiagnostic, PolicyVersion, PublishPolicy, Tool, ToolDetail};

use super::client::Client;
use super::error::CliError;
use super::output;
use super::session::{Session, read_text};
use crate::v1::outputs;
use crate::v1::policies::{diagnostic, shape};

const MAX_FILE_BYTES: u64 = 512 << 10;
const MAX_TOOLS_BYTES: u64 = 16 << 20;

/// What can be done with policies.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compile a policy and run its tests, here; nothing is sent
    Check {
        /// The YAML file
        file: PathBuf,
        /// Check it against this tenant's enabled tools, as the server lists them (slug or id)
        #[arg(long)]
        tenant: Option<String>,
        /// Check it against the definitions in this JSON file [default: the native tools]
        #[arg(long, value_name = "FILE", conflicts_with = "tenant")]
        tools: Option<PathBuf>,
    },
    /// Send a policy as a draft
    Draft {
        /// The tenant's slug or id
        #[arg(long)]
        tenant: String,
        /// The YAML file
        file: PathBuf,
    },
    /// Put a version in force
    Publish {
        /// The tenant's slug or id
        #[arg(long)]
        tenant: String,
        /// The version's number
        number: i64,
        /// Accept what the compiler warns of
        #[arg(long)]
        accept_warnings: bool,
    },
    /// Show the versions of a tenant
    List {
        /// The tenant's slug or id
        #[arg(long)]
        tenant: String,
    },
    /// Print a version's text
    Show {
        /// The tenant's slug or id
        #[arg(long)]
        tenant: String,
        /// The version's number
        number: i64,
    },
}

/// Runs the command.
///
/// # Errors
/// The policy does not hold, or the server refuses or cannot be reached.
pub async fn run(command: Command, mut session: Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Check {
            file,
            tenant,
            tools,
        } => check(file, tenant, tools, session).await,
        Command::Draft { tenant, file } => {
            let text = read_text(&file, MAX_FILE_BYTES)?;
            let client = session.client(Some(&tenant))?;
            let path = ["tenants", tenant.as_str(), "policies"];
            let version: PolicyVersion = client.post_yaml(&path, text).await?.value;
            session.output.value(&version, card)?;
            session.output.hint(&format!(
                "Next: portcullis policy publish --tenant {tenant} {}",
                version.number
            ))
        }
        Command::Publish {
            tenant,
            number,
            accept_warnings,
        } => {
            let client = session.client(Some(&tenant))?;
            let number = number.to_string();
            let path = ["tenants", tenant.as_str(), "policies", number.as_str()];
            let present = client.get::<PolicyVersion>(&path).await?;
            let publish = [&path[..], &["publish"]].concat();
            let body = PublishPolicy { accept_warnings };
            let etag = present.etag.as_deref();
            let published = client.post_to_version(&publish, etag, &body).await;
            let published = published.map_err(name_the_option)?;
            session.output.value(&published.value, card)
        }
        Command::List { tenant } => {
            let client = session.client(Some(&tenant))?;
            let path = ["tenants", tenant.as_str(), "policies"];
            let list: Vec<PolicyVersion> = client.list(&path, &[], usize::MAX).await?;
            let head = ["NUMBER", "STATUS", "SHA-256", "WRITTEN BY", "PUBLISHED"];
            session.output.list(&list, head, |version| {
                [
                    version.number.to_string(),
                    version.status.as_str().to_owned(),
                    version.sha256.chars().take(12).collect(),
                    version.created_by.clone(),
                    output::time(version.published_at),
                ]
            })
        }
        Command::Show { tenant, number } => {
            let client = session.client(Some(&tenant))?;
            let number = number.to_string();
            let path = ["tenants", tenant.as_str(), "policies", number.as_str()];
            let version: PolicyVersion = client.get(&path).await?.value;
            session.output.value(&version, |version| {
                version.source.clone().unwrap_or_default()
            })
        }
    }
}

/// A refusal for warnings says which option accepts them.
fn name_the_option(error: CliError) -> CliError {
    let CliError::Refused(mut problem) = error else {
        return error;
    };
    if problem.facts.contains_key("diagnostics") {
        let remedy = "Read the warnings, then publish again with --accept-warnings";
        problem.remedy = Some(remedy.to_owned());
    }
    CliError::Refused(problem)
}

async fn check(
    file: PathBuf,
    tenant: Option<String>,
    tools: Option<PathBuf>,
    mut session: Session<'_>,
) -> Result<(), CliError> {
    let text = read_text(&file, MAX_FILE_BYTES)?;
    let definitions = match (tenant, tools) {
        (Some(tenant), _) => of_server(&session.client(Some(&tenant))?, &tenant).await?,
        (None, Some(path)) => {
            let text = read_text(&path, MAX_TOOLS_BYTES)?;
            serde_json::from_str(&text)
                .map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))?
        }
        (None, None) => native::definitions(),
    };
    let shapes: Vec<_> = definitions.iter().map(shape).collect();
    let (found, holds) = match portcullis_policy::load(&text, &shapes) {
        Ok(loaded) => {
            let broken = outputs::broken(&loaded.policy, &definitions);
            let holds = broken.is_empty();
            (broken.into_iter().chain(loaded.warnings).collect(), holds)
        }
        Err(found) => (found, false),
    };
    let found: Vec<PolicyDiagnostic> = found.into_iter().map(diagnostic).collect();
    let place = file.display();
    session.output.value(&found, |found| {
        let mut lines = found
            .iter()
            .map(|found| {
                format!(
                    "{place}:{}:{}: {}: {}; {}\n",
                    found.line,
                    found.column,
                    found.severity.as_str(),
                    found.message,
                    found.remedy
                )
            })
            .collect::<Vec<_>>()
            .concat();
        if holds {
            lines.push_str("The policy holds.");
        }
        lines
    })?;
    if holds {
        Ok(())
    } else {
        Err(CliError::Failed(format!(
            "{place} does not hold; correct the places above"
        )))
    }
}

/// The definitions of the tenant's enabled tools, as the server compiles against.
async fn of_server(client: &Client, tenant: &str) -> Result<Vec<ToolDefinition>, CliError> {
    let path = ["tenants", tenant, "tools"];
    let tools: Vec<Tool> = client.list(&path, &[], usize::MAX).await?;
    let mut definitions = Vec::new();
    for tool in tools.iter().filter(|tool| tool.enabled) {
        let path = [&path[..], &[tool.name.as_str()]].concat();
        let detail: ToolDetail = client.get(&path).await?.value;
        let current = detail.tool.current_version;
        let mut versions = detail.versions.into_iter();
        let version = versions.find(|version| version.number == current);
        definitions.extend(version.map(|version| version.definition));
    }
    Ok(definitions)
}

fn card(version: &PolicyVersion) -> String {
    let mut text = output::pairs(&[
        ("number", version.number.to_string()),
        ("status", version.status.as_str().to_owned()),
        ("sha-256", version.sha256.clone()),
        ("written by", version.created_by.clone()),
        ("written", output::time(Some(version.created_at))),
        ("published", output::time(version.published_at)),
    ]);
    for warning in &version.warnings {
        let line = format!(
            "warning at {}:{}: {}; {}\n",
            warning.line, warning.column, warning.message, warning.remedy
        );
        text.push_str(&line);
    }
    text
}
