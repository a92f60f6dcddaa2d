//! Installing Debian's PostgreSQL where we may: as root, or with `sudo` that asks nothing.
//!
//! The distribution's package makes and starts a cluster of its own unless told otherwise before;
//! none may be left running because of us.

use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::Uid;
use tracing::info;

use super::super::error::UpError;

/// Each step says nothing unless it fails. Only the commented-out default is changed, so that an
/// administrator's own choice stays.
const STEPS: &str = r"
set -eu
export DEBIAN_FRONTEND=noninteractive
get='apt-get -qq -o DPkg::Lock::Timeout=120'
$get update
$get install -y --no-install-recommends postgresql-common
conf=/etc/postgresql-common/createcluster.conf
if [ -f $conf ]; then
  sed -i 's/^# *create_main_cluster *=.*/create_main_cluster = false/' $conf
  grep -q '^create_main_cluster' $conf || echo 'create_main_cluster = false' >>$conf
fi
$get install -y --no-install-recommends postgresql
";

/// Installs the server if this is Debian and we may; returns what else the user can do.
pub(super) fn install(needed: Option<u32>) -> Result<String, UpError> {
    let package = match needed {
        Some(major) => format!("postgresql-{major}"),
        None => "postgresql".to_owned(),
    };
    let by_hand = format!("Install it (on Debian: apt-get install {package})");
    if needed.is_some() || !Path::new("/etc/debian_version").exists() {
        return Ok(format!(
            "{by_hand}, or put its folder of binaries into PATH"
        ));
    }
    let mut command = if Uid::effective().is_root() {
        Command::new("sh")
    } else if sudo_asks_nothing() {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "sh"]);
        sudo
    } else {
        return Ok(format!("{by_hand} as root, then start again"));
    };
    info!("installing PostgreSQL from the distribution's packages");
    let output = command
        .args(["-c", STEPS])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| UpError::Program {
            program: "apt-get".to_owned(),
            reason: error.to_string(),
        })?;
    if output.status.success() {
        Ok(by_hand)
    } else {
        Err(UpError::Program {
            program: "apt-get install postgresql".to_owned(),
            reason: format!("{}. {by_hand} by hand", last_line(&output.stderr)),
        })
    }
}

fn sudo_asks_nothing() -> bool {
    Command::new("sudo")
        .args(["-n", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The last line that says something.
pub(super) fn last_line(output: &[u8]) -> String {
    String::from_utf8_lossy(output)
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it said nothing")
        .trim()
        .to_owned()
}
