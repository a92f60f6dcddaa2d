//! JSON files that hold credentials: only their owner may read them, they are written whole or not at
//! all, and no error about them repeats a value.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

use crate::platform::write_private;

/// The most that such a file may hold.
const MAX_BYTES: u64 = 1 << 20;

/// How a file of one kind is spoken of.
#[derive(Debug)]
pub struct Kind {
    /// What people call it.
    pub name: &'static str,
    /// What helps where there is none.
    pub absent: &'static str,
    /// What helps where it is not in its form.
    pub malformed: &'static str,
}

/// A file of credentials that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// There is none.
    #[error("there is no {} at {}: {}", .kind.name, .path.display(), .kind.absent)]
    Absent {
        /// Which kind.
        kind: &'static Kind,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("cannot {action} the {} {}: {source}", .kind.name, .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Which kind.
        kind: &'static Kind,
        /// Where.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Others can read it.
    #[error(
        "the {} {} can be read by others: run `chmod 600 {}`",
        .kind.name, .path.display(), .path.display()
    )]
    Exposed {
        /// Which kind.
        kind: &'static Kind,
        /// Where it is.
        path: PathBuf,
    },
    /// It is not in its form. The message leaves out the values.
    #[error(
        "the {} {} is not in its form (line {line}, column {column}): {}",
        .kind.name, .path.display(), .kind.malformed
    )]
    Malformed {
        /// Which kind.
        kind: &'static Kind,
        /// Where it is.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
}

/// Writes a secret out: the files of this module are the one place for it.
///
/// # Errors
/// The serializer's own.
pub fn expose<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

/// A secret that such a file may go without.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Exposed(#[serde(serialize_with = "expose")] pub SecretString);

/// Reads a JSON file.
///
/// # Errors
/// There is none, others can read it, or it is not in its form.
pub fn load<T: DeserializeOwned>(kind: &'static Kind, path: &Path) -> Result<T, SecretFileError> {
    let text = read(kind, path)?;
    serde_json::from_str(&text).map_err(|error| SecretFileError::Malformed {
        kind,
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
    })
}

/// Reads a file's text.
///
/// # Errors
/// There is none, others can read it, or it is no text.
pub fn read(
    kind: &'static Kind,
    path: &Path,
) -> Result<zeroize::Zeroizing<String>, SecretFileError> {
    let io = |source| SecretFileError::Io {
        action: "read",
        kind,
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let path = path.to_owned();
            return Err(SecretFileError::Absent { kind, path });
        }
        Err(error) => return Err(io(error)),
    };
    // The open file is asked, not the path, so that no other file can be put in its place.
    if file.metadata().map_err(io)?.mode() & 0o077 != 0 {
        let path = path.to_owned();
        return Err(SecretFileError::Exposed { kind, path });
    }
    let mut text = zeroize::Zeroizing::new(String::new());
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}

/// Writes a file whole or not at all, readable by its owner alone.
///
/// # Errors
/// The directory cannot be written.
pub fn save<T: Serialize>(
    kind: &'static Kind,
    path: &Path,
    value: &T,
) -> Result<(), SecretFileError> {
    let io = |source| SecretFileError::Io {
        action: "write",
        kind,
        path: path.to_owned(),
        source,
    };
    let text = serde_json::to_vec_pretty(value).map_err(|error| io(error.into()))?;
    let text = zeroize::Zeroizing::new(text);
    write_private(path, &text).map_err(io)
}
