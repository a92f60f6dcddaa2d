//! The key file: its JSON form, and reading and writing it so that no other user sees it and no
//! crash leaves half of one. What the keys do is not this module's business.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tempfile::NamedTempFile;
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// The only version of the form so far.
pub(crate) const VERSION: u32 = 1;
/// Far more than the file ever needs.
const MAX_BYTES: u64 = 256 * 1024;

/// What is wrong with a key file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The operating system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file or its directory.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// A directory, a pipe or a device.
    #[error("{} is not a regular file; name a file for the keys", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Other users may read or change it.
    #[error(
        "{} is open to other users (mode {mode:03o}); if nobody has read it: chmod 600, \
         otherwise delete it to have new keys made",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else owns it, and so can change it.
    #[error("{} belongs to user {owner}, not to this process's user", path.display())]
    ForeignOwner {
        /// The file.
        path: PathBuf,
        /// The owner's user id.
        owner: u32,
    },
    /// No key file is that large.
    #[error("{} is larger than a key file can be", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not the form that this version reads. The parser's own message may quote a secret, so only
    /// the place is kept.
    #[error(
        "{} is not a key file (line {line}, column {column}); restore it, or delete it to have new \
         keys made",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// Written by another version of the platform.
    #[error("{} has version {version}; this program reads version {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version it states.
        version: u32,
    },
}

/// Thirty-two secret bytes, in base64url in the file, zeroed when dropped.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) Zeroizing<[u8; 32]>);

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.as_slice()));
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let mut bytes = Zeroizing::new([0; 32]);
        // One byte more than a key, so that a longer text is seen and not cut.
        let mut room = Zeroizing::new([0; 33]);
        match URL_SAFE_NO_PAD.decode_slice(text.as_bytes(), room.as_mut_slice()) {
            Ok(32) => {}
            Ok(_) | Err(_) => return Err(D::Error::custom("a key is 32 bytes in base64url")),
        }
        for (to, from) in bytes.iter_mut().zip(room.iter()) {
            *to = *from;
        }
        Ok(Self(bytes))
    }
}

/// A key of the token issuer.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IssuerEntry {
    pub(crate) kid: String,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) created_at: OffsetDateTime,
    /// From when on it signs. Until then, and for a while after its successor took over, it is
    /// published.
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) active_from: OffsetDateTime,
    pub(crate) seed: Secret,
}

/// The key that signs records.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReceiptEntry {
    pub(crate) kid: String,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) created_at: OffsetDateTime,
    pub(crate) seed: Secret,
}

/// A symmetric key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SymmetricEntry {
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) created_at: OffsetDateTime,
    pub(crate) key: Secret,
}

/// The file's form. It has no `Debug`: it is all secrets.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyFile {
    pub(crate) v: u32,
    /// In the order in which they become active.
    pub(crate) issuer: Vec<IssuerEntry>,
    pub(crate) receipt: ReceiptEntry,
    pub(crate) key_encryption: SymmetricEntry,
    pub(crate) keyed_hash: SymmetricEntry,
}

fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> KeyFileError + use<> {
    let path = path.to_path_buf();
    move |source| KeyFileError::Io {
        operation,
        path,
        source,
    }
}

/// Reads the file, or `None` where there is none.
pub(crate) fn read(path: &Path) -> Result<Option<KeyFile>, KeyFileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("open", path)(error)),
    };
    check(&file, path)?;
    let mut text = Zeroizing::new(Vec::with_capacity(8 * 1024));
    file.take(MAX_BYTES)
        .read_to_end(&mut text)
        .map_err(io("read", path))?;
    let malformed = |error: serde_json::Error| KeyFileError::Malformed {
        path: path.to_path_buf(),
        line: error.line(),
        column: error.column(),
    };
    let keys: KeyFile = serde_json::from_slice(&text).map_err(malformed)?;
    if keys.v != VERSION {
        return Err(KeyFileError::Version {
            path: path.to_path_buf(),
            version: keys.v,
        });
    }
    Ok(Some(keys))
}

/// Refuses a file that somebody else could have read or written. Asked of the open file, so that it
/// cannot be exchanged in between.
fn check(file: &File, path: &Path) -> Result<(), KeyFileError> {
    let path = path.to_path_buf();
    let metadata = file.metadata().map_err(io("examine", &path))?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotAFile { path });
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed { path, mode });
    }
    if metadata.uid() != nix::unistd::geteuid().as_raw() {
        let owner = metadata.uid();
        return Err(KeyFileError::ForeignOwner { path, owner });
    }
    if metadata.len() >= MAX_BYTES {
        return Err(KeyFileError::TooLarge { path });
    }
    Ok(())
}

/// Held while the file is made or replaced, so that two processes cannot both do it.
#[derive(Debug)]
pub(crate) struct Lock {
    directory: File,
    path: PathBuf,
}

impl Lock {
    /// Locks the directory of `path`, waiting for whoever holds it.
    pub(crate) fn of(path: &Path) -> Result<Self, KeyFileError> {
        let path = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_path_buf(),
            Some(_) | None => PathBuf::from("."),
        };
        let directory = File::open(&path).map_err(io("open the directory", &path))?;
        directory.lock().map_err(io("lock the directory", &path))?;
        Ok(Self { directory, path })
    }

    /// Puts the file in its place, whole and durable, readable by this user alone.
    pub(crate) fn write(&self, path: &Path, keys: &KeyFile) -> Result<(), KeyFileError> {
        // A file made by `tempfile` has mode 0600 from the start.
        let mut file =
            NamedTempFile::new_in(&self.path).map_err(io("create a file in", &self.path))?;
        let mut text = Zeroizing::new(Vec::with_capacity(8 * 1024));
        serde_json::to_writer_pretty(&mut *text, keys)
            .map_err(|error| io("encode", path)(error.into()))?;
        text.push(b'\n');
        file.write_all(&text).map_err(io("write", file.path()))?;
        file.as_file().sync_all().map_err(io("sync", path))?;
        file.persist(path)
            .map_err(|error| io("put in place", path)(error.error))?;
        self.directory
            .sync_all()
            .map_err(io("sync the directory", &self.path))
    }
}
