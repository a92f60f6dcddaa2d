//! Commands on the side of an MCP host: what connects it to a tenant's endpoint.

use clap::Subcommand;

use super::error::CliError;
use super::session::Session;
use super::{connect, doctor, stdio, token};

/// What to do for a host.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Get an access token for a principal and print it
    Token(token::Arguments),
    /// Put the bridge into an MCP host's configuration, or take it out again
    Connect(connect::Arguments),
    /// Check what a host or an operator depends on, and say what helps (exit 6 where something does not
    /// work, 7 where it only warns)
    Doctor(doctor::Arguments),
    /// Bridge a host that speaks MCP over stdio to a tenant's endpoint, and renew its tokens
    Stdio(stdio::Arguments),
}

/// Runs a command.
///
/// # Errors
/// The command's own.
pub async fn run(command: Command, session: Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Token(arguments) => token::run(arguments, session).await,
        Command::Connect(arguments) => connect::run(arguments, session).await,
        Command::Doctor(arguments) => doctor::run(arguments, session).await,
        Command::Stdio(arguments) => stdio::run(arguments, session).await,
    }
}
