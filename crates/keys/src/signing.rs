//! Ed25519 signing keys (RFC 8032) with their key ids (RFC 7638). A key signs and shows its public
//! half; its seed is never handed out.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::error::{KeyRejected, Unspecified};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::{KeysError, entropy};

/// The cryptographic library refused to sign or to take a key.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The seed or the public key is refused.
    #[error("the bytes are no Ed25519 key")]
    Key(#[source] KeyRejected),
    /// Signing or encoding failed inside the library, which gives no reason.
    #[error("the cryptographic library failed to {operation}")]
    Library {
        /// What was tried.
        operation: &'static str,
        /// What the library says.
        #[source]
        source: Unspecified,
    },
    /// The library gave something of another length than the standard says.
    #[error("the cryptographic library gave a {what} of the wrong length")]
    Length {
        /// What it gave.
        what: &'static str,
    },
}

/// An Ed25519 key that signs.
pub struct SigningKey {
    kid: String,
    public: [u8; 32],
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// The machine gives no random bytes.
    pub fn generate() -> Result<Self, KeysError> {
        let seed = Zeroizing::new(entropy::random()?);
        Self::from_seed(&seed).map_err(|source| KeysError::Refused { key: "new", source })
    }

    /// The key of a PKCS#8 document (RFC 8410 §7), DER.
    ///
    /// # Errors
    /// It holds no Ed25519 key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, SignError> {
        Self::of(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(SignError::Key)?)
    }

    /// The key of a seed (RFC 8032 §5.1.5).
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Result<Self, SignError> {
        Self::of(Ed25519KeyPair::from_seed_unchecked(seed).map_err(SignError::Key)?)
    }

    fn of(pair: Ed25519KeyPair) -> Result<Self, SignError> {
        let public: [u8; 32] = pair
            .public_key()
            .as_ref()
            .try_into()
            .ok()
            .ok_or(SignError::Length { what: "public key" })?;
        Ok(Self {
            kid: thumbprint(&public),
            public,
            pair,
        })
    }

    /// The RFC 7638 SHA-256 thumbprint of the public key, in base64url.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key's 32 bytes (RFC 8032 §5.1.2).
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Signs a message with Ed25519.
    ///
    /// # Errors
    /// When the cryptographic library fails, for example for want of memory.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        self.pair
            .try_sign(message)
            .map_err(|source| SignError::Library {
                operation: "sign",
                source,
            })?
            .as_ref()
            .try_into()
            .ok()
            .ok_or(SignError::Length { what: "signature" })
    }

    /// The private key as PKCS#8 version 1 (RFC 8410 §7), DER: for the file of whoever owns the key, and
    /// for the JWT code.
    ///
    /// # Errors
    /// The cryptographic library fails, for example for want of memory.
    pub fn pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, SignError> {
        let document = self
            .pair
            .to_pkcs8v1()
            .map_err(|source| SignError::Library {
                operation: "encode a key",
                source,
            })?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// The RFC 7638 thumbprint of an Ed25519 public key, over the members that RFC 8037 §2 requires.
fn thumbprint(public: &[u8; 32]) -> String {
    let jwk = format!(
        r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#,
        URL_SAFE_NO_PAD.encode(public)
    );
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, jwk.as_bytes()))
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signature, VerifyingKey};

    use super::*;

    /// RFC 8037 Appendix A.1.
    const SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

    fn key() -> SigningKey {
        let seed = URL_SAFE_NO_PAD.decode(SEED).unwrap();
        SigningKey::from_seed(seed.as_slice().try_into().unwrap()).unwrap()
    }

    #[test]
    fn the_standards_key_has_the_standards_thumbprint_and_public_key() {
        let key = key();
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(
            URL_SAFE_NO_PAD.encode(key.public()),
            "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        );
    }

    #[test]
    fn another_implementation_verifies_the_signature() {
        let key = key();
        let signature = key.sign(b"message").unwrap();
        let verifying = VerifyingKey::from_bytes(key.public()).unwrap();
        verifying
            .verify_strict(b"message", &Signature::from_bytes(&signature))
            .unwrap();
        assert!(
            verifying
                .verify_strict(b"massage", &Signature::from_bytes(&signature))
                .is_err()
        );
    }

    #[test]
    fn debug_output_holds_no_seed() {
        let key = key();
        let shown = format!("{key:?}");
        assert!(shown.contains(key.kid()));
        assert!(
            !shown.contains(SEED) && !shown.contains("157, 97"),
            "{shown}"
        );
    }
}
