//! The official Python client as a test peer, in a virtual environment of its own.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::folder;

/// The client, exactly.
pub const MCP: &str = "mcp==2.3.0";

/// An interpreter that has the client installed: the one that `E2E_PYTHON` names, else one of our
/// own.
///
/// # Errors
/// The environment cannot be made, for example without a network.
pub fn interpreter() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("E2E_PYTHON") {
        return Ok(PathBuf::from(given));
    }
    let _held = folder::lock("python.lock")?;
    let place = folder::base()?.join(format!("python-{}", MCP.replace("==", "-")));
    let (python, whole) = (place.join("bin/python"), place.join("complete"));
    if whole.exists() {
        return Ok(python);
    }
    let mut venv = Command::new("python3");
    run(venv.args(["-m", "venv", "--clear"]).arg(&place))?;
    let mut pip = Command::new(&python);
    run(pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        MCP,
    ]))?;
    File::create(&whole).context("mark the environment as whole")?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("run {command:?}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {words}");
    Ok(())
}

/// Runs one of our client scripts: JSON in over its input, JSON out over its output.
///
/// # Errors
/// The script fails; what it wrote to its errors is in the message.
pub fn script(name: &str, input: &Value) -> Result<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("clients")
        .join(name);
    let mut child = Command::new(interpreter()?)
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {}", path.display()))?;
    let mut stdin = child.stdin.take().context("write to the script")?;
    stdin.write_all(input.to_string().as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output().context("wait for the script")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed: {words}");
    serde_json::from_slice(&output.stdout).with_context(|| {
        format!(
            "read {name}'s answer: {}",
            String::from_utf8_lossy(&output.stdout)
        )
    })
}
