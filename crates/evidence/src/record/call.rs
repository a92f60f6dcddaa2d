//! What is known of a call before anything is done about it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_domain::caller::AuthStrength;
use portcullis_domain::id::{Id, Principal};
use portcullis_domain::{PrincipalName, PrincipalType, Scope, SpanId, TraceId};
use serde::{Deserialize, Serialize, Serializer};

use crate::canonical::{Canonical, CanonicalError, canonical_bytes};
use crate::commitment::{Commitment, Field, Salts};
use crate::digest::Digest;
use crate::scalar::{Count, Timestamp};

/// A value that stands in the record as its size and a commitment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// The length of the value's canonical bytes.
    pub bytes: Count,
    /// The commitment to them.
    pub commitment: Commitment,
}

impl Payload {
    /// Commits to a value for one field.
    pub fn of(salts: &Salts, field: Field, value: &Canonical) -> Self {
        Self {
            bytes: Count::of_len(value.as_bytes().len()),
            commitment: salts.commit(field, value),
        }
    }
}

/// An actor's name: plain where it names a program, committed where it names a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorName(Named);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    Program(PrincipalName),
    Person(Commitment),
}

impl ActorName {
    /// The form in which a name may be recorded.
    ///
    /// # Errors
    /// When the name cannot be written as JSON.
    pub fn of(name: &PrincipalName, salts: &Salts) -> Result<Self, CanonicalError> {
        Ok(Self(match name.principal_type() {
            PrincipalType::User => {
                Named::Person(salts.commit(Field::ActorName, &canonical_bytes(name)?))
            }
            PrincipalType::Agent | PrincipalType::Service => Named::Program(name.clone()),
        }))
    }

    /// What kind of actor has the name.
    pub fn principal_type(&self) -> PrincipalType {
        match &self.0 {
            Named::Program(name) => name.principal_type(),
            Named::Person(_) => PrincipalType::User,
        }
    }

    pub(super) fn parts(&self) -> (Option<Cow<'_, PrincipalName>>, Option<Commitment>) {
        match &self.0 {
            Named::Program(name) => (Some(Cow::Borrowed(name)), None),
            Named::Person(commitment) => (None, Some(*commitment)),
        }
    }

    pub(super) fn from_parts(
        name: Option<Cow<'_, PrincipalName>>,
        commitment: Option<Commitment>,
    ) -> Result<Self, &'static str> {
        match (name, commitment) {
            (Some(name), None) if name.principal_type() == PrincipalType::User => {
                Err("a person's name stands in a record only as a commitment")
            }
            (Some(name), None) => Ok(Self(Named::Program(name.into_owned()))),
            (None, Some(commitment)) => Ok(Self(Named::Person(commitment))),
            (Some(_), Some(_)) | (None, None) => Err("an actor has a name or a commitment to it"),
        }
    }
}

/// Who called.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ActorForm<'static>")]
pub struct Actor {
    /// How the caller proved itself.
    pub auth: AuthStrength,
    /// The principal's name.
    pub name: ActorName,
    /// The principal's id.
    pub principal: Id<Principal>,
    /// The purpose that the token states.
    pub purpose: Option<Arc<str>>,
    /// The scopes of the token.
    pub scopes: BTreeSet<Scope>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActorForm<'a> {
    auth: AuthStrength,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, PrincipalName>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name_commitment: Option<Commitment>,
    principal: Id<Principal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    purpose: Option<Cow<'a, str>>,
    scopes: Cow<'a, BTreeSet<Scope>>,
    #[serde(rename = "type")]
    kind: PrincipalType,
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, name_commitment) = self.name.parts();
        ActorForm {
            auth: self.auth,
            name,
            name_commitment,
            principal: self.principal,
            purpose: self.purpose.as_deref().map(Cow::Borrowed),
            scopes: Cow::Borrowed(&self.scopes),
            kind: self.name.principal_type(),
        }
        .serialize(serializer)
    }
}

impl TryFrom<ActorForm<'_>> for Actor {
    type Error = &'static str;

    fn try_from(form: ActorForm<'_>) -> Result<Self, Self::Error> {
        let name = ActorName::from_parts(form.name, form.name_commitment)?;
        if name.principal_type() != form.kind {
            return Err("an actor's type is that of its name");
        }
        Ok(Self {
            auth: form.auth,
            name,
            principal: form.principal,
            purpose: form.purpose.as_deref().map(Arc::from),
            scopes: form.scopes.into_owned(),
        })
    }
}

/// What was called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Tool {
    /// A tool of the tenant's catalog.
    Known {
        /// Its name.
        name: Arc<str>,
        /// The digest of its definition's canonical JSON.
        sha256: Digest,
        /// The version of its definition.
        version: Count,
    },
    /// A name that is in no catalog. The caller chose it, so it stands here as a commitment.
    Unknown {
        /// The commitment to the name.
        commitment: Commitment,
    },
}

/// Where in an agent's plan the call stands, as the agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The number of the try; 0 is the first.
    pub attempt: u32,
    /// How deeply the plan is nested.
    pub depth: u32,
    /// The plan's id.
    pub id: Arc<str>,
}

/// The call's span in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// The span of the call.
    pub id: SpanId,
    /// The caller's span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SpanId>,
}

/// What is known of a call once it passed room 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Who called.
    pub actor: Actor,
    /// The arguments as the caller sent them; absent where they have no canonical form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Payload>,
    /// The epoch of the configuration that the call saw.
    pub epoch: Count,
    /// The commitment to the idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<Commitment>,
    /// The agent's plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// The span of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
    /// When the call came in.
    pub started_at: Timestamp,
    /// What was called.
    pub tool: Tool,
    /// The trace of the call.
    pub trace_id: TraceId,
}
