//! `portcullis records`.

use clap::Args;
use portcullis_domain::TraceId;
use portcullis_wire::api::Record;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::CliError;
use super::session::Session;

const MOST: usize = 10_000;

/// Which records.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The tenant's slug or id
    #[arg(
        long,
        required_unless_present = "platform",
        conflicts_with = "platform"
    )]
    tenant: Option<String>,
    /// The platform's own changes: its credentials and kill switches
    #[arg(long)]
    platform: bool,
    /// The trace of one call
    #[arg(long, conflicts_with_all = ["from", "to"])]
    trace: Option<TraceId>,
    /// From this time on (RFC 3339)
    #[arg(long, value_parser = moment, required_unless_present = "trace")]
    from: Option<OffsetDateTime>,
    /// Before this time (RFC 3339) [default: now]
    #[arg(long, value_parser = moment)]
    to: Option<OffsetDateTime>,
    /// At most this many
    #[arg(long, default_value_t = 1_000)]
    limit: usize,
}

fn moment(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|error| format!("{error}; write 2025-08-25T00:00:00Z"))
}

/// Runs the command: one record a line with its leaf and signature, or all as one JSON array.
///
/// # Errors
/// The server refuses or cannot be reached.
pub async fn run(arguments: Arguments, mut session: Session<'_>) -> Result<(), CliError> {
    let client = session.client(arguments.tenant.as_deref())?;
    let mut query = Vec::new();
    if let Some(trace) = arguments.trace {
        query.push(("trace_id", trace.to_string()));
    }
    for (name, time) in [("from", arguments.from), ("to", arguments.to)] {
        if let Some(time) = time {
            let text = time
                .format(&Rfc3339)
                .map_err(|error| CliError::Usage(format!("--{name}: {error}")))?;
            query.push((name, text));
        }
    }
    // Without a tenant it is the platform's ledger, which `--platform` asked for.
    let path = match arguments.tenant.as_deref() {
        Some(tenant) => vec!["tenants", tenant, "records"],
        None => vec!["records"],
    };
    let most = arguments.limit.min(MOST);
    let records: Vec<Record> = client.list(&path, &query, most).await?;
    if session.output.is_json() {
        return session.output.value(&records, |_| String::new());
    }
    for record in &records {
        session.output.line(record.record.get())?;
        session.output.line(&format!(
            "  {} in {}  leaf {}  signature {}",
            record.id, record.pool, record.leaf, record.signature
        ))?;
    }
    session.output.hint(&format!("{} record(s)", records.len()))
}
