//! Signed records, as they are stored.

use portcullis_domain::id::{self, Id};
use portcullis_domain::{Pool, TraceId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::schema;

/// One signed record. It holds commitments to personal values, never the values.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Record {
    /// The record's id.
    #[schema(value_type = schema::RecordId)]
    pub id: Id<id::Record>,
    /// The trace of the call.
    #[schema(value_type = schema::TraceId)]
    pub trace_id: TraceId,
    /// The pool that keeps it.
    #[schema(value_type = schema::Pool)]
    pub pool: Pool,
    /// The canonical record (RFC 8785), byte for byte as it was signed.
    #[schema(value_type = Object)]
    pub record: Box<RawValue>,
    /// SHA-256 leaf hash over those bytes (RFC 9162 §2.1.1).
    #[schema(value_type = schema::Sha256)]
    pub leaf: String,
    /// The replica's Ed25519 signature over the leaf, base64url without padding.
    pub signature: String,
    /// The key that signed it.
    pub key_id: String,
}
