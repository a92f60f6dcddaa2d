//! The hosts on this machine: whether what their configuration starts is there.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::row::Report;
use crate::cli::connect::{self, Installed};
use crate::cli::error::CliError;

/// Checks every host, and gives back the connection files that they name and that are there.
///
/// # Errors
/// There is no home directory.
pub(super) fn check(
    report: &mut Report,
    config_home: Option<&Path>,
) -> Result<BTreeSet<PathBuf>, CliError> {
    let mut files = BTreeSet::new();
    let mut named = 0_usize;
    for host in connect::known(config_home)? {
        match host.servers {
            Ok(servers) => {
                named = named.saturating_add(servers.len());
                for server in servers {
                    let subject = format!("{} in {}", server.name, host.title);
                    if starts(report, &subject, &host.name, &server) {
                        files.insert(server.connection);
                    }
                }
            }
            Err(error) => report.error(("host", host.title), &error),
        }
    }
    if named == 0 {
        report.skipped(
            ("host", ""),
            "no host's configuration names Portcullis; `portcullis connect` writes it",
        );
    }
    Ok(files)
}

/// Whether the host can start the bridge.
fn starts(report: &mut Report, subject: &str, host: &str, server: &Installed) -> bool {
    let again = format!("portcullis connect {host} --tenant TENANT --principal PRINCIPAL");
    let Installed {
        command,
        connection,
        ..
    } = server;
    if !connection.exists() {
        report.failed(
            ("host", subject),
            format!("there is no connection file at {}", connection.display()),
            again,
        );
        return false;
    }
    if !command.is_absolute() {
        report.warning(
            ("host", subject),
            format!(
                "it starts `{}`, which is wherever the host's PATH says",
                command.display()
            ),
            again,
        );
    } else if !runs(command) {
        report.failed(
            ("host", subject),
            format!("there is no program at {}", command.display()),
            again,
        );
    } else {
        report.ok(
            ("host", subject),
            "the program and the connection file are there",
        );
    }
    true
}

fn runs(program: &Path) -> bool {
    std::fs::metadata(program)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
