//! `cargo xtask`: everything that a person or CI runs, so that both run the same.
//!
//! It depends on next to nothing, so that it is there at once; what it needs beside Rust it installs
//! where it may, and otherwise names.

mod attack;
mod bench;
mod checks;
mod faults;
mod outcome;
mod owasp;
mod prepare;
mod scratch;
mod tools;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Tasks of the Portcullis workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build Portcullis and start the whole platform on this machine.
    Up {
        /// Build with optimisations.
        #[arg(long)]
        release: bool,
        /// What `portcullis up` takes.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run every check and every test, and name what was skipped.
    Test {
        /// Fail where no container engine answers, instead of testing on the embedded PostgreSQL.
        #[arg(long)]
        containers: bool,
    },
    /// Measure the platform beside bare servers, in one run, and print the table.
    Bench {
        /// What the comparison takes; `--help` after `--` tells.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Kill, cut, drop and repeat on several replicas, and print what held.
    Faults {
        /// Build with optimisations.
        #[arg(long)]
        release: bool,
        /// What the scenarios take; `--help` after `--` tells.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Attack the outbound client, and print what was let through: nothing.
    AttackEgress {
        /// What the attack takes; `--help` after `--` tells.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Renew what the compiler knows of the databases, `crates/store/.sqlx`.
    Prepare {
        /// Only say whether it is still right.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().task {
        Task::Up { release, arguments } => up(release, &arguments),
        Task::Test { containers } => checks::run(containers),
        Task::Bench { arguments } => bench::run(&arguments),
        Task::Faults { release, arguments } => faults::run(release, &arguments),
        Task::AttackEgress { arguments } => attack::egress(&arguments),
        Task::Prepare { check } => {
            prepare::run(check)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Becomes `portcullis up`, so that Ctrl-C and exit code are its own.
fn up(release: bool, arguments: &[String]) -> Result<ExitCode> {
    let mut command = cargo();
    command.args(["run", "--package", "portcullis-api", "--bin", "portcullis"]);
    if release {
        command.arg("--release");
    }
    command.args(["--", "up"]).args(arguments);
    Err(command.exec()).context("cannot run cargo")
}

/// The cargo that runs us, in the workspace's root.
fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root());
    command
}

/// The workspace's root.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}
