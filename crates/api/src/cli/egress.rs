//! `portcullis egress`.

use std::collections::BTreeMap;

use clap::Subcommand;
use http::Method;
use portcullis_wire::api::{EgressAllowlist, EgressCheck, EgressStep, PutEgressAllowlist};

use super::client::Client;
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
        /// Which list
        #[command(flatten)]
        place: Place,
        /// `host` or, for the names below it, `*.host`, at the ports 80 and 443; or either with `:port`;
        /// none closes the list
        hosts: Vec<String>,
    },
    /// Let a tenant's tools call these hosts as well
    Allow {
        /// Which list
        #[command(flatten)]
        place: Place,
        /// As `set` takes them
        #[arg(required = true)]
        hosts: Vec<String>,
    },
    /// Let a tenant's tools call these hosts no longer
    Disallow {
        /// Which list
        #[command(flatten)]
        place: Place,
        /// As `show` shows them
        #[arg(required = true)]
        hosts: Vec<String>,
    },
    /// Explain step by step whether a tool may reach a URL; nothing is called (exit 1 where it may not)
    Check {
        /// The tenant's slug or id
        #[arg(long)]
        tenant: String,
        /// The tool whose list counts beside the tenant's
        #[arg(long, default_value = "web.fetchSafe")]
        tool: String,
        /// The URL
        url: String,
    },
}

/// Which list.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The tenant's slug or id
    #[arg(long)]
    tenant: String,
    /// The list of this tool alone [default: that of every tool]
    #[arg(long)]
    tool: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// The server refuses or cannot be reached, or a URL that was asked about may not be reached.
pub async fn run(command: Command, mut session: Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Show { tenant } => {
            let client = session.client(Some(&tenant))?;
            let list = client.get(&path(&tenant)).await?;
            session.output.value(&list.value, card)
        }
        Command::Set { place, hosts } => {
            change(place, session, |list| list.clone_from(&hosts)).await
        }
        Command::Allow { place, hosts } => {
            let add = |list: &mut Vec<String>| {
                for host in &hosts {
                    if !list.contains(host) {
                        list.push(host.clone());
                    }
                }
            };
            change(place, session, add).await
        }
        Command::Disallow { place, hosts } => {
            change(place, session, |list| {
                list.retain(|one| !hosts.contains(one));
            })
            .await
        }
        Command::Check { tenant, tool, url } => check(&tenant, tool, url, session).await,
    }
}

const fn path(tenant: &str) -> [&str; 3] {
    ["tenants", tenant, "egress-allowlist"]
}

/// Changes one list and leaves the others as they are. Somebody else's change in between is an error.
async fn change(
    place: Place,
    mut session: Session<'_>,
    change: impl FnOnce(&mut Vec<String>),
) -> Result<(), CliError> {
    let Place { tenant, tool } = place;
    let client = session.client(Some(&tenant))?;
    let path = path(&tenant);
    let present = client.get::<EgressAllowlist>(&path).await?;
    let EgressAllowlist {
        mut hosts,
        mut tools,
        ..
    } = present.value;
    match tool {
        None => change(&mut hosts),
        Some(tool) => {
            let list = tools.entry(tool.clone()).or_default();
            change(list);
            if list.is_empty() {
                tools.remove(&tool);
            }
        }
    }
    let body = PutEgressAllowlist { hosts, tools };
    let set = client
        .change(Method::PUT, &path, present.etag.as_deref(), &body)
        .await?;
    session.output.value(&set.value, card)
}

async fn check(
    tenant: &str,
    tool: String,
    url: String,
    mut session: Session<'_>,
) -> Result<(), CliError> {
    let client: Client = session.client(Some(tenant))?;
    let path = ["tenants", tenant, "egress-check"];
    let query = [("url", url), ("tool", tool)];
    let check: EgressCheck = client.get_with(&path, &query).await?.value;
    session.output.value(&check, explained)?;
    if check.may_be_reached {
        return Ok(());
    }
    let refuses = check.steps.iter().find(|step| step.passed == Some(false));
    let words = refuses.map_or_else(String::new, |step| format!("{}: {}", step.step, step.found));
    Err(CliError::Failed(format!("it may not be reached ({words})")))
}

fn explained(check: &EgressCheck) -> String {
    let head = ["STEP", "PASSED", "FOUND", "REMEDY"];
    output::table_of(&check.steps, head, |step: &EgressStep| {
        let passed = match step.passed {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "-",
        };
        [
            step.step.clone(),
            passed.to_owned(),
            step.found.clone(),
            step.remedy.clone().unwrap_or_default(),
        ]
    })
}

fn card(list: &EgressAllowlist) -> String {
    let mut pairs = vec![("every tool".to_owned(), written(&list.hosts))];
    pairs.extend(per_tool(&list.tools));
    pairs.push(("version".to_owned(), list.version.to_string()));
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, text)| (name.as_str(), text.clone()))
        .collect();
    output::pairs(&pairs)
}

fn per_tool(tools: &BTreeMap<String, Vec<String>>) -> impl Iterator<Item = (String, String)> {
    tools
        .iter()
        .map(|(tool, hosts)| (tool.clone(), written(hosts)))
}

fn written(hosts: &[String]) -> String {
    if hosts.is_empty() {
        "none".to_owned()
    } else {
        hosts.join(", ")
    }
}
