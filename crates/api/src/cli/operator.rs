//! The operator file of the local profile: where the server is and the credentials with which this
//! machine's operator calls it. `up` writes it; the command line reads it. It holds secrets: only
//! its owner may read it, and nothing of it is ever logged.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use portcullis_domain::PrincipalName;
use portcullis_domain::id::{self, Id};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

/// The file's name within the local profile's data directory.
pub const FILE_NAME: &str = "operator.json";

/// The most that an operator file may hold.
const MAX_BYTES: u64 = 1 << 20;

/// Where the server is, and how its operator calls it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorFile {
    /// The server's public URL.
    pub server: String,
    /// The authority to trust besides the system's, where the server's certificate is of one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// A service token of the role `platform`.
    #[serde(serialize_with = "expose")]
    pub platform_token: SecretString,
    /// What is held within each tenant, by its slug.
    #[serde(default)]
    pub tenants: BTreeMap<String, TenantCredentials>,
}

/// What the operator holds within one tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantCredentials {
    /// A service token of the tenant with the role `owner`.
    #[serde(serialize_with = "expose")]
    pub owner_token: SecretString,
    /// Client credentials of the tenant's principals, by name.
    #[serde(default)]
    pub clients: BTreeMap<PrincipalName, ClientCredentials>,
}

/// How a principal gets its access tokens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCredentials {
    /// The OAuth client id.
    pub client_id: Id<id::Principal>,
    /// The OAuth client secret.
    #[serde(serialize_with = "expose")]
    pub client_secret: SecretString,
}

/// The one place where these secrets are written out: the file that is made to hold them.
fn expose<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

/// An operator file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OperatorFileError {
    /// There is none.
    #[error(
        "there is no operator file at {path}: start `portcullis up`, or name a server with \
         --server and a token with --token-file"
    )]
    Absent {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("cannot {action} the operator file {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Others can read it.
    #[error("the operator file {path} can be read by others: run `chmod 600 {path}`")]
    Exposed {
        /// Where it is.
        path: PathBuf,
    },
    /// It is not in its form. The message leaves out the values.
    #[error(
        "the operator file {path} is not in its form (line {line}, column {column}): remove it \
         and start `portcullis up` again"
    )]
    Malformed {
        /// Where it is.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
}

impl OperatorFile {
    /// Reads the file.
    ///
    /// # Errors
    /// There is none, others can read it, or it is not in its form.
    pub fn load(path: &Path) -> Result<Self, OperatorFileError> {
        let io = |source| OperatorFileError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(OperatorFileError::Absent {
                    path: path.to_owned(),
                });
            }
            Err(error) => return Err(io(error)),
        };
        // The open file is asked, not the path, so that no other file can be put in its place.
        if file.metadata().map_err(io)?.mode() & 0o077 != 0 {
            return Err(OperatorFileError::Exposed {
                path: path.to_owned(),
            });
        }
        let mut text = zeroize::Zeroizing::new(String::new());
        file.take(MAX_BYTES).read_to_string(&mut text).map_err(io)?;
        serde_json::from_str(&text).map_err(|error| OperatorFileError::Malformed {
            path: path.to_owned(),
            line: error.line(),
            column: error.column(),
        })
    }

    /// Writes the file whole or not at all, readable by its owner alone.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), OperatorFileError> {
        let io = |source| OperatorFileError::Io {
            action: "write",
            path: path.to_owned(),
            source,
        };
        let text = serde_json::to_vec_pretty(self).map_err(|error| io(error.into()))?;
        let text = zeroize::Zeroizing::new(text);
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        // A left-over of a crash could have wider rights; a new file gets its own.
        match std::fs::remove_file(&beside) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(io(error)),
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)
            .map_err(io)?;
        file.write_all(&text).map_err(io)?;
        file.sync_all().map_err(io)?;
        std::fs::rename(&beside, path).map_err(io)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn sample() -> OperatorFile {
        serde_json::from_value(serde_json::json!({
            "server": "http://127.0.0.1:7443",
            "platform_token": "pst_p",
            "tenants": {"acme": {
                "owner_token": "pst_a",
                "clients": {"agent:copilot": {
                    "client_id": "prn_0199a6b0c0007000800000000000002a",
                    "client_secret": "pcs_c",
                }},
            }},
        }))
        .unwrap()
    }

    #[test]
    fn the_file_survives_its_disk_form() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        sample().save(&path).unwrap();
        let loaded = OperatorFile::load(&path).unwrap();
        let tenant = loaded.tenants.get("acme").unwrap();
        assert_eq!(tenant.owner_token.expose_secret(), "pst_a");
        assert_eq!(tenant.clients.len(), 1);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        sample().save(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let error = OperatorFile::load(&path).unwrap_err();
        assert!(matches!(error, OperatorFileError::Exposed { .. }));
    }

    #[test]
    fn an_absent_file_says_what_to_start() {
        let error = OperatorFile::load(Path::new("/nonexistent/operator.json")).unwrap_err();
        assert!(error.to_string().contains("portcullis up"));
    }

    #[test]
    fn neither_errors_nor_debug_show_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let text = serde_json::to_string(&sample())
            .unwrap()
            .replace("server", "sevrer");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let error = OperatorFile::load(&path).unwrap_err();
        let shown = format!("{error} {error:?} {:?}", sample());
        assert!(
            !shown.contains("pst_") && !shown.contains("pcs_"),
            "{shown}"
        );
    }
}
