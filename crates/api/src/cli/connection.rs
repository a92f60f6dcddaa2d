//! The connection file: one MCP endpoint, and the credentials of one principal for it. A host's own
//! configuration names this file and holds no secret.

use std::path::{Path, PathBuf};

use portcullis_domain::id::{Id, Principal};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use super::secret_file::{self, Kind, SecretFileError, expose};

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
    /// The OAuth client secret.
    #[serde(serialize_with = "expose")]
    pub client_secret: SecretString,
    /// An authority to trust besides the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

impl Connection {
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
