//! The binary `portcullis`: reads the command line and hands over. Nothing is decided here.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use portcullis_api::cli;
use portcullis_api::config::{self, Config, Environment};
use portcullis_api::platform::{self, SystemClock};
use portcullis_api::serve::{self, Addresses};
use portcullis_api::up::{self, UpArgs};

/// Long-lived buffers of many sizes from many threads: the system's allocator keeps more of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A gate before every tool that an agent calls.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version)]
struct Arguments {
    #[command(flatten)]
    client: cli::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the whole platform on this machine, with demo data
    Up(UpArgs),
    /// Run a replica
    Serve(ConfigFile),
    /// Bring the databases to this version
    Migrate(ConfigFile),
    #[command(flatten)]
    Client(cli::Command),
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl ConfigFile {
    fn load(&self) -> Result<Config> {
        Ok(config::load(&self.config, &Environment::of_process()?)?)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(code) => code,
        Err(error) => {
            // Where standard error is gone too, the exit code still tells.
            let _closed = writeln!(io::stderr(), "portcullis: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Says where a replica listens, for a person or, in one line of JSON, for a program.
fn tell(addresses: Addresses, json: bool) -> io::Result<()> {
    let Addresses {
        listen,
        https,
        admin,
    } = addresses;
    let mut out = io::stdout().lock();
    if json {
        let told = serde_json::json!({ "listen": listen, "https": https, "admin": admin });
        writeln!(out, "{told}")?;
    } else {
        writeln!(out, "listening on {listen}")?;
        if let Some(https) = https {
            writeln!(out, "listening on {https} for HTTPS")?;
        }
        if let Some(admin) = admin {
            writeln!(out, "listening on {admin} for metrics and health")?;
        }
    }
    out.flush()
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    match arguments.command {
        Command::Up(args) => {
            let json = arguments.client.json;
            up::run(args, json, platform::shutdown_on_signals()?).await?;
        }
        Command::Serve(file) => {
            let config = file.load()?;
            platform::install_logs(&config.telemetry)?;
            let json = arguments.client.json;
            let tell = |addresses| tell(addresses, json);
            serve::run(config, tell, platform::shutdown_on_signals()?).await?;
        }
        Command::Migrate(file) => serve::migrate(&file.load()?).await?,
        Command::Client(command) => {
            let (mut out, mut hints) = (io::stdout(), io::stderr());
            let client = &arguments.client;
            let code = cli::run(command, client, &SystemClock, &mut out, &mut hints).await;
            return Ok(ExitCode::from(code));
        }
    }
    Ok(ExitCode::SUCCESS)
}
