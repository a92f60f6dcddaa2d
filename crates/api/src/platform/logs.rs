//! Log lines on standard error, and what a panic may say.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

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
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let installed = match telemetry.log_format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => lines.with_target(false).compact().try_init(),
    };
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
