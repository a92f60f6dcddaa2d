//! The record, version 1: what happened, once, for good.
//!
//! A record says what was called, refused or changed, for which tenant, by which replica and when.
//! What is personal or secret stands in it only as a [`Commitment`](crate::Commitment). Records are
//! never updated: a call that may have an effect leaves an intent before it and an outcome after it.
//!
//! The canonical bytes of a record are its identity: they are hashed, signed and stored. All types
//! below declare their members in canonical order; a property test holds that to the reference
//! implementation. INVARIANT: a member added here stands where RFC 8785 sorts it.

mod admin;
mod call;
mod ending;
mod form;

use portcullis_domain::id::{Id, Record as RecordKind, Replica, Tenant};
use portcullis_domain::{Pool, TraceId};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

pub use admin::{AdminActor, AdminChange, RefusalCount, Room, Target};
pub use call::{Actor, ActorName, Call, Payload, Plan, Span, Tool};
pub use ending::{
    Answer, Basis, CallIntent, CallOutcome, Cost, Effect, Ending, Hold, Mode, Permit,
    PolicyVersion, Redaction, Route, Status, Verdict,
};

use crate::canonical::{Canonical, CanonicalError};
use crate::scalar::Timestamp;

/// The version of the form that this crate writes and reads.
pub const VERSION: u32 = 1;

/// Why bytes are no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not JSON, not of this form, or with members that contradict each other.
    #[error("the bytes are not a record of version {VERSION}")]
    Form(#[from] serde_json::Error),
    /// A record of a version that this program does not know.
    #[error("the record has version {0}; this program reads version {VERSION}")]
    Version(u32),
    /// A record, but written in another way than the one that is hashed.
    #[error("the record is not in canonical form (RFC 8785), so its bytes prove nothing")]
    NotCanonical,
    /// The record read has no canonical form to compare with.
    #[error("the record cannot be written again")]
    Encode(#[from] CanonicalError),
}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A change of configuration, people, policies or switches.
    #[serde(rename = "admin.change")]
    AdminChange,
    /// A call is about to have an effect.
    #[serde(rename = "call.intent")]
    CallIntent,
    /// A call is over.
    #[serde(rename = "call.outcome")]
    CallOutcome,
    /// How many requests were refused at the door for one reason in one minute.
    #[serde(rename = "refusal.count")]
    RefusalCount,
}

impl Kind {
    /// The name used in SQL and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AdminChange => "admin.change",
            Self::CallIntent => "call.intent",
            Self::CallOutcome => "call.outcome",
            Self::RefusalCount => "refusal.count",
        }
    }
}

/// What happened, by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A change of configuration, people, policies or switches.
    AdminChange(Box<AdminChange>),
    /// A call is about to have an effect.
    CallIntent(Box<CallIntent>),
    /// A call is over.
    CallOutcome(Box<CallOutcome>),
    /// How many requests were refused at the door for one reason in one minute.
    RefusalCount(RefusalCount),
}

impl Body {
    /// Which kind it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::AdminChange(_) => Kind::AdminChange,
            Self::CallIntent(_) => Kind::CallIntent,
            Self::CallOutcome(_) => Kind::CallOutcome,
            Self::RefusalCount(_) => Kind::RefusalCount,
        }
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AdminChange(change) => change.serialize(serializer),
            Self::CallIntent(intent) => intent.serialize(serializer),
            Self::CallOutcome(outcome) => outcome.serialize(serializer),
            Self::RefusalCount(count) => count.serialize(serializer),
        }
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it was made and signed.
    pub at: Timestamp,
    /// What happened.
    pub body: Body,
    /// Its id.
    pub id: Id<RecordKind>,
    /// The pool whose database keeps it.
    pub pool: Pool,
    /// The replica that made and signed it.
    pub replica: Id<Replica>,
    /// Whose it is.
    pub tenant: Id<Tenant>,
}

#[derive(Serialize)]
struct Written<'a> {
    at: Timestamp,
    body: &'a Body,
    id: Id<RecordKind>,
    kind: Kind,
    pool: Pool,
    replica: Id<Replica>,
    tenant: Id<Tenant>,
    v: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read<'a> {
    at: Timestamp,
    #[serde(borrow)]
    body: &'a RawValue,
    id: Id<RecordKind>,
    kind: Kind,
    pool: Pool,
    replica: Id<Replica>,
    tenant: Id<Tenant>,
    v: u32,
}

/// The version alone, whatever else another version may hold.
#[derive(Deserialize)]
struct Version {
    v: u32,
}

impl<'a> Read<'a> {
    fn parse(canonical: &'a [u8]) -> Result<Self, RecordError> {
        match serde_json::from_slice::<Self>(canonical) {
            Ok(read) if read.v == VERSION => Ok(read),
            Ok(read) => Err(RecordError::Version(read.v)),
            Err(error) => match serde_json::from_slice(canonical) {
                Ok(Version { v }) if v != VERSION => Err(RecordError::Version(v)),
                Ok(Version { .. }) | Err(_) => Err(error.into()),
            },
        }
    }
}

impl Record {
    /// The canonical bytes, which are hashed, signed and stored.
    ///
    /// # Errors
    /// When a label is outside its rule.
    pub fn canonical(&self) -> Result<Canonical, CanonicalError> {
        Canonical::of_sorted(&Written {
            at: self.at,
            body: &self.body,
            id: self.id,
            kind: self.body.kind(),
            pool: self.pool,
            replica: self.replica,
            tenant: self.tenant,
            v: VERSION,
        })
    }

    /// Reads canonical bytes. Whatever else they could be read as is refused: unknown, repeated,
    /// missing and contradictory members, another order, white space.
    ///
    /// # Errors
    /// Says whether the form, the version or the spelling is wrong.
    pub fn parse(canonical: &[u8]) -> Result<Self, RecordError> {
        let read = Read::parse(canonical)?;
        let body = read.body.get();
        let record = Self {
            at: read.at,
            body: match read.kind {
                Kind::AdminChange => Body::AdminChange(serde_json::from_str(body)?),
                Kind::CallIntent => Body::CallIntent(serde_json::from_str(body)?),
                Kind::CallOutcome => Body::CallOutcome(serde_json::from_str(body)?),
                Kind::RefusalCount => Body::RefusalCount(serde_json::from_str(body)?),
            },
            id: read.id,
            pool: read.pool,
            replica: read.replica,
            tenant: read.tenant,
        };
        if record.canonical()?.as_bytes() == canonical {
            Ok(record)
        } else {
            Err(RecordError::NotCanonical)
        }
    }

    /// The trace that the record belongs to, where there is one.
    pub const fn trace_id(&self) -> Option<TraceId> {
        match &self.body {
            Body::AdminChange(change) => change.trace_id,
            Body::CallIntent(intent) => Some(intent.call.trace_id),
            Body::CallOutcome(outcome) => Some(outcome.call.trace_id),
            Body::RefusalCount(_) => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod generated;
#[cfg(test)]
pub(crate) mod tests;
