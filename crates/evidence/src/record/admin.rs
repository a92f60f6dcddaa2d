//! Records that are about no single call: administrative changes, and counts of requests refused at
//! the door.

use std::borrow::Cow;
use std::sync::Arc;

use portcullis_domain::id::{Id, OutboxEntry, Principal, ServiceToken};
use portcullis_domain::{PrincipalName, PrincipalType, TraceId};
use serde::{Deserialize, Serialize, Serializer};

use super::call::{ActorName, Payload};
use crate::commitment::Commitment;
use crate::digest::Digest;
use crate::scalar::{Count, Label, Timestamp};

/// The room that refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Room {
    /// Room 2: rate, concurrency, plan depth, a frozen tenant.
    Admit,
    /// Room 1: no valid token.
    Authenticate,
}

/// How many requests were refused at the door for one reason in one minute, so that a flood never
/// becomes a flood of records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusalCount {
    /// How many.
    pub count: Count,
    /// The minute's beginning.
    pub minute: Timestamp,
    /// The problem's slug.
    pub reason: Label,
    /// Which room refused.
    pub room: Room,
}

/// Who changed something.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "AdminActorForm<'static>")]
pub enum AdminActor {
    /// The platform itself: a seed, an expiry, a scheduled job.
    Platform,
    /// A person, an agent or a service of the tenant.
    Principal {
        /// Its name.
        name: ActorName,
        /// Its id.
        principal: Id<Principal>,
    },
    /// Whoever holds a service token of the management API.
    ServiceToken(Id<ServiceToken>),
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AdminActorType {
    Agent,
    Platform,
    Service,
    ServiceToken,
    User,
}

impl From<PrincipalType> for AdminActorType {
    fn from(kind: PrincipalType) -> Self {
        match kind {
            PrincipalType::Agent => Self::Agent,
            PrincipalType::User => Self::User,
            PrincipalType::Service => Self::Service,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AdminActorForm<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, PrincipalName>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name_commitment: Option<Commitment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    principal: Option<Id<Principal>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service_token: Option<Id<ServiceToken>>,
    #[serde(rename = "type")]
    kind: AdminActorType,
}

impl Serialize for AdminActor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut form = AdminActorForm {
            name: None,
            name_commitment: None,
            principal: None,
            service_token: None,
            kind: AdminActorType::Platform,
        };
        match self {
            Self::Platform => {}
            Self::Principal { name, principal } => {
                (form.name, form.name_commitment) = name.parts();
                form.principal = Some(*principal);
                form.kind = name.principal_type().into();
            }
            Self::ServiceToken(token) => {
                form.service_token = Some(*token);
                form.kind = AdminActorType::ServiceToken;
            }
        }
        form.serialize(serializer)
    }
}

impl TryFrom<AdminActorForm<'_>> for AdminActor {
    type Error = &'static str;

    // As with outcomes, members that do not fit are refused when the record is written again.
    fn try_from(form: AdminActorForm<'_>) -> Result<Self, Self::Error> {
        match form.kind {
            AdminActorType::Platform => Ok(Self::Platform),
            AdminActorType::ServiceToken => form
                .service_token
                .map(Self::ServiceToken)
                .ok_or("an actor of type service_token names the token"),
            AdminActorType::Agent | AdminActorType::Service | AdminActorType::User => {
                Ok(Self::Principal {
                    name: ActorName::from_parts(form.name, form.name_commitment)?,
                    principal: form
                        .principal
                        .ok_or("an actor of this type names the principal")?,
                })
            }
        }
    }
}

/// What was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its id; never a personal name.
    pub id: Arc<str>,
    /// What it is: `principal`, `policy-version`.
    pub noun: Label,
}

/// A change of configuration, people, policies or switches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminChange {
    /// What was done: `grant.created`, `policy.published`.
    pub action: Label,
    /// Who did it.
    pub actor: AdminActor,
    /// The document of the change, with the reason that was given for it.
    pub change: Payload,
    /// The epoch that the change began, where it changed what replicas hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Count>,
    /// When it was committed.
    pub occurred_at: Timestamp,
    /// The entry of the outbox that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbox: Option<Id<OutboxEntry>>,
    /// The digest of the tool definition or policy that came into force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// What was changed.
    pub target: Target,
    /// The trace of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
}
