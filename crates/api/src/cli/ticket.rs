//! `portcullis ticket`.

use clap::{Args, Subcommand};
use portcullis_domain::id::{Id, Ticket as TicketKind};
use portcullis_wire::api::{CloseTicket, OpenTicket, Ticket, TicketState};
use serde_json::{Map, Value};

use super::error::CliError;
use super::output;
use super::session::Session;

/// Which ticket.
#[derive(Debug, Args)]
pub struct Which {
    /// The tenant's slug or id
    #[arg(long)]
    tenant: String,
    /// The ticket's id
    id: Id<TicketKind>,
}

/// What is agreed to.
#[derive(Debug, Args)]
pub struct Agreed {
    /// The tenant's slug or id
    #[arg(long)]
    tenant: String,
    /// The tool that may be called, e.g. flag.set
    #[arg(long)]
    tool: String,
    /// A bound argument with a text as its value, e.g. env=prod
    #[arg(long = "arg", value_name = "NAME=TEXT", value_parser = text)]
    texts: Vec<(String, Value)>,
    /// A bound argument with JSON as its value, e.g. limit=10
    #[arg(long = "arg-json", value_name = "NAME=JSON", value_parser = json)]
    values: Vec<(String, Value)>,
    /// Why the change is made
    #[arg(long)]
    reason: String,
    /// How long the ticket stays open
    #[arg(long, value_name = "LIFETIME", default_value = "4h")]
    expires_in: humantime::Duration,
}

/// What can be done with change tickets.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Agree to a change: calls that name the ticket have it as a valid one
    Open(Agreed),
    /// End a ticket before its time
    Close {
        /// Which ticket
        #[command(flatten)]
        which: Which,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Show the tickets of a tenant
    List {
        /// The tenant's slug or id
        #[arg(long)]
        tenant: String,
        /// Only those that are open, closed or expired
        #[arg(long)]
        state: Option<TicketState>,
        /// Only those of a tool
        #[arg(long)]
        tool: Option<String>,
    },
    /// Show one ticket
    Show(Which),
}

fn pair(text: &str) -> Result<(&str, &str), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name, value)),
        Some(_) | None => Err("write it as NAME=VALUE".to_owned()),
    }
}

fn text(text: &str) -> Result<(String, Value), String> {
    let (name, value) = pair(text)?;
    Ok((name.to_owned(), Value::from(value)))
}

fn json(text: &str) -> Result<(String, Value), String> {
    let (name, value) = pair(text)?;
    let value = serde_json::from_str(value).map_err(|error| format!("the value: {error}"))?;
    Ok((name.to_owned(), value))
}

/// Runs the command.
///
/// # Errors
/// The server refuses or cannot be reached.
pub async fn run(command: Command, mut session: Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Open(agreed) => open(agreed, session).await,
        Command::Close { which, reason } => {
            let client = session.client(Some(&which.tenant))?;
            let id = which.id.to_string();
            let path = ["tenants", &which.tenant, "tickets", &id, "close"];
            let ticket: Ticket = client.post(&path, &CloseTicket { reason }).await?.value;
            session.output.value(&ticket, card)
        }
        Command::List {
            tenant,
            state,
            tool,
        } => {
            let client = session.client(Some(&tenant))?;
            let path = ["tenants", tenant.as_str(), "tickets"];
            let state = state.map(|state| state.as_str().to_owned());
            let query: Vec<_> = [("state", state), ("tool", tool)]
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect();
            let list: Vec<Ticket> = client.list(&path, &query, usize::MAX).await?;
            session.output.list(&list, HEAD, row)
        }
        Command::Show(which) => {
            let client = session.client(Some(&which.tenant))?;
            let id = which.id.to_string();
            let path = ["tenants", which.tenant.as_str(), "tickets", &id];
            let ticket: Ticket = client.get(&path).await?.value;
            session.output.value(&ticket, card)
        }
    }
}

async fn open(agreed: Agreed, mut session: Session<'_>) -> Result<(), CliError> {
    let mut arguments = Map::new();
    for (name, value) in agreed.texts.into_iter().chain(agreed.values) {
        if arguments.contains_key(&name) {
            return Err(CliError::Usage(format!(
                "the argument {name} is given twice: bind each once"
            )));
        }
        arguments.insert(name, value);
    }
    let body = OpenTicket {
        tool: agreed.tool,
        arguments,
        reason: agreed.reason,
        expires_at: session.end_of(agreed.expires_in)?,
    };
    let client = session.client(Some(&agreed.tenant))?;
    let path = ["tenants", agreed.tenant.as_str(), "tickets"];
    let ticket: Ticket = client.post(&path, &body).await?.value;
    session.output.value(&ticket, card)
}

const HEAD: [&str; 6] = ["ID", "STATE", "TOOL", "ARGUMENTS", "EXPIRES", "REASON"];

fn row(ticket: &Ticket) -> [String; 6] {
    [
        ticket.id.to_string(),
        ticket.state.as_str().to_owned(),
        ticket.tool.clone(),
        bound(ticket),
        output::time(Some(ticket.expires_at)),
        ticket.reason.clone(),
    ]
}

fn bound(ticket: &Ticket) -> String {
    let pairs: Vec<_> = ticket
        .arguments
        .iter()
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name}={text}"),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => format!("{name}={value}"),
        })
        .collect();
    pairs.join(" ")
}

fn card(ticket: &Ticket) -> String {
    let mut lines = vec![
        ("id", ticket.id.to_string()),
        ("state", ticket.state.as_str().to_owned()),
        ("tool", ticket.tool.clone()),
        ("arguments", bound(ticket)),
        ("reason", ticket.reason.clone()),
        ("opened by", ticket.opened_by.clone()),
        ("opened", output::time(Some(ticket.opened_at))),
        ("expires", output::time(Some(ticket.expires_at))),
    ];
    if let Some(by) = &ticket.closed_by {
        lines.push(("closed by", by.clone()));
        lines.push(("closed", output::time(ticket.closed_at)));
    }
    if let Some(reason) = &ticket.closed_reason {
        lines.push(("closed for", reason.clone()));
    }
    output::pairs(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_text_unless_it_is_said_to_be_json() {
        assert_eq!(text("limit=10").unwrap().1, Value::from("10"));
        assert_eq!(json("limit=10").unwrap().1, Value::from(10));
        assert_eq!(text("q=a=b").unwrap(), ("q".to_owned(), Value::from("a=b")));
    }

    #[test]
    fn what_is_no_pair_or_no_json_is_refused() {
        for bad in ["", "name", "=prod"] {
            assert!(text(bad).is_err(), "{bad}");
        }
        assert!(json("name=prod").is_err());
    }
}
