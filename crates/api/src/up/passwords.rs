//! Passwords of the database roles: made once, kept in files that only their owner reads.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

use super::error::UpError;
use super::folder::Folder;
use portcullis_keys::entropy;

use crate::platform::write_private;

/// The password of a role, made if there is none yet.
pub(super) fn password(folder: &Folder, role: &str) -> Result<SecretString, UpError> {
    let path = folder.password(role);
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.is_empty() => Ok(SecretString::from(text)),
        Ok(_) => fresh(folder, role),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => fresh(folder, role),
        Err(error) => Err(UpError::file("cannot read", path)(error)),
    }
}

fn fresh(folder: &Folder, role: &str) -> Result<SecretString, UpError> {
    let path = folder.password(role);
    let secret = SecretString::from(URL_SAFE_NO_PAD.encode(entropy::random::<32>()?));
    write_private(&path, secret.expose_secret().as_bytes())
        .map_err(UpError::file("cannot write", path))?;
    Ok(secret)
}
