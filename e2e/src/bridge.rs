//! A host that speaks stdio: starts `portcullis stdio` as its configuration says and exchanges a
//! JSON-RPC message a line with it.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::agent::Agent;
use crate::platform::Platform;

/// Longer than the bridge takes for anything.
const SOON: Duration = Duration::from_mins(1);

/// A running bridge. Dropping it kills it.
#[derive(Debug)]
pub struct Bridge {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    errors: ChildStderr,
}

impl Agent {
    /// Writes this agent's connection file into a folder.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn connection(&self, folder: &Path) -> Result<PathBuf> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let path = folder.join("connection.json");
        let mut connection = json!({
            "url": self.mcp_url(),
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        });
        if let (Some(ca_file), Some(members)) = (self.authority(), connection.as_object_mut()) {
            members.insert("ca_file".to_owned(), json!(ca_file));
        }
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(connection.to_string().as_bytes())?;
        Ok(path)
    }
}

impl Bridge {
    /// Starts the bridge with more arguments after `stdio`.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn start(platform: &Platform, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(platform.binary());
        command.arg("stdio").args(arguments);
        Self::spawn(command)
    }

    /// Starts the bridge as a host's configuration says: `{"command": …, "args": […]}`.
    ///
    /// # Errors
    /// The configuration is not in that form, or the program cannot be run.
    pub fn configured(server: &Value) -> Result<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let program = server.get("command").and_then(text);
        let arguments = server.get("args").and_then(Value::as_array);
        let arguments: Vec<_> = arguments.into_iter().flatten().filter_map(text).collect();
        let mut command = Command::new(program.context("find the command")?);
        command.args(arguments);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Result<Self> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().context("start the bridge")?;
        let output = child.stdout.take().context("read its output")?;
        Ok(Self {
            input: child.stdin.take(),
            output: BufReader::new(output).lines(),
            errors: child.stderr.take().context("read its errors")?,
            child,
        })
    }

    /// The process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Writes a line.
    ///
    /// # Errors
    /// The bridge has ended.
    pub async fn write(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("the input is closed")?;
        input.write_all(format!("{line}\n").as_bytes()).await?;
        input.flush().await.context("write to the bridge")
    }

    /// The next message of the bridge.
    ///
    /// # Errors
    /// None comes, or it is no JSON.
    pub async fn read(&mut self) -> Result<Value> {
        let line = timeout(SOON, self.output.next_line()).await;
        let Some(line) = line.context("the bridge says nothing")?? else {
            bail!("the bridge has closed its output");
        };
        serde_json::from_str(&line).with_context(|| format!("read {line}"))
    }

    /// Sends a request of the revision 2026-07-28 and reads the next message.
    ///
    /// # Errors
    /// As [`Self::write`] and [`Self::read`].
    pub async fn ask(&mut self, id: u64, method: &str, params: Value) -> Result<Value> {
        self.write(&request(id, method, params)).await?;
        self.read().await
    }

    /// Closes the input.
    pub fn hang_up(&mut self) {
        self.input = None;
    }

    /// Waits for the end: how it ended, and what it wrote to its errors.
    ///
    /// # Errors
    /// It does not end.
    pub async fn ended(mut self) -> Result<(ExitStatus, String)> {
        let mut words = String::new();
        let read = self.errors.read_to_string(&mut words);
        timeout(SOON, read).await.context("the bridge goes on")??;
        let status = timeout(SOON, self.child.wait()).await;
        Ok((status.context("the bridge goes on")??, words))
    }
}

/// A request of the revision 2026-07-28, in one line.
pub fn request(id: u64, method: &str, mut params: Value) -> String {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    if let Some(params) = params.as_object_mut() {
        params.insert("_meta".to_owned(), meta);
    }
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}
