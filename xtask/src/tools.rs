//! What the checks need beside cargo: found, or installed where that may be done.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cargo;

/// The target that pure crates are checked for.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";
/// What the end-to-end tests' Python has.
const PYTHON_PACKAGES: &[&str] = &["mcp==2.3.0"];

/// Runs a program and says whether it succeeded, saying nothing itself.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether cargo has a subcommand.
pub(crate) fn has_cargo(subcommand: &str) -> bool {
    succeeds(cargo().args([subcommand, "--version"]))
}

/// Whether a container engine answers on this machine.
pub(crate) fn engine_answers() -> bool {
    succeeds(Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]))
}

/// Runs a program to its end; its failure is an error with its last line.
pub(crate) fn must(command: &mut Command) -> Result<()> {
    let name = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    bail!("{name} failed: {}", last.unwrap_or("it said nothing"))
}

/// The folder that everything built goes to.
pub(crate) fn target() -> Result<PathBuf> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    // One field of one line of JSON: a parser for it would cost more than all of this task.
    let folder = text
        .split_once(r#""target_directory":""#)
        .and_then(|(_, rest)| rest.split_once('"'))
        .context("cargo metadata names no target_directory")?
        .0;
    Ok(PathBuf::from(folder))
}

/// Makes sure that the wasm target is there.
pub(crate) fn wasm_target() -> Result<()> {
    let listed = Command::new("rustup")
        .args(["target", "list", "--installed"])
        .output();
    let there = match listed {
        Ok(output) => String::from_utf8_lossy(&output.stdout).contains(WASM),
        // No rustup: the toolchain came from elsewhere, maybe with the target.
        Err(_) => sysroot()?.join("lib/rustlib").join(WASM).is_dir(),
    };
    if there {
        return Ok(());
    }
    must(Command::new("rustup").args(["target", "add", WASM]))
}

fn sysroot() -> Result<PathBuf> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()?;
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

/// Installs packages on Debian where we may.
fn apt_install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let install = format!("$get install -y --no-install-recommends {list}");
    as_administrator(&list, &install)
}

/// Installs Debian's PostgreSQL, without the cluster that the package would make and start.
pub(crate) fn install_postgres() -> Result<()> {
    let script = r"
$get install -y --no-install-recommends postgresql-common
conf=/etc/postgresql-common/createcluster.conf
sed -i 's/^# *create_main_cluster *=.*/create_main_cluster = false/' $conf
grep -q '^create_main_cluster' $conf || echo 'create_main_cluster = false' >>$conf
$get install -y --no-install-recommends postgresql
";
    as_administrator("PostgreSQL 15 to 17", script)
}

/// Whether we may do anything on this machine.
pub(crate) fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout == b"0\n")
}

/// Runs a script of package installation as root or with `sudo` that asks nothing.
fn as_administrator(what: &str, script: &str) -> Result<()> {
    if !Path::new("/etc/debian_version").exists() {
        bail!("install {what} and run again");
    }
    let mut command = if is_root() {
        Command::new("sh")
    } else if succeeds(Command::new("sudo").args(["-n", "true"])) {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "sh"]);
        sudo
    } else {
        bail!("install {what} as root and run again");
    };
    let script = format!(
        "set -eu\nexport DEBIAN_FRONTEND=noninteractive\n\
         get='apt-get -qq -o DPkg::Lock::Timeout=120'\n$get update\n{script}"
    );
    must(command.args(["-c", &script]))
}

/// Makes sure that `curl` is there: tests run the commands that `up` prints.
pub(crate) fn curl() -> Result<()> {
    if succeeds(Command::new("curl").arg("--version")) {
        return Ok(());
    }
    apt_install(&["curl"])
}

/// The Python of the end-to-end tests, made once beside what cargo builds.
pub(crate) fn python() -> Result<PathBuf> {
    let folder = target()?.join("e2e-python");
    let python = folder.join("bin/python");
    let mark = folder.join("packages");
    let wanted = PYTHON_PACKAGES.join("\n");
    let ready = std::fs::read_to_string(&mark).is_ok_and(|text| text == wanted);
    if ready && succeeds(Command::new(&python).args(["-c", "import mcp"])) {
        return Ok(python);
    }
    let make = || {
        let mut command = Command::new("python3");
        command.args(["-m", "venv", "--clear"]).arg(&folder);
        must(&mut command)
    };
    if make().is_err() {
        apt_install(&["python3", "python3-venv"])?;
        make()?;
    }
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    must(pip.args(PYTHON_PACKAGES))?;
    std::fs::write(mark, wanted)?;
    Ok(python)
}

/// The packages of the end-to-end tests' Node.js, installed once beside what cargo builds, as the lock
/// file says. Where the machine's own Node.js is too old for them, a package brings one.
pub(crate) fn node() -> Result<PathBuf> {
    let (project, folder) = (crate::root().join("e2e/node"), target()?.join("e2e-node"));
    std::fs::create_dir_all(&folder)?;
    let mut wanted = Vec::new();
    for file in ["package.json", "package-lock.json", ".npmrc"] {
        let text = std::fs::read(project.join(file)).with_context(|| format!("read {file}"))?;
        std::fs::write(folder.join(file), &text)?;
        wanted.extend(text);
    }
    let mark = folder.join("complete");
    if std::fs::read(&mark).is_ok_and(|known| known == wanted) {
        return Ok(folder);
    }
    if !succeeds(Command::new("npm").arg("--version")) {
        apt_install(&["nodejs", "npm"])?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-progress", "--loglevel=error"]);
    must(npm.current_dir(&folder))?;
    std::fs::write(mark, wanted)?;
    Ok(folder)
}

/// The workspace's crates that must compile to wasm, each by itself.
pub(crate) const PURE: &[&str] = &["domain", "wire", "policy", "redaction", "evidence"];
