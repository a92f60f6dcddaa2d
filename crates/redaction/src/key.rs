//! Keyed pseudonyms for the modes `hash` and `tokenize`.
//!
//! A pseudonym is written in letters only, so no detector ever mistakes it for a number, and carries a
//! seal under the same key, so that redacting twice changes nothing while a forged look-alike is
//! replaced. The key must never be printed.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

const HASH_PREFIX: &str = "hash_";
const TOKEN_PREFIX: &str = "tok_";
/// 96 bits name the value.
const BODY_BYTES: usize = 12;
/// 32 bits show that we wrote it.
const SEAL_BYTES: usize = 4;

/// A tenant's secret key for pseudonyms; wiped from memory when dropped.
pub struct HashKey(Zeroizing<[u8; 64]>);

impl HashKey {
    /// Takes 32 secret random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        // HMAC pads a short key with zeros to the block of 64 bytes: this is that padding.
        let bytes = Zeroizing::new(bytes);
        let mut block = Zeroizing::new([0_u8; 64]);
        for (to, from) in block.iter_mut().zip(bytes.iter()) {
            *to = *from;
        }
        Self(block)
    }

    /// The same value gives the same hash in every field of the tenant.
    pub(crate) fn hash(&self, value: &str) -> String {
        self.pseudonym(HASH_PREFIX, "", value)
    }

    /// The same value gives the same token in one field, and another in each other field.
    pub(crate) fn token(&self, field: &str, value: &str) -> String {
        self.pseudonym(TOKEN_PREFIX, field, value)
    }

    fn pseudonym(&self, prefix: &'static str, field: &str, value: &str) -> String {
        if self.wrote(prefix, field, value) {
            return value.to_owned();
        }
        let body = letters(
            &self.mac(&[
                b"value",
                prefix.as_bytes(),
                field.as_bytes(),
                value.as_bytes(),
            ]),
            BODY_BYTES,
        );
        let seal = self.seal(prefix, field, &body);
        format!("{prefix}{body}{seal}")
    }

    /// Whether `value` is a pseudonym that this key wrote for this field.
    fn wrote(&self, prefix: &str, field: &str, value: &str) -> bool {
        value
            .strip_prefix(prefix)
            .and_then(|rest| rest.split_at_checked(2 * BODY_BYTES))
            .is_some_and(|(body, seal)| !seal.is_empty() && self.seal(prefix, field, body) == seal)
    }

    fn seal(&self, prefix: &str, field: &str, body: &str) -> String {
        letters(
            &self.mac(&[
                b"seal",
                prefix.as_bytes(),
                field.as_bytes(),
                body.as_bytes(),
            ]),
            SEAL_BYTES,
        )
    }

    /// HMAC-SHA-256 over parts, each preceded by its length so that they cannot be shifted.
    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new((&*self.0).into());
        for part in parts {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(..)")
    }
}

/// Each half byte as one letter from `a` to `p`.
fn letters(bytes: &[u8], count: usize) -> String {
    bytes
        .iter()
        .take(count)
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from(b'a' + nibble))
        .collect()
}
