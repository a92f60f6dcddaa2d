//! The platform's own database cluster, reached as its superuser through its socket: to look at what
//! is stored, and to take things away from under the platform.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::proxy::Server;

const SUPERUSER: &str = "portcullis_admin";

/// One database of a data directory's cluster, or of a server that took the cluster over.
#[derive(Debug, Clone)]
pub struct Database {
    data: PathBuf,
    elsewhere: Option<SocketAddr>,
    name: String,
}

impl Database {
    pub(crate) fn new(data: &Path, name: &str) -> Self {
        Self {
            data: data.to_owned(),
            elsewhere: None,
            name: name.to_owned(),
        }
    }

    /// The same database on a server that took the cluster over.
    pub(crate) fn at(address: SocketAddr, data: &Path, name: &str) -> Self {
        Self {
            elsewhere: Some(address),
            ..Self::new(data, name)
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

    /// Every role and database of the server as `pg_dumpall` writes them, in a file.
    ///
    /// # Errors
    /// `pg_dumpall` fails.
    pub fn dump_all(&self) -> Result<File> {
        let mut file = tempfile::tempfile().context("make a file for a dump")?;
        let output = self
            .tool("pg_dumpall")?
            .stdout(Stdio::from(file.try_clone()?))
            .stderr(Stdio::piped())
            .output()
            .context("run pg_dumpall")?;
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "pg_dumpall: {words}");
        file.rewind()?;
        Ok(file)
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
        let outside = Self {
            name: "postgres".to_owned(),
            ..self.clone()
        };
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

    /// Where the server listens.
    ///
    /// # Errors
    /// It does not run.
    pub fn server(&self) -> Result<Server> {
        if let Some(address) = self.elsewhere {
            return Ok(Server::Tcp(address));
        }
        let path = self.data.join("postgres/postmaster.pid");
        let state =
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let mut lines = state.lines();
        let port = lines.nth(3).context("find the server's port")?;
        let socket = lines.next().context("find the server's socket")?;
        Ok(Server::Unix(
            Path::new(socket).join(format!(".s.PGSQL.{port}")),
        ))
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
        let password = read(self.data.join("secrets/admin.password"))?;
        if let Some(address) = self.elsewhere {
            let (host, port) = (address.ip().to_string(), address.port().to_string());
            let mut command = Command::new(name);
            command.args(["--host", &host, "--port", &port]);
            self.log_in(&mut command, &password);
            return Ok(command);
        }
        let state = read(cluster.join("postmaster.pid"))?;
        let mut lines = state.lines();
        let port = lines.nth(3).context("find the server's port")?;
        let socket = lines.next().context("find the server's socket")?;
        let mut command = Command::new(beside(&read(cluster.join("postmaster.opts"))?, name));
        command.args(["--host", socket, "--port", port]);
        self.log_in(&mut command, &password);
        Ok(command)
    }

    fn log_in(&self, command: &mut Command, password: &str) {
        command
            .args([
                "--username",
                SUPERUSER,
                "--dbname",
                &format!("dbname={}", self.name),
            ])
            .env("PGPASSWORD", password.trim())
            .stdin(Stdio::null());
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
