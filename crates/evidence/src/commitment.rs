//! Salted commitments: what a record holds instead of a personal or secret value.
//!
//! A commitment is HMAC-SHA-256 under a random salt. Whoever has the salt and the value can check
//! it; without the salt nobody can guess even a short value; once the salt is erased, so is the value
//! from the record, while every hash over the record stays valid. Each field has a salt of its own,
//! derived from the record's: showing one to an auditor opens that field alone.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;

use crate::canonical::Canonical;

const PREFIX: &str = "hmac-sha256:";

/// The member of a record that a commitment stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// The name of a person.
    ActorName,
    /// A call's arguments.
    Arguments,
    /// The document of an administrative change.
    Change,
    /// A call's idempotency key.
    IdempotencyKey,
    /// What the caller was answered.
    Result,
    /// The name of a tool that is in no catalog.
    ToolName,
}

impl Field {
    /// The name that separates the fields' commitments.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ActorName => "actor.name",
            Self::Arguments => "arguments",
            Self::Change => "change",
            Self::IdempotencyKey => "idempotency_key",
            Self::Result => "result",
            Self::ToolName => "tool.name",
        }
    }
}

/// The random secret from which the salts of one record's fields come.
#[derive(Clone)]
pub struct Salts([u8; 32]);

impl Salts {
    /// From 32 random bytes, fresh for each record, or from where they were stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be stored where retention and erasure can empty them.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The salt of one field.
    pub fn of(&self, field: Field) -> Salt {
        let mut mac = keyed(&self.0, b"portcullis/salt/v1\0");
        mac.update(field.as_str().as_bytes());
        Salt(mac.finalize().into_bytes().into())
    }

    /// Commits to a value for one field.
    pub fn commit(&self, field: Field, value: &Canonical) -> Commitment {
        self.of(field).commit(field, value)
    }
}

impl fmt::Debug for Salts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Salts").finish_non_exhaustive()
    }
}

/// The salt of one field of one record: what an auditor is shown beside the value.
#[derive(Clone)]
pub struct Salt([u8; 32]);

impl Salt {
    /// From the 32 bytes that were shown.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to show.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Commits to a value.
    pub fn commit(&self, field: Field, value: &Canonical) -> Commitment {
        Commitment(self.mac(field, value).finalize().into_bytes().into())
    }

    /// Whether the commitment is to this value, in time that does not depend on where they differ.
    pub fn verify(&self, field: Field, value: &Canonical, commitment: &Commitment) -> bool {
        self.mac(field, value).verify_slice(&commitment.0).is_ok()
    }

    fn mac(&self, field: Field, value: &Canonical) -> Hmac<Sha256> {
        let mut mac = keyed(&self.0, b"portcullis/commitment/v1\0");
        mac.update(field.as_str().as_bytes());
        // No field's name holds a zero, so name and value cannot run into each other.
        mac.update(&[0]);
        mac.update(value.as_bytes());
        mac
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Salt").finish_non_exhaustive()
    }
}

/// HMAC under a 32-byte key (padded with zeros to the block, RFC 2104 §2), with its domain taken in.
fn keyed(key: &[u8; 32], domain: &[u8]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(domain);
    mac
}

/// A commitment, written `hmac-sha256:` and base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Commitment([u8; 32]);

impl Commitment {
    fn write<'a>(&self, text: &'a mut [u8; 55]) -> Option<&'a str> {
        let (prefix, rest) = text.split_at_mut_checked(PREFIX.len())?;
        prefix.copy_from_slice(PREFIX.as_bytes());
        URL_SAFE_NO_PAD.encode_slice(self.0, rest).ok()?;
        str::from_utf8(text).ok()
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 55];
        f.write_str(self.write(&mut text).ok_or(fmt::Error)?)
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no commitment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a commitment is written hmac-sha256: and 43 characters of base64url")]
pub struct CommitmentError;

impl FromStr for Commitment {
    type Err = CommitmentError;

    fn from_str(text: &str) -> Result<Self, CommitmentError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(CommitmentError)?;
        // The engine refuses padding and stray bits, so a commitment has one spelling.
        let bytes = URL_SAFE_NO_PAD.decode(encoded).ok();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or(CommitmentError)
    }
}

impl Serialize for Commitment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; 55];
        let text = self
            .write(&mut text)
            .ok_or_else(|| serde::ser::Error::custom(CommitmentError))?;
        serializer.serialize_str(text)
    }
}

impl<'de> Deserialize<'de> for Commitment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::canonical::of_value;

    const FIELDS: [Field; 6] = [
        Field::ActorName,
        Field::Arguments,
        Field::Change,
        Field::IdempotencyKey,
        Field::Result,
        Field::ToolName,
    ];

    fn canonical(value: &serde_json::Value) -> Canonical {
        of_value(value).unwrap()
    }

    #[test]
    fn a_commitment_is_what_another_program_computes() {
        // Made with Python's hmac and hashlib from the text of this module's documentation.
        let salts = Salts::from_bytes([7; 32]);
        let commitment = salts.commit(Field::Arguments, &canonical(&json!({"to": "2025-08-31"})));
        assert_eq!(
            commitment.to_string(),
            "hmac-sha256:56Nh2L2IpSUy3EOvFy06ZAr9__ogSaVq1p92tj3OKvI"
        );
    }

    #[test]
    fn a_commitment_survives_its_text() {
        let commitment = Salts::from_bytes([7; 32]).commit(Field::Result, &canonical(&json!(1)));
        assert_eq!(commitment.to_string().parse(), Ok(commitment));
        let json = serde_json::to_string(&commitment).unwrap();
        assert_eq!(json, format!("\"{commitment}\""));
    }

    #[test]
    fn other_spellings_of_a_commitment_are_refused() {
        let text = Salts::from_bytes([7; 32])
            .commit(Field::Result, &canonical(&json!(1)))
            .to_string();
        let short = text.strip_suffix(|_: char| true).unwrap().to_owned();
        let stray = format!("{short}B");
        for wrong in [
            text.replace("hmac-sha256:", "sha256:"),
            text.replace("hmac", "HMAC"),
            format!("{text}="),
            short,
            stray,
            String::new(),
        ] {
            assert_eq!(wrong.parse::<Commitment>(), Err(CommitmentError), "{wrong}");
        }
    }

    #[test]
    fn one_value_has_another_commitment_in_each_field_and_record() {
        let value = canonical(&json!("user:dana"));
        let mut seen = std::collections::HashSet::new();
        for salts in [Salts::from_bytes([1; 32]), Salts::from_bytes([2; 32])] {
            for field in FIELDS {
                assert!(seen.insert(salts.commit(field, &value)), "{field:?}");
            }
        }
    }

    #[test]
    fn a_fields_salt_opens_no_other_field() {
        let salts = Salts::from_bytes([1; 32]);
        let value = canonical(&json!("user:dana"));
        let commitment = salts.commit(Field::ActorName, &value);
        assert!(
            salts
                .of(Field::ActorName)
                .verify(Field::ActorName, &value, &commitment)
        );
        assert!(
            !salts
                .of(Field::Arguments)
                .verify(Field::ActorName, &value, &commitment)
        );
        assert!(
            !salts
                .of(Field::ActorName)
                .verify(Field::Arguments, &value, &commitment)
        );
    }

    #[test]
    fn debug_output_holds_no_salt() {
        let salts = Salts::from_bytes([171; 32]);
        let shown = format!("{salts:?} {:?}", salts.of(Field::Result));
        assert!(!shown.contains("171") && !shown.contains("ab"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_changed_bit_of_salt_or_commitment_is_found(bit in 0_usize..256, of_salt: bool) {
            let salt = Salts::from_bytes([9; 32]).of(Field::Result);
            let value = canonical(&json!({"a": 1}));
            let commitment = salt.commit(Field::Result, &value);
            let (mut salt, mut commitment) = (salt, commitment);
            let bytes = if of_salt { &mut salt.0 } else { &mut commitment.0 };
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!salt.verify(Field::Result, &value, &commitment));
        }
    }
}
