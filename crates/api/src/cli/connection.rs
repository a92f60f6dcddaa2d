//! The connection file: one MCP endpoint, and the credentials of one principal for it. A host's own
//! configuration names this file and holds no secret.

use std::path::{Path, PathBuf};

use portcullis_domain::id::{Id, Principal};
use serde::{Deserialize, Serialize};
use url::Url;

use super::credentials::{Credentials, PrivateKey, Proof};
use super::error::CliError;
use super::secret_file::{self, Exposed, Kind, SecretFileError};

/// What the file is to its readers.
const KIND: Kind = Kind {
    name: "connection file",
    absent: "`portcullis connect` writes one",
    malformed: "write it anew with `portcullis connect`",
};

/// Where to, and as whom.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// The tenant's MCP endpoint.
    pub url: Url,
    /// The OAuth client id.
    pub client_id: Id<Principal>,
    /// The OAuth client secret, or
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Exposed>,
    /// the file of the client's own key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key_file: Option<PathBuf>,
    /// An authority to trust besides the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl Connection {
    /// Who asks, and how that is proved.
    ///
    /// # Errors
    /// It names no proof or two, or the key's file cannot be used.
    pub fn credentials(&self) -> Result<Credentials, CliError> {
        let proof = match (&self.client_secret, &self.private_key_file) {
            (Some(Exposed(secret)), None) => Proof::Secret(secret.clone()),
            (None, Some(path)) => Proof::Key(PrivateKey::read(path)?),
            (Some(_), Some(_)) | (None, None) => {
                return Err(CliError::Usage(
                    "the connection file names either a client_secret or a private_key_file"
                        .to_owned(),
                ));
            }
        };
        Ok(Credentials {
            client_id: self.client_id,
            proof,
        })
    }

    /// Reads the file.
    ///
    /// # Errors
    /// There is none, others can read it, or it is not in its form.
    pub fn load(path: &Path) -> Result<Self, SecretFileError> {
        secret_file::load(&KIND, path)
    }

    /// Writes the file whole or not at all, readable by its owner alone.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), SecretFileError> {
        secret_file::save(&KIND, path, self)
    }
}
