//! What every command starts from: which server, which credentials, where to print.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use portcullis_domain::{Clock, PrincipalName};
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;
use url::Url;

use super::client::{self, Client};
use super::connection::Connection;
use super::error::CliError;
use super::operator::{FILE_NAME, OperatorFile};
use super::output::Output;
use super::secret_file::Exposed;

const MAX_TOKEN_BYTES: u64 = 4_096;

/// Options that every command takes.
#[derive(Debug, Clone, Default, Args)]
pub struct Options {
    /// The server's URL [default: the one of the operator file]
    #[arg(long, global = true, value_name = "URL", env = "PORTCULLIS_SERVER")]
    pub server: Option<Url>,
    /// A file that holds a service token [default: those of the operator file]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "PORTCULLIS_TOKEN_FILE"
    )]
    pub token_file: Option<PathBuf>,
    /// A PEM file of authorities to trust besides the system's [default: the operator file's]
    #[arg(long, global = true, value_name = "FILE", env = "PORTCULLIS_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// The operator file that `portcullis up` wrote [default: operator.json in up's data folder]
    #[arg(long, global = true, value_name = "FILE")]
    pub operator_file: Option<PathBuf>,
    /// Where the user's data lies, as the desktop says it
    #[arg(
        long,
        global = true,
        hide = true,
        value_name = "DIR",
        env = "XDG_DATA_HOME"
    )]
    pub data_home: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// One command under way.
#[derive(Debug)]
pub struct Session<'a> {
    options: &'a Options,
    clock: &'a dyn Clock,
    /// Where it prints.
    pub output: Output<'a>,
}

impl<'a> Session<'a> {
    /// A command with these options.
    pub fn new(options: &'a Options, clock: &'a dyn Clock, output: Output<'a>) -> Self {
        Self {
            options,
            clock,
            output,
        }
    }

    /// What tells the time.
    pub const fn clock(&self) -> &'a dyn Clock {
        self.clock
    }

    /// Where the operator file is.
    ///
    /// # Errors
    /// It is not named, and there is no home directory to look in.
    pub fn operator_path(&self) -> Result<PathBuf, CliError> {
        if let Some(path) = &self.options.operator_file {
            return Ok(path.clone());
        }
        // The data folder that `up` chooses where it is told none.
        let folder = if nix::unistd::geteuid().is_root() {
            Some(PathBuf::from("/var/lib"))
        } else {
            let home = || std::env::home_dir().map(|home| home.join(".local/share"));
            self.options.data_home.clone().or_else(home)
        };
        folder
            .map(|folder| folder.join("portcullis").join(FILE_NAME))
            .ok_or_else(|| {
                CliError::Usage(
                    "there is no home directory: name the operator file with --operator-file"
                        .to_owned(),
                )
            })
    }

    /// The operator file.
    ///
    /// # Errors
    /// It is absent, exposed or malformed.
    pub fn operator(&self) -> Result<OperatorFile, CliError> {
        Ok(OperatorFile::load(&self.operator_path()?)?)
    }

    /// The server to speak to.
    ///
    /// # Errors
    /// None is named, and there is no operator file.
    pub fn server(&self) -> Result<Url, CliError> {
        match &self.options.server {
            Some(server) => Ok(server.clone()),
            None => server_of(&self.operator()?),
        }
    }

    /// The authorities to trust besides the system's, if any are named.
    pub fn ca_file(&self) -> Option<PathBuf> {
        let named = self.options.ca_file.clone();
        // Without an operator file there is nothing that it could name.
        named.or_else(|| self.operator().ok().and_then(|operator| operator.ca_file))
    }

    /// The authorities that the command line or the environment names.
    pub fn named_ca_file(&self) -> Option<PathBuf> {
        self.options.ca_file.clone()
    }

    /// How a principal whose credentials the operator file holds reaches its tenant's endpoint.
    ///
    /// # Errors
    /// The file is unusable, or holds no credentials of that principal.
    pub fn connection(
        &self,
        tenant: &str,
        principal: &PrincipalName,
    ) -> Result<Connection, CliError> {
        let operator = self.operator()?;
        let held = operator.tenants.get(tenant);
        let Some(client) = held.and_then(|held| held.clients.get(principal)) else {
            return Err(CliError::Usage(format!(
                "the operator file holds no credentials of {principal} in {tenant}: create some \
                 with `portcullis principal secret create --tenant {tenant} {principal} --save`",
            )));
        };
        Ok(Connection {
            url: client::below(&self.server()?, &["t", tenant, "mcp"])?,
            client_id: client.client_id,
            client_secret: Some(Exposed(client.client_secret.clone())),
            private_key_file: None,
            ca_file: self.ca_file(),
        })
    }

    /// A client with the credentials for a tenant's things, or for the platform's.
    ///
    /// # Errors
    /// There are no credentials, or they belong to another server.
    pub fn client(&self, tenant: Option<&str>) -> Result<Client, CliError> {
        if let Some(path) = &self.options.token_file {
            let token = read_secret(path, "pst_")?;
            return Client::new(self.server()?, self.ca_file().as_deref(), token);
        }
        let operator = self.operator()?;
        let own = server_of(&operator)?;
        if let Some(asked) = &self.options.server
            && asked.origin() != own.origin()
        {
            return Err(CliError::Usage(format!(
                "the operator file's tokens are for {own}, not for {asked}: name a token of that \
                 server with --token-file"
            )));
        }
        let credentials = tenant.and_then(|slug| operator.tenants.get(slug));
        let token = match credentials {
            Some(credentials) => credentials.owner_token.clone(),
            None => operator.platform_token,
        };
        Client::new(own, self.ca_file().as_deref(), token)
    }

    /// When something ends that lasts `lifetime` from now.
    ///
    /// # Errors
    /// That is beyond what a date can say.
    pub fn end_of(&self, lifetime: humantime::Duration) -> Result<OffsetDateTime, CliError> {
        time::Duration::try_from(*lifetime)
            .ok()
            .and_then(|lifetime| self.clock.now().checked_add(lifetime))
            .and_then(|end| end.replace_nanosecond(0).ok())
            .ok_or_else(|| CliError::Usage("that is too long: say, for example, 30d".to_owned()))
    }
}

fn server_of(operator: &OperatorFile) -> Result<Url, CliError> {
    operator.server.parse().map_err(|error| {
        CliError::Usage(format!(
            "the operator file's server is no URL ({error}): name one with --server"
        ))
    })
}

/// Reads a secret that begins with `prefix` from a file of one line.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub(super) fn read_secret(path: &Path, prefix: &str) -> Result<SecretString, CliError> {
    let failed = |source| CliError::File {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut text = zeroize::Zeroizing::new(String::new());
    file.take(MAX_TOKEN_BYTES)
        .read_to_string(&mut text)
        .map_err(failed)?;
    let secret = text.trim();
    if !secret.starts_with(prefix) || secret.contains(char::is_whitespace) {
        return Err(CliError::Usage(format!(
            "{} holds no text that begins with {prefix}",
            path.display()
        )));
    }
    Ok(SecretString::from(secret))
}

/// Writes a secret to a new file that only its owner can read. A file that is there is left alone.
///
/// # Errors
/// The file is there already, or cannot be written.
pub(super) fn write_secret(path: &Path, secret: &SecretString) -> Result<(), CliError> {
    let failed = |source| CliError::File {
        action: "create",
        path: path.to_owned(),
        source,
    };
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    writeln!(file, "{}", secret.expose_secret()).map_err(failed)
}

/// Reads a text file of a bounded size.
///
/// # Errors
/// The file cannot be read, is no text, or is too large.
pub(super) fn read_text(path: &Path, most: u64) -> Result<String, CliError> {
    let failed = |source| CliError::File {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(most.saturating_add(1))
        .read_to_string(&mut text)
        .map_err(failed)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > most {
        return Err(CliError::Usage(format!(
            "{} is larger than {most} bytes",
            path.display()
        )));
    }
    Ok(text)
}
