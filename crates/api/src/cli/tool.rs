//! `portcullis tool`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use http::Method;
use portcullis_wire::api::{RegisterTool, Tool, ToolDetail, UpdateTool};

use super::error::CliError;
use super::output;
use super::session::{Session, read_text};

const MAX_FILE_BYTES: u64 = 512 << 10;

/// Which tool.
#[derive(Debug, Args)]
pub struct Which {
    /// The tenant's slug or id
    #[arg(long)]
    tenant: String,
    /// Its name (orders.export) or id
    tool: String,
}

/// What can be done with tools.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the tools of a tenant
    List {
        /// The tenant's slug or id
        #[arg(long)]
        tenant: String,
    },
    /// Show one tool with its definitions
    Show(Which),
    /// Register a tool of another system, or give one that is there another version
    Add {
        /// The tenant's slug or id
        #[arg(long)]
        tenant: String,
        /// A JSON file with `definition`, `connector` and `config`
        #[arg(short, long)]
        file: PathBuf,
    },
    /// Let a tool be called
    Enable(Which),
    /// Let a tool be called no more
    Disable(Which),
}

/// Runs the command.
///
/// # Errors
/// The server refuses or cannot be reached.
pub async fn run(command: Command, mut session: Session<'_>) -> Result<(), CliError> {
    match command {
        Command::List { tenant } => {
            let client = session.client(Some(&tenant))?;
            let path = ["tenants", tenant.as_str(), "tools"];
            let list: Vec<Tool> = client.list(&path, &[], usize::MAX).await?;
            let head = [
                "NAME", "ENABLED", "SCOPE", "RISK", "MUTATING", "VERSION", "SHA-256",
            ];
            session.output.list(&list, head, |tool| {
                [
                    tool.name.clone(),
                    tool.enabled.to_string(),
                    tool.scope.as_str().to_owned(),
                    tool.risk.as_str().to_owned(),
                    tool.mutating.to_string(),
                    tool.current_version.to_string(),
                    tool.sha256.chars().take(12).collect(),
                ]
            })
        }
        Command::Show(which) => {
            let client = session.client(Some(&which.tenant))?;
            let detail: ToolDetail = client.get(&which.path()).await?.value;
            session.output.value(&detail, card)
        }
        Command::Add { tenant, file } => add(&tenant, &file, session).await,
        Command::Enable(which) => set_enabled(which, true, session).await,
        Command::Disable(which) => set_enabled(which, false, session).await,
    }
}

impl Which {
    fn path(&self) -> [&str; 4] {
        ["tenants", &self.tenant, "tools", &self.tool]
    }
}

async fn add(tenant: &str, file: &Path, mut session: Session<'_>) -> Result<(), CliError> {
    let text = read_text(file, MAX_FILE_BYTES)?;
    let body: RegisterTool = serde_json::from_str(&text)
        .map_err(|error| CliError::Usage(format!("{}: {error}", file.display())))?;
    let client = session.client(Some(tenant))?;
    let list = ["tenants", tenant, "tools"];
    let own = ["tenants", tenant, "tools", &body.definition.name];
    let tool: Tool = match client.get::<ToolDetail>(&own).await {
        Ok(present) => {
            let etag = present.etag.as_deref();
            client.change(Method::PUT, &own, etag, &body).await?.value
        }
        Err(CliError::Refused(problem)) if problem.status == 404 => {
            client.post(&list, &body).await?.value
        }
        Err(error) => return Err(error),
    };
    session.output.value(&tool, |tool| {
        output::pairs(&[
            ("name", tool.name.clone()),
            ("connector", tool.connector.clone()),
            ("version", tool.current_version.to_string()),
            ("sha-256", tool.sha256.clone()),
        ])
    })
}

async fn set_enabled(
    which: Which,
    enabled: bool,
    mut session: Session<'_>,
) -> Result<(), CliError> {
    let client = session.client(Some(&which.tenant))?;
    let path = which.path();
    let present = client.get::<ToolDetail>(&path).await?;
    let etag = present.etag.as_deref();
    let body = UpdateTool { enabled };
    let changed = client.change(Method::PATCH, &path, etag, &body).await?;
    session.output.value(&changed.value, |tool: &Tool| {
        output::pairs(&[
            ("name", tool.name.clone()),
            ("enabled", tool.enabled.to_string()),
        ])
    })
}

fn card(detail: &ToolDetail) -> String {
    let tool = &detail.tool;
    let mut text = output::pairs(&[
        ("name", tool.name.clone()),
        ("id", tool.id.to_string()),
        ("title", tool.title.clone()),
        ("connector", tool.connector.clone()),
        ("enabled", tool.enabled.to_string()),
        ("scope", tool.scope.as_str().to_owned()),
        ("risk", tool.risk.as_str().to_owned()),
        ("mutating", tool.mutating.to_string()),
    ]);
    for version in &detail.versions {
        text.push_str(&output::pairs(&[
            ("version", version.number.to_string()),
            ("sha-256", version.sha256.clone()),
            ("added", output::time(Some(version.created_at))),
        ]));
    }
    text
}
