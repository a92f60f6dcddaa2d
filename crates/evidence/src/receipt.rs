//! The replica's signature over a record, and the receipt that the caller takes home.
//!
//! There is one signature: over the record's id, trace, time and leaf hash. Stored beside the record
//! it says which replica made it; given to the caller it is the receipt, by which a record that was
//! removed later is missed. So a call costs one signature, and every receipt can be made again from
//! its stored record. This module must never sign what is not a record, nor accept a signature
//! made for anything else.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signature as Ed25519Signature;
use portcullis_domain::TraceId;
use portcullis_domain::id::{Id, Record as RecordKind};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::canonical::{Canonical, CanonicalError};
use crate::digest::Digest;
use crate::record::{Record, RecordError};
use crate::scalar::Timestamp;

/// What stands before every signed statement, so that the key's signatures mean nothing elsewhere.
const DOMAIN: &[u8] = b"portcullis/record/v1\0";

/// A key could not sign.
#[derive(Debug, thiserror::Error)]
#[error("the signing key could not sign")]
pub struct SignerError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl SignerError {
    /// Keeps the cause.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

/// An Ed25519 key that signs records.
pub trait Signer: Send + Sync {
    /// The RFC 7638 thumbprint of the public key.
    fn key_id(&self) -> &str;

    /// Signs a message (RFC 8032).
    ///
    /// # Errors
    /// When the key cannot sign now.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError>;
}

/// Why a record could not be sealed. Then nothing may be answered.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The record has no canonical form.
    #[error("the record cannot be written")]
    Canonical(#[from] CanonicalError),
    /// The key could not sign.
    #[error("the record cannot be signed")]
    Signer(#[from] SignerError),
}

/// Why a receipt or a stored record proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The bytes are no key, or a weak one.
    #[error("the bytes are not a sound Ed25519 public key")]
    Key,
    /// The receipt names another key.
    #[error("the signature was made with key {0}; verify it with that key")]
    OtherKey(String),
    /// The signature does not fit what is signed.
    #[error("the signature does not fit: the statement, the signature or the key was changed")]
    Signature(#[source] ed25519_dalek::SignatureError),
    /// The bytes are no record.
    #[error("what the receipt is compared with is no record")]
    Record(#[from] RecordError),
    /// The receipt is of another record, or of another form of this one.
    #[error("the record does not have the {0} that the receipt states")]
    Differs(&'static str),
    /// The signed statement cannot be written.
    #[error("the signed statement cannot be written")]
    Canonical(#[from] CanonicalError),
}

/// An Ed25519 signature, written as base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Takes the bytes of a database row.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a database row.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(serde::de::Error::custom)?;
        match bytes.try_into() {
            Ok(bytes) => Ok(Self(bytes)),
            Err(_) => Err(serde::de::Error::custom("a signature is 64 bytes")),
        }
    }
}

/// A public key that receipts are verified with.
#[derive(Debug, Clone)]
pub struct VerifyingKey {
    id: String,
    key: ed25519_dalek::VerifyingKey,
}

impl VerifyingKey {
    /// From the 32 bytes of RFC 8032 §5.1.2.
    ///
    /// # Errors
    /// Refuses what is no point of the curve, and points of small order, for which anybody can sign.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, ReceiptError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes)
            .ok()
            .filter(|key| !key.is_weak())
            .ok_or(ReceiptError::Key)?;
        // The members that RFC 8037 §2 requires, in the order of RFC 7638 §3.
        let jwk = format!(
            r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#,
            URL_SAFE_NO_PAD.encode(bytes)
        );
        let id = URL_SAFE_NO_PAD.encode(Digest::of(jwk.as_bytes()).as_bytes());
        Ok(Self { id, key })
    }

    /// The RFC 7638 thumbprint, which receipts name.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// That a replica made a record: `dev.portcullis/receipt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// When the record was made and signed.
    pub issued_at: Timestamp,
    /// The RFC 7638 thumbprint of the key that signed.
    pub key: String,
    /// The record's leaf hash.
    pub leaf: Digest,
    /// The record's id.
    pub record: Id<RecordKind>,
    /// The signature over the other members.
    pub signature: Signature,
    /// The record's trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
}

/// What is signed: a receipt without its signature.
#[derive(Serialize)]
struct Statement<'a> {
    issued_at: Timestamp,
    key: &'a str,
    leaf: Digest,
    record: Id<RecordKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<TraceId>,
}

impl Statement<'_> {
    fn message(&self) -> Result<Vec<u8>, CanonicalError> {
        let mut message = Vec::with_capacity(320);
        message.extend_from_slice(DOMAIN);
        serde_json::to_writer(&mut message, self)?;
        Ok(message)
    }
}

impl Receipt {
    /// The receipt of a stored record, from what is stored beside it. It is not verified yet.
    ///
    /// # Errors
    /// When the bytes are no record in canonical form.
    pub fn of_stored(
        canonical: &[u8],
        key: &str,
        signature: Signature,
    ) -> Result<Self, RecordError> {
        let record = Record::parse(canonical)?;
        Ok(Self {
            issued_at: record.at,
            key: key.to_owned(),
            leaf: Digest::of_leaf(canonical),
            record: record.id,
            signature,
            trace_id: record.trace_id(),
        })
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// When the receipt names another key, or its signature does not fit.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), ReceiptError> {
        if self.key != key.id {
            return Err(ReceiptError::OtherKey(self.key.clone()));
        }
        let message = Statement {
            issued_at: self.issued_at,
            key: &self.key,
            leaf: self.leaf,
            record: self.record,
            trace_id: self.trace_id,
        }
        .message()?;
        key.key
            .verify_strict(&message, &Ed25519Signature::from_bytes(&self.signature.0))
            .map_err(ReceiptError::Signature)
    }

    /// Checks that the receipt is of this record, given as its canonical bytes. Verify the signature
    /// too: without it a receipt proves nothing.
    ///
    /// # Errors
    /// Says what differs.
    pub fn matches(&self, canonical: &[u8]) -> Result<Record, ReceiptError> {
        if Digest::of_leaf(canonical) != self.leaf {
            return Err(ReceiptError::Differs("leaf hash"));
        }
        let record = Record::parse(canonical)?;
        if record.id != self.record {
            return Err(ReceiptError::Differs("id"));
        }
        if record.at != self.issued_at {
            return Err(ReceiptError::Differs("time"));
        }
        if record.trace_id() != self.trace_id {
            return Err(ReceiptError::Differs("trace"));
        }
        Ok(record)
    }
}

/// A record that is signed and ready to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    canonical: Canonical,
    receipt: Receipt,
    record: Record,
}

impl Sealed {
    /// Writes and signs a record.
    ///
    /// # Errors
    /// When the record has no canonical form or the key cannot sign. Nothing may be answered then.
    pub fn new(record: Record, signer: &dyn Signer) -> Result<Self, SealError> {
        let canonical = record.canonical()?;
        let statement = Statement {
            issued_at: record.at,
            key: signer.key_id(),
            leaf: Digest::of_leaf(canonical.as_bytes()),
            record: record.id,
            trace_id: record.trace_id(),
        };
        let signature = Signature(signer.sign(&statement.message()?)?);
        let receipt = Receipt {
            issued_at: statement.issued_at,
            key: statement.key.to_owned(),
            leaf: statement.leaf,
            record: statement.record,
            signature,
            trace_id: statement.trace_id,
        };
        Ok(Self {
            canonical,
            receipt,
            record,
        })
    }

    /// The bytes to store.
    pub const fn canonical(&self) -> &Canonical {
        &self.canonical
    }

    /// The receipt, whose leaf hash, key and signature are stored beside the bytes.
    pub const fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// The record.
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// Takes the parts out.
    pub fn into_parts(self) -> (Record, Canonical, Receipt) {
        (self.record, self.canonical, self.receipt)
    }
}

#[cfg(test)]
mod tests;
