//! Keys: signing, keyed hashes, envelope encryption and the random bytes of the whole platform.
//!
//! [`LocalKeys`] keeps them in one file, for development only: production signs and wraps with a
//! key management service. Secret bytes never leave this crate in the clear (but for PKCS#8 forms, which
//! the JWT code and a client's own key file need), never appear in `Debug`, errors or logs, and are zeroed
//! when dropped. This crate must never invent a way to use a primitive: Ed25519 is RFC 8032, key
//! ids are RFC 7638 thumbprints, encryption is C2SP XAES-256-GCM.

pub mod entropy;
mod envelope;
mod file;
mod local;
mod signing;

pub use entropy::EntropyError;
pub use envelope::{Aad, DataKey, EnvelopeError, WrappedKey};
pub use file::KeyFileError;
pub use local::{IssuerKey, LocalKeys};
pub use signing::{SignError, SigningKey};

/// What can go wrong with the platform's keys at start or at a rotation.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The key file cannot be used.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// New keys need random bytes.
    #[error("new keys cannot be made")]
    Entropy(#[from] EntropyError),
    /// A stored key is no key.
    #[error("the {key} key is refused by the cryptographic library; restore the key file")]
    Refused {
        /// Which key.
        key: &'static str,
        /// What the library says.
        #[source]
        source: SignError,
    },
    /// A stored encryption key is no key.
    #[error("the key encryption key is refused by the cryptographic library")]
    Encryption(#[from] EnvelopeError),
    /// A key's recorded id is not the id of its bytes.
    #[error("the {key} key does not have the id recorded with it; restore the key file")]
    Inconsistent {
        /// Which key.
        key: &'static str,
    },
    /// Every issuer key begins later than now.
    #[error(
        "no issuer key is active yet; check the machine's clock, or delete the key file to begin \
         anew (tokens already issued then stop working)"
    )]
    NoActiveIssuer,
    /// A rotation is still under way.
    #[error("an issuer key that is not yet active is already published; wait until it is active")]
    RotationUnderWay,
}

#[cfg(test)]
mod tests;
