//! The operator file of the local profile: where the server is and the credentials with which this
//! machine's operator calls it. `up` writes it; the command line reads it. It holds secrets: only
//! its owner may read it, and nothing of it is ever logged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use portcullis_domain::PrincipalName;
use portcullis_domain::id::{self, Id};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::secret_file::{self, Kind, SecretFileError, expose};

/// The file's name within the local profile's data directory.
pub const FILE_NAME: &str = "operator.json";

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

/// What the file is to its readers.
pub const KIND: Kind = Kind {
    name: "operator file",
    absent: "start `portcullis up`, or name a server with --server and a token with --token-file",
    malformed: "remove it and start `portcullis up` again",
};

impl OperatorFile {
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

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
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
        assert!(matches!(error, SecretFileError::Exposed { .. }));
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
