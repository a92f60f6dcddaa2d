//! Commands on the side of an MCP host: what connects it to a tenant's endpoint.

use clap::Subcommand;

use super::error::CliError;
use super::session::Session;
use super::{connect, stdio, token};

/// What to do for a host.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Get an access token for a principal and print it
    Token(token::Arguments),
    /// Put the bridge into an MCP host's configuration, or take it out again
    Connect(connect::Arguments),
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
        Command::Stdio(arguments) => stdio::run(arguments, session).await,
    }
}
