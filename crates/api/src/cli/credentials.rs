//! How a client proves who it is: by a secret, or by assertions that its own key signs (RFC 7523). A private
//! key is read from its owner's file, and never sent, printed or kept anywhere else.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use portcullis_domain::Clock;
use portcullis_domain::id::{Id, Principal};
use portcullis_keys::{SigningKey, entropy};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::error::CliError;
use super::secret_file;
use crate::platform;

/// The type of client assertion (RFC 7523 §2.2).
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long an assertion is good, in seconds: for clocks that differ a little and a request.
const ASSERTION_SECONDS: i64 = 60;

/// Who asks for tokens, and how that is proved.
#[derive(Debug)]
pub struct Credentials {
    /// The OAuth client id.
    pub client_id: Id<Principal>,
    /// What proves it.
    pub proof: Proof,
}

/// What proves a client.
#[derive(Debug)]
pub enum Proof {
    /// Its secret.
    Secret(SecretString),
    /// Its key.
    Key(PrivateKey),
}

/// A client's own Ed25519 key.
#[derive(Debug)]
pub struct PrivateKey(SigningKey);

#[derive(Serialize)]
struct Claims<'a> {
    iss: String,
    sub: String,
    aud: &'a str,
    jti: String,
    iat: i64,
    exp: i64,
}

impl PrivateKey {
    /// Makes a key.
    ///
    /// # Errors
    /// The machine gives no random bytes.
    pub fn generate() -> Result<Self, CliError> {
        match SigningKey::generate() {
            Ok(key) => Ok(Self(key)),
            Err(error) => Err(CliError::Failed(format!("cannot make a key: {error}"))),
        }
    }

    /// Reads a key from its owner's PEM file.
    ///
    /// # Errors
    /// The file cannot be read, others can read it, or it holds no Ed25519 key.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        let text = secret_file::read(&KIND, path)?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
            .ok()
            .and_then(|der| SigningKey::from_pkcs8(der.secret_pkcs8_der()).ok());
        key.map(Self).ok_or_else(|| {
            CliError::Usage(format!(
                "{} holds no Ed25519 key in PKCS#8 PEM: make one with `portcullis principal key \
                 create`, or with `openssl genpkey -algorithm ed25519`",
                path.display()
            ))
        })
    }

    /// Writes the key to a new file that only its owner can read.
    ///
    /// # Errors
    /// The file is there already, or cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), CliError> {
        let failed = |source| CliError::File {
            action: "create",
            path: path.to_owned(),
            source,
        };
        let der = self.pkcs8()?;
        let body = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(&*der));
        // 48 bytes of DER are 64 characters: one line (RFC 7468 §2).
        let text = Zeroizing::new(format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            *body
        ));
        platform::create_private(path, text.as_bytes()).map_err(failed)
    }

    /// The public half as a JWK.
    pub fn jwk(&self) -> Value {
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": URL_SAFE_NO_PAD.encode(self.0.public()),
            "kid": self.0.kid(),
            "use": "sig",
        })
    }

    /// An assertion for an authorization server, good for one use.
    ///
    /// # Errors
    /// The cryptographic library fails, or the machine gives no random bytes.
    pub fn assertion(
        &self,
        client_id: Id<Principal>,
        issuer: &str,
        clock: &dyn Clock,
    ) -> Result<String, CliError> {
        let now = clock.now().unix_timestamp();
        let claims = Claims {
            iss: client_id.to_string(),
            sub: client_id.to_string(),
            aud: issuer,
            jti: URL_SAFE_NO_PAD.encode(entropy::random::<16>()?),
            iat: now,
            exp: now.saturating_add(ASSERTION_SECONDS),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("client-authentication+jwt".to_owned());
        header.kid = Some(self.0.kid().to_owned());
        let key = EncodingKey::from_ed_der(&self.pkcs8()?);
        jsonwebtoken::encode(&header, &claims, &key)
            .map_err(|error| CliError::Failed(format!("cannot sign an assertion: {error}")))
    }

    fn pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, CliError> {
        self.0
            .pkcs8()
            .map_err(|error| CliError::Failed(format!("cannot use the key: {error}")))
    }
}

/// What a key file is to its readers.
const KIND: secret_file::Kind = secret_file::Kind {
    name: "private key",
    absent: "make one with `portcullis principal key create`",
    malformed: "make another one with `portcullis principal key create`",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_file_and_nobody_else_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let key = PrivateKey::generate().unwrap();
        key.write(&path).unwrap();
        assert_eq!(PrivateKey::read(&path).unwrap().jwk(), key.jwk());
        key.write(&path).unwrap_err();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        PrivateKey::read(&path).unwrap_err();
    }

    #[test]
    fn what_is_no_key_is_refused_without_showing_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        for text in [
            "",
            "pcs_secret",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            let told = PrivateKey::read(&path).unwrap_err().to_string();
            assert!(told.contains("PKCS#8") && !told.contains("pcs_"), "{told}");
        }
    }
}
