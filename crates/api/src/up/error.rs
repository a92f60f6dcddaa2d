//! Why the local platform could not be started, in one clear line each.

use std::path::PathBuf;

/// Why `portcullis up` stopped.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// There is no place for the data.
    #[error(
        "no folder for the data: neither XDG_DATA_HOME nor HOME is set. Name one with --data-dir"
    )]
    NoHome,
    /// A file or folder could not be used.
    #[error("{operation} {path}: {source}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A certificate could not be made.
    #[error(
        "cannot make a certificate for HTTPS: {0}. Remove the folder `tls` of the data folder and start again"
    )]
    Certificate(#[from] rcgen::Error),
    /// Another process runs on the same data.
    #[error(
        "another `portcullis up`{holder} already uses {folder}. Stop it, or choose another --data-dir"
    )]
    InUse {
        /// The data folder.
        folder: PathBuf,
        /// ` (process 123)`, where it is known.
        holder: String,
    },
    /// Nobody can run the database server.
    #[error(
        "started as root, but there is neither a user `postgres` nor `nobody` to run PostgreSQL as. \
         Create one, or start as an ordinary user"
    )]
    NoAccount,
    /// The user that runs the server cannot reach the data.
    #[error(
        "the user `{account}` that runs PostgreSQL may not enter {blocked}, so it cannot reach \
         {folder}. Allow it (chmod o+x {blocked}), or choose another --data-dir"
    )]
    Unreachable {
        /// The user.
        account: String,
        /// The first folder on the way that it may not enter.
        blocked: PathBuf,
        /// The data folder.
        folder: PathBuf,
    },
    /// No usable server binaries.
    #[error("PostgreSQL {wanted} is needed and was not found. {remedy}")]
    NoPostgres {
        /// Which versions would do.
        wanted: String,
        /// What to do on this system.
        remedy: String,
    },
    /// A program could not be run or failed.
    #[error("{program} failed: {reason}")]
    Program {
        /// The program.
        program: String,
        /// Its last words, or why it did not start.
        reason: String,
    },
    /// The database server did not come up.
    #[error("PostgreSQL did not start: {reason}. Its log is {log}")]
    NotStarted {
        /// What was seen.
        reason: String,
        /// The server's log.
        log: PathBuf,
    },
    /// The database server went away while serving.
    #[error("PostgreSQL stopped by itself ({status}). Its log is {log}. Start again to recover")]
    DatabaseGone {
        /// How it ended.
        status: String,
        /// The server's log.
        log: PathBuf,
    },
    /// The configuration that this platform would run with, changed by the environment.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// Logs could not be set up.
    #[error(transparent)]
    Logs(#[from] crate::platform::LogError),
    /// The replica does not start.
    #[error(transparent)]
    Serve(#[from] crate::serve::ServeError),
    /// A database refused, or is away.
    #[error(transparent)]
    Store(#[from] portcullis_store::StoreError),
    /// The operator's file could not be used.
    #[error(transparent)]
    Operator(#[from] crate::cli::SecretFileError),
    /// The platform's outside address is no URL.
    #[error("the platform's outside address is no URL: {0}")]
    PublicUrl(url::ParseError),
    /// What comes with the program does not fit it.
    #[error("the demo that comes with this program cannot be read: {0}. Build it again")]
    Demo(Box<dyn std::error::Error + Send + Sync>),
    /// A tenant could not get what every new tenant begins with.
    #[error("the demo's tenants could not be furnished: {0}. Start again")]
    Furnish(#[from] crate::v1::ApiError),
    /// The listener has no address.
    #[error("cannot tell the address that is listened on: {0}")]
    Address(std::io::Error),
    /// Nobody reads what there is to tell.
    #[error("cannot write to standard output: {0}")]
    Output(std::io::Error),
    /// No randomness for passwords and keys.
    #[error(transparent)]
    Entropy(#[from] portcullis_keys::entropy::EntropyError),
}

impl UpError {
    /// For `map_err`: what was tried on which path.
    pub(super) fn file(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            operation,
            path,
            source,
        }
    }
}

/// For `map_err`: something that comes with the program is wrong.
pub(super) fn demo(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> UpError {
    UpError::Demo(error.into())
}
