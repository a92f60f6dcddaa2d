//! Log lines on standard error, and what a panic may say.

use std::io::IsTerminal;

use tracing::Metadata;
use tracing_subscriber::filter::{FilterFn, ParseError};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

use crate::config::{LogFormat, Telemetry};

/// Logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is none.
    #[error("telemetry.log_level is no log filter: {0}. Write a level such as `info`")]
    Filter(#[from] ParseError),
    /// Something else already writes logs.
    #[error("logs are already set up: {0}")]
    Taken(String),
}

/// Sets up log lines for the process, and a panic hook that tells where but not what: a panic's
/// message may hold arguments.
///
/// # Errors
/// The filter cannot be read, or logs are already set up.
pub fn install(telemetry: &Telemetry) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&telemetry.log_level)?;
    let lines = fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let lines: Box<dyn Layer<_> + Send + Sync> = match telemetry.log_format {
        LogFormat::Json => Box::new(lines.json().flatten_event(true)),
        LogFormat::Text => Box::new(lines.with_target(false).compact()),
    };
    let own = FilterFn::new(keeps_secrets);
    let installed = Registry::default()
        .with(lines.with_filter(filter).with_filter(own))
        .try_init();
    installed.map_err(|error| LogError::Taken(error.to_string()))?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location();
        tracing::error!(
            file = place.map_or("unknown", std::panic::Location::file),
            line = place.map_or(0, std::panic::Location::line),
            "panic"
        );
    }));
    Ok(())
}

/// Whether lines from a place hold no words of a client. rmcp's do, at every level: it logs the method
/// names, versions and parameters that it refuses. What is refused, the seam counts or records itself.
fn keeps_secrets(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target != "rmcp" && !target.starts_with("rmcp::")
}
