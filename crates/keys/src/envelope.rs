//! Envelope encryption: data keys that encrypt a tenant's payloads, and key encryption keys that
//! wrap data keys. Nothing is ever encrypted without saying whose it is and what for.
//!
//! The cipher is [C2SP XAES-256-GCM](https://c2sp.org/XAES-256-GCM): each message is encrypted under
//! its own AES-256-GCM key, derived from a random 192-bit nonce. A plain AES-256-GCM key may take
//! only 2³² random nonces (NIST SP 800-38D §8.3); here a key may take 2⁸⁰ messages with a chance of
//! collision of 2⁻³², so nobody has to count.
//!
//! Form of a ciphertext: version (1 byte), id of the key (16), nonce (24), ciphertext, tag (16).
//! The version and the id are authenticated.

use std::fmt;

use aws_lc_rs::aead::{self, AES_256_GCM, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{cmac, digest, hkdf};
use portcullis_domain::Id;
use portcullis_domain::id::Tenant;
use zeroize::Zeroizing;

use crate::entropy::{self, EntropyError};

const VERSION: u8 = 1;
const ID_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const HEADER_BYTES: usize = 1 + ID_BYTES + NONCE_BYTES;

/// What went wrong with an encryption or a decryption. It never says what the plaintext was.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// The ciphertext is shorter than its header, or of another version.
    #[error("the ciphertext is not of a form that this version reads")]
    Form,
    /// The ciphertext names another key.
    #[error("the ciphertext was made with another key; load the key that its header names")]
    OtherKey,
    /// Wrong tenant, wrong use, or changed bytes: which of them cannot be known.
    #[error("the ciphertext was changed, or belongs to another tenant, use or row")]
    Unauthentic(#[source] Unspecified),
    /// A wrapped key has not 32 bytes.
    #[error("what was unwrapped is no data key")]
    NotAKey,
    /// A nonce or a key needs random bytes.
    #[error("nothing can be encrypted")]
    Entropy(#[from] EntropyError),
    /// The library failed and gives no reason.
    #[error("the cryptographic library failed to {operation}")]
    Library {
        /// What was tried.
        operation: &'static str,
        /// What the library says.
        #[source]
        source: Unspecified,
    },
}

/// Whose a plaintext is, what for, and of which row. All three have to be the same at decryption,
/// so that a ciphertext moved to another tenant, column or row is refused.
#[derive(Debug, Clone, Copy)]
pub struct Aad<'a> {
    /// The tenant whose data it is.
    pub tenant: Id<Tenant>,
    /// What it is for: the table and column, `call_inputs.arguments`.
    pub usage: &'a str,
    /// The row: its id's bytes.
    pub row: &'a [u8],
}

impl Aad<'_> {
    /// Fixed lengths and one length prefix, so that no two meanings have the same bytes.
    fn encode(&self, key_id: &[u8; ID_BYTES]) -> Vec<u8> {
        let usage = self.usage.as_bytes();
        let usage_len = u64::try_from(usage.len()).unwrap_or(u64::MAX);
        let mut bytes = Vec::with_capacity(1 + ID_BYTES + 16 + 8 + usage.len() + self.row.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(key_id);
        bytes.extend_from_slice(self.tenant.as_uuid().as_bytes());
        bytes.extend_from_slice(&usage_len.to_be_bytes());
        bytes.extend_from_slice(usage);
        bytes.extend_from_slice(self.row);
        bytes
    }
}

/// A data key encrypted under a key encryption key: what a database may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey(Vec<u8>);

impl WrappedKey {
    /// Takes the bytes of a database row. They are checked when the key is unwrapped.
    pub const fn from_row(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, for a database row.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A 256-bit key that encrypts and decrypts.
pub struct DataKey {
    id: [u8; ID_BYTES],
    bytes: Zeroizing<[u8; 32]>,
    derive: cmac::Key,
}

impl DataKey {
    /// A new random key.
    ///
    /// # Errors
    /// When the operating system gives no random bytes or the library refuses them.
    pub fn generate() -> Result<Self, EnvelopeError> {
        Self::from_bytes(Zeroizing::new(entropy::random()?))
    }

    /// The key that a secret of at least 128 random bits gives for one use (HKDF with SHA-256,
    /// RFC 5869). Whoever does not hold the secret cannot make the key. Never for passwords.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn derive(secret: &[u8], usage: &[u8]) -> Result<Self, EnvelopeError> {
        let mut bytes = Zeroizing::new([0; 32]);
        let failed = library("derive a key");
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"")
            .extract(secret)
            .expand(&[usage], hkdf::HKDF_SHA256)
            .and_then(|key| key.fill(bytes.as_mut_slice()))
            .map_err(failed)?;
        Self::from_bytes(bytes)
    }

    pub(crate) fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Result<Self, EnvelopeError> {
        let derive =
            cmac::Key::new(cmac::AES_256, bytes.as_slice()).map_err(library("prepare a key"))?;
        Ok(Self {
            id: key_id(&bytes),
            bytes,
            derive,
        })
    }

    /// Encrypts for one tenant, use and row.
    ///
    /// # Errors
    /// When there are no random bytes, or the library fails.
    pub fn encrypt(&self, aad: &Aad<'_>, plaintext: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        let nonce: [u8; NONCE_BYTES] = entropy::random()?;
        let mut out = Vec::with_capacity(HEADER_BYTES + plaintext.len() + TAG_BYTES);
        out.push(VERSION);
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&nonce);
        self.seal(&nonce, &aad.encode(&self.id), plaintext, &mut out)?;
        Ok(out)
    }

    /// Decrypts what this key encrypted for the same tenant, use and row.
    ///
    /// # Errors
    /// When the ciphertext is of another key, tenant, use or row, or was changed.
    pub fn decrypt(&self, aad: &Aad<'_>, ciphertext: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        let (nonce, sealed) = self.parse(ciphertext)?;
        self.open(&nonce, &aad.encode(&self.id), sealed)
    }

    /// Encrypts another key, for [`WrappedKey`].
    pub(crate) fn wrap(&self, aad: &Aad<'_>, key: &Self) -> Result<WrappedKey, EnvelopeError> {
        self.encrypt(aad, key.bytes.as_slice()).map(WrappedKey)
    }

    /// Decrypts a key that this key wrapped for the same tenant, use and row.
    pub(crate) fn unwrap(&self, aad: &Aad<'_>, key: &WrappedKey) -> Result<Self, EnvelopeError> {
        let plaintext = Zeroizing::new(self.decrypt(aad, &key.0)?);
        let mut bytes = Zeroizing::new([0; 32]);
        if plaintext.len() != bytes.len() {
            return Err(EnvelopeError::NotAKey);
        }
        bytes.copy_from_slice(&plaintext);
        Self::from_bytes(bytes)
    }

    /// Splits a ciphertext of this key into nonce and sealed bytes.
    fn parse<'a>(
        &self,
        ciphertext: &'a [u8],
    ) -> Result<([u8; NONCE_BYTES], &'a [u8]), EnvelopeError> {
        let (version, rest) = ciphertext.split_first().ok_or(EnvelopeError::Form)?;
        let (id, rest) = rest
            .split_first_chunk::<ID_BYTES>()
            .ok_or(EnvelopeError::Form)?;
        let (nonce, sealed) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(EnvelopeError::Form)?;
        if *version != VERSION || sealed.len() < TAG_BYTES {
            return Err(EnvelopeError::Form);
        }
        if *id != self.id {
            return Err(EnvelopeError::OtherKey);
        }
        Ok((*nonce, sealed))
    }

    /// XAES-256-GCM encryption; appends the ciphertext and its tag.
    fn seal(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), EnvelopeError> {
        let (key, nonce) = self.message_key(nonce)?;
        let start = out.len();
        out.extend_from_slice(plaintext);
        let body = out.get_mut(start..).ok_or(EnvelopeError::Form)?;
        let tag = key
            .seal_in_place_separate_tag(nonce, aead::Aad::from(aad), body)
            .map_err(library("encrypt"))?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// XAES-256-GCM decryption.
    fn open(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, EnvelopeError> {
        let (key, nonce) = self.message_key(nonce)?;
        let mut buffer = sealed.to_vec();
        let length = key
            .open_in_place(nonce, aead::Aad::from(aad), &mut buffer)
            .map_err(EnvelopeError::Unauthentic)?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }

    /// The key and nonce of one message: two CMAC blocks in counter mode (NIST SP 800-108r1 §4.1)
    /// over the first half of the nonce, and the second half.
    fn message_key(
        &self,
        nonce: &[u8; NONCE_BYTES],
    ) -> Result<(LessSafeKey, Nonce), EnvelopeError> {
        let (for_key, rest) = nonce.split_first_chunk::<12>().ok_or(EnvelopeError::Form)?;
        let nonce = Nonce::try_assume_unique_for_key(rest).map_err(library("take a nonce"))?;
        let mut derived = Zeroizing::new([0; 32]);
        for (counter, half) in [1, 2].into_iter().zip(derived.chunks_exact_mut(16)) {
            let mut block = [0; 16];
            let (label, context) = block.split_at_mut(4);
            label.copy_from_slice(&[0, counter, b'X', 0]);
            context.copy_from_slice(for_key);
            let mac = cmac::sign(&self.derive, &block).map_err(library("derive a key"))?;
            half.copy_from_slice(mac.as_ref());
        }
        let key =
            UnboundKey::new(&AES_256_GCM, derived.as_slice()).map_err(library("prepare a key"))?;
        Ok((LessSafeKey::new(key), nonce))
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").finish_non_exhaustive()
    }
}

/// The id that headers name: a hash, which tells nothing of 32 random bytes.
fn key_id(key: &[u8; 32]) -> [u8; ID_BYTES] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"portcullis/data-key-id/v1\0");
    context.update(key);
    let mut id = [0; ID_BYTES];
    for (to, from) in id.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    id
}

fn library(operation: &'static str) -> impl FnOnce(Unspecified) -> EnvelopeError {
    move |source| EnvelopeError::Library { operation, source }
}

#[cfg(test)]
mod tests;
