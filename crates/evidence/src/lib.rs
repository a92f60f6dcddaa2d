//! Evidence: records of what was called, refused and changed, in one canonical form that an outsider
//! can hash, and receipts that prove that a record was made.
//!
//! Pure by construction: no I/O, no clock, no randomness, no key of its own. It compiles to wasm, so
//! that whoever doubts the platform can check it elsewhere. This crate must never accept bytes that
//! have a second meaning: a record that is not in canonical form is no record.
//!
//! The pieces, from the inside out:
//! - [`canonical`]: RFC 8785 JSON, and its hash.
//! - [`commitment`]: salted commitments that stand for personal values, arguments and answers.
//! - [`record`]: the record, version 1.
//! - [`receipt`]: the replica's signature over a record's leaf hash, and the form of it that the
//!   caller takes home.

pub mod canonical;
pub mod commitment;
pub mod digest;
pub mod receipt;
pub mod record;
pub mod scalar;

pub use canonical::{Canonical, CanonicalError, canonical_bytes, canonical_sha256};
pub use commitment::{Commitment, Field, Salt, Salts};
pub use digest::Digest;
pub use receipt::{Receipt, ReceiptError, SealError, Sealed, Signer, SignerError, VerifyingKey};
pub use record::{Body, Kind, Record, RecordError};
pub use scalar::{Count, Label, MemberName, Timestamp};
