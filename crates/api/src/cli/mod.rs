//! The command line of the management API. It speaks to a running server over HTTP and to nothing
//! else: no command here opens a database or reads the server's keys.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 the command line is not understood, 3 the server
//! cannot be reached, 4 the credentials do not work or their role does not allow it, 5 what was begun is
//! in force but not finished, 6 a check found what does not work, 7 checks only warned.

pub mod access;
pub mod claim;
pub mod client;
pub mod connect;
pub mod connection;
pub mod credentials;
pub mod doctor;
pub mod egress;
pub mod error;
pub mod grant;
pub mod host;
pub mod limits;
pub mod operator;
pub mod output;
pub mod policy;
pub mod principal;
pub mod records;
pub mod secret_file;
pub mod service_token;
mod session;
pub mod stdio;
pub mod switch;
pub mod tenant;
pub mod ticket;
pub mod token;
pub mod tool;

use std::io::Write;

use clap::Subcommand;
use portcullis_domain::Clock;

pub use error::CliError;
pub use operator::OperatorFile;
pub use secret_file::SecretFileError;
pub use session::Options;

use output::Output;
use session::Session;

/// A command that needs nothing but the HTTP API.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tenants of the platform
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Agents, people and services of a tenant, and their client secrets
    #[command(subcommand)]
    Principal(principal::Command),
    /// Scopes that a principal may ask for
    #[command(subcommand)]
    Grant(grant::Command),
    /// Rates, concurrency, money and stop rules
    #[command(subcommand)]
    Limits(limits::Command),
    /// Tools of a tenant's catalog
    #[command(subcommand)]
    Tool(tool::Command),
    /// Changes that people have agreed to
    #[command(subcommand)]
    Ticket(ticket::Command),
    /// Idempotency keys of mutating calls, and those of unknown outcome
    #[command(subcommand)]
    Claim(claim::Command),
    /// Hosts that a tenant's tools may call
    #[command(subcommand)]
    Egress(egress::Command),
    /// Kill switches: stop calls, lift, see what is stopped, measure how fast that goes
    #[command(subcommand)]
    Switch(switch::Command),
    /// Policy versions of a tenant
    #[command(subcommand)]
    Policy(policy::Command),
    /// Signed records of calls and changes
    Records(records::Arguments),
    /// Credentials of this API
    #[command(subcommand)]
    ServiceToken(service_token::Command),
    /// What an MCP host or an agent needs
    #[command(flatten)]
    Host(host::Command),
    /// Print the API's description (OpenAPI 3.1)
    Openapi,
}

/// Runs a command and tells its exit code. Results go to `out`, hints and errors to `hints`.
pub async fn run(
    command: Command,
    options: &Options,
    clock: &dyn Clock,
    out: &mut (dyn Write + Send),
    hints: &mut (dyn Write + Send),
) -> u8 {
    let result = {
        let output = Output::new(options.json, &mut *out, &mut *hints);
        dispatch(command, Session::new(options, clock, output)).await
    };
    match result {
        Ok(()) => error::EXIT_OK,
        // Whoever reads has seen enough.
        Err(CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            error::EXIT_OK
        }
        Err(error) => {
            // Where standard error is gone too, the exit code still tells.
            let _ = writeln!(hints, "portcullis: {error}");
            error.exit_code()
        }
    }
}

async fn dispatch(command: Command, session: Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Tenant(command) => tenant::run(command, session).await,
        Command::Principal(command) => principal::run(command, session).await,
        Command::Grant(command) => grant::run(command, session).await,
        Command::Limits(command) => limits::run(command, session).await,
        Command::Tool(command) => tool::run(command, session).await,
        Command::Ticket(command) => ticket::run(command, session).await,
        Command::Claim(command) => claim::run(command, session).await,
        Command::Egress(command) => egress::run(command, session).await,
        Command::Switch(command) => switch::run(command, session).await,
        Command::Policy(command) => policy::run(command, session).await,
        Command::Records(arguments) => records::run(arguments, session).await,
        Command::ServiceToken(command) => service_token::run(command, session).await,
        Command::Host(command) => host::run(command, session).await,
        Command::Openapi => openapi(session),
    }
}

/// The description of the API that this binary serves; no server is asked.
fn openapi(mut session: Session<'_>) -> Result<(), CliError> {
    let text = crate::v1::openapi_json().map_err(|error| CliError::Output(error.into()))?;
    session.output.line(text.trim_end())
}

#[cfg(test)]
mod tests;
