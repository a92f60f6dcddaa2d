//! Why a command did not succeed, what to do about it, and with which exit code it ends.

use std::fmt::Write as _;
use std::path::PathBuf;

use portcullis_wire::Problem;

use super::secret_file::SecretFileError;

/// The exit code of a command that did what it was asked.
pub const EXIT_OK: u8 = 0;
/// The server refused, or something failed.
pub const EXIT_FAILED: u8 = 1;
/// The command line is not understood.
pub const EXIT_USAGE: u8 = 2;
/// The server cannot be reached.
pub const EXIT_UNREACHABLE: u8 = 3;
/// The credentials do not work, or their role does not allow this.
pub const EXIT_UNAUTHORISED: u8 = 4;

/// What was begun is in force, but not finished: somebody or something has to follow.
pub const EXIT_UNFINISHED: u8 = 5;
/// A check found something that does not work.
pub const EXIT_UNWELL: u8 = 6;
/// Every check found what works, and some found what will not for long, or not for everybody.
pub const EXIT_WARNED: u8 = 7;

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line asks for something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// A file that holds credentials cannot be used.
    #[error(transparent)]
    SecretFile(#[from] SecretFileError),
    /// The server cannot be reached, or broke off.
    #[error(
        "cannot reach the server {server} ({source}): is it running? Start it with `portcullis up`, \
         or name another one with --server"
    )]
    Unreachable {
        /// The server.
        server: String,
        /// Why not.
        source: reqwest::Error,
    },
    /// The server refused.
    #[error("{}", told(.0))]
    Refused(Box<Problem>),
    /// The token endpoint refused (RFC 6749 §5.2).
    #[error("the token endpoint refused: {code}{description}")]
    TokenRefused {
        /// Its error code.
        code: String,
        /// Its description, after a colon.
        description: String,
        /// Whether the client's credentials do not work.
        credentials: bool,
    },
    /// The answer is not what a server of this version says.
    #[error(
        "the server {server} answered {status} with something that this version does not know: \
         is it a Portcullis server of the same version?"
    )]
    Foreign {
        /// The server.
        server: String,
        /// The answer's status.
        status: u16,
    },
    /// A file of this machine.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Something is not as the command needs it.
    #[error("{0}")]
    Failed(String),
    /// What was begun is not finished.
    #[error("{0}")]
    Unfinished(String),
    /// Checks found something.
    #[error("{failed} of the checks failed and {warnings} warned: see what helps above")]
    Unwell {
        /// How many failed.
        failed: usize,
        /// How many warned.
        warnings: usize,
    },
    /// Standard output is gone.
    #[error("cannot write the output: {0}")]
    Output(#[source] std::io::Error),
    /// The machine gave no random bytes.
    #[error(transparent)]
    Entropy(#[from] portcullis_keys::EntropyError),
}

impl CliError {
    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => EXIT_USAGE,
            Self::Unfinished(_) => EXIT_UNFINISHED,
            Self::Unwell { failed: 0, .. } => EXIT_WARNED,
            Self::Unwell { .. } => EXIT_UNWELL,
            Self::Unreachable { .. } => EXIT_UNREACHABLE,
            Self::Refused(problem) if matches!(problem.status, 401 | 403) => EXIT_UNAUTHORISED,
            Self::TokenRefused {
                credentials: true, ..
            } => EXIT_UNAUTHORISED,
            Self::SecretFile(_)
            | Self::Refused(_)
            | Self::TokenRefused { .. }
            | Self::Foreign { .. }
            | Self::File { .. }
            | Self::Failed(_)
            | Self::Output(_)
            | Self::Entropy(_) => EXIT_FAILED,
        }
    }
}

fn told(problem: &Problem) -> String {
    let title = problem.title.to_lowercase();
    let mut text = match problem.detail.as_str() {
        "" => problem.title.clone(),
        // Some details say it all again.
        detail if detail.to_lowercase().starts_with(&title) => detail.to_owned(),
        detail => format!("{}: {detail}", problem.title),
    };
    if let Some(list) = problem.facts.get("diagnostics").and_then(|v| v.as_array()) {
        for item in list {
            let number = |name| item.get(name).and_then(serde_json::Value::as_u64);
            let message = item.get("message").and_then(|v| v.as_str());
            // Writing to a `String` cannot fail.
            let _ = write!(
                text,
                "\n  {}:{}: {}",
                number("line").unwrap_or(0),
                number("column").unwrap_or(0),
                message.unwrap_or_default()
            );
        }
    }
    if let Some(remedy) = &problem.remedy {
        text = format!("{text}\n{remedy}");
    }
    if let (500.., Some(trace)) = (problem.status, &problem.trace_id) {
        text = format!("{text} (trace {trace}: the server's log says why)");
    }
    text
}
