//! Kill switches, and how far the replicas have followed.

use portcullis_domain::SwitchKind;
use portcullis_domain::id::{self, Id};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::schema;

/// A kill switch that was dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Switch {
    /// The switch's id.
    #[schema(value_type = schema::SwitchId)]
    pub id: Id<id::Switch>,
    /// What it stops.
    #[schema(value_type = schema::SwitchKind)]
    pub kind: SwitchKind,
    /// Whose calls it stops; every tenant's where absent.
    #[schema(value_type = Option<schema::TenantId>)]
    pub tenant: Option<Id<id::Tenant>>,
    /// Whether the platform dropped it. Then the platform alone lifts it.
    pub by_platform: bool,
    /// The name of the tool, the server, the principal or the host, where the kind has one.
    pub target: Option<String>,
    /// Why it was dropped.
    pub reason: String,
    /// Who dropped it.
    pub dropped_by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub dropped_at: OffsetDateTime,
    /// When it ends by itself.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    /// Whether it stops calls now.
    pub state: SwitchState,
    /// The first of the two people that it takes to lift it.
    pub lift_requested: Option<LiftRequested>,
    /// How it ended.
    pub lifted: Option<SwitchLifted>,
}

/// Whether a switch stops calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SwitchState {
    /// It does.
    Down,
    /// It does no longer: its time is over.
    Expired,
    /// It does no longer: somebody lifted it, or its end was written down.
    Lifted,
}

impl SwitchState {
    /// The name used in JSON and the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Expired => "expired",
            Self::Lifted => "lifted",
        }
    }
}

/// Somebody's wish to lift a switch. Within an hour another may confirm it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LiftRequested {
    /// Whose.
    pub by: String,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// How a switch ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SwitchLifted {
    /// Who lifted it; `system:expiry` where its time was over.
    pub by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Why.
    pub reason: String,
}

/// What drops a switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DropSwitch {
    /// What it stops.
    #[schema(value_type = schema::SwitchKind)]
    pub kind: SwitchKind,
    /// The tool's, the server's or the principal's name or the host, for the kinds `tool-quarantine`,
    /// `server-quarantine`, `principal-suspension` and `egress-block`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The slug or id of the tenant that the platform freezes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Why: 3 to 500 characters. Everybody whom the switch concerns can read it.
    #[schema(min_length = 3, max_length = 500)]
    pub reason: String,
    /// When it ends by itself; where absent, only when it is lifted.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_at: Option<OffsetDateTime>,
}

/// What lifts a switch, or measures how fast one would fall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Because {
    /// Why: 3 to 500 characters.
    #[schema(min_length = 3, max_length = 500)]
    pub reason: String,
}

/// A switch, and how far the replicas have followed its last flip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SwitchReport {
    /// The switch.
    pub switch: Switch,
    /// How far the replicas have followed.
    pub propagation: Propagation,
}

/// How far the replicas have followed a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Propagation {
    /// The epoch of the change.
    pub epoch: i64,
    /// Whether no replica starts a call any more that the change forbids: each has confirmed it, or
    /// refuses by itself because it has heard nothing for too long.
    pub acknowledged: bool,
    /// Where each registered replica stands. Empty in the kept answer to a repeated request.
    pub replicas: Vec<ReplicaStanding>,
}

/// Where one replica stands. Exactly one of the three members is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplicaStanding {
    /// The replica.
    #[schema(value_type = schema::ReplicaId)]
    pub replica: Id<id::Replica>,
    /// It has taken the change in, this long after it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_after_ms: Option<u64>,
    /// It has been silent for so long that it refuses by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuses_itself: Option<bool>,
    /// It has not answered; it refuses by itself after this time at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuses_itself_after_ms: Option<u64>,
}

/// The replicas that registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replicas {
    /// The epoch of now.
    pub epoch: i64,
    /// The replicas, oldest first.
    pub items: Vec<Replica>,
}

/// A running process of the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replica {
    /// The replica's id.
    #[schema(value_type = schema::ReplicaId)]
    pub id: Id<id::Replica>,
    /// Since when it runs.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// The epoch that it has taken in; absent where it has only just begun.
    pub confirmed_epoch: Option<i64>,
    /// How long ago it last said so, by the database's clock. After 2 seconds it refuses mutating calls,
    /// after 10 all.
    pub silent_for_ms: u64,
}
