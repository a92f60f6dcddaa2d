//! The platform's own database cluster, reached as its superuser through its socket: to look at what
//! is stored, and to take things away from under the platform.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, ensure};

const SUPERUSER: &str = "portcullis_admin";

/// One database of a data directory's cluster.
#[derive(Debug, Clone)]
pub struct Database {
    data: PathBuf,
    name: String,
}

impl Database {
    pub(crate) fn new(data: &Path, name: &str) -> Self {
        Self {
            data: data.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Runs one statement and gives what it prints: a line a row, columns apart by `|`.
    ///
    /// # Errors
    /// The statement fails; the server's words are in the message.
    pub fn query(&self, sql: &str) -> Result<String> {
        let output = self
            .psql()?
            .args(["--command", sql])
            .output()
            .context("run psql")?;
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "psql: {words}");
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// The whole database as `pg_dump` writes it.
    ///
    /// # Errors
    /// `pg_dump` fails.
    pub fn dump(&self) -> Result<String> {
        let output = self.tool("pg_dump")?.output().context("run pg_dump")?;
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "pg_dump: {words}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Opens a session that has run `sql` inside a transaction, and keeps it open: its locks hold
    /// until the value is dropped.
    ///
    /// # Errors
    /// The statement fails.
    pub fn hold(&self, sql: &str) -> Result<Held> {
        let mut child = self
            .psql()?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("run psql")?;
        let mut input = child.stdin.take().context("write to psql")?;
        let output = child.stdout.take().context("read from psql")?;
        writeln!(input, "begin;\n{sql};\nselect 'held';")?;
        input.flush()?;
        let mut lines = BufReader::new(output).lines();
        let held = lines.any(|line| line.is_ok_and(|line| line == "held"));
        ensure!(held, "psql could not run: {sql}");
        Ok(Held {
            child,
            input: Some(input),
        })
    }

    /// Takes the database away: nobody can connect, and nobody who is connected stays.
    ///
    /// # Errors
    /// The server refuses.
    pub fn take_away(&self) -> Result<TakenAway> {
        let outside = Self::new(&self.data, "postgres");
        let name = &self.name;
        outside.query(&format!("alter database {name} allow_connections false"))?;
        outside.query(&format!(
            "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity \
             where datname = '{name}'"
        ))?;
        Ok(TakenAway {
            outside,
            name: name.clone(),
        })
    }

    fn psql(&self) -> Result<Command> {
        let mut command = self.tool("psql")?;
        command
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set", "ON_ERROR_STOP=1"]);
        Ok(command)
    }

    /// A program of PostgreSQL, told where the database is.
    fn tool(&self, name: &str) -> Result<Command> {
        let cluster = self.data.join("postgres");
        let read = |path: PathBuf| {
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        let state = read(cluster.join("postmaster.pid"))?;
        let mut lines = state.lines();
        let port = lines.nth(3).context("find the server's port")?;
        let socket = lines.next().context("find the server's socket")?;
        let password = read(self.data.join("secrets/admin.password"))?;
        let mut command = Command::new(beside(&read(cluster.join("postmaster.opts"))?, name));
        command
            .args(["--host", socket, "--port", port])
            .args(["--username", SUPERUSER, "--dbname", &self.name])
            .env("PGPASSWORD", password.trim())
            .stdin(Stdio::null());
        Ok(command)
    }
}

/// The program beside the server that runs, else the one of the path.
fn beside(options: &str, name: &str) -> PathBuf {
    options
        .split_whitespace()
        .next()
        .and_then(|server| Path::new(server).parent())
        .map(|folder| folder.join(name))
        .filter(|path| path.is_file())
        .unwrap_or_else(|| PathBuf::from(name))
}

/// An open transaction of another session. Dropping it rolls it back.
#[derive(Debug)]
pub struct Held {
    child: Child,
    input: Option<ChildStdin>,
}

impl Drop for Held {
    fn drop(&mut self) {
        // The end of its input ends psql, and the server rolls its transaction back.
        drop(self.input.take());
        let _waited = self.child.wait();
    }
}

/// A database that nobody can reach. Dropping it gives the database back.
#[derive(Debug)]
pub struct TakenAway {
    outside: Database,
    name: String,
}

impl Drop for TakenAway {
    fn drop(&mut self) {
        let name = &self.name;
        let _gone = self
            .outside
            .query(&format!("alter database {name} allow_connections true"));
    }
}
