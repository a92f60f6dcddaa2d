//! The resources of `/api/v1`, as the management API writes them and its clients read them.
//!
//! Requests refuse unknown members. No type here carries a stored secret: a secret exists only in
//! the answer that creates it.

pub mod claim;
pub mod egress;
pub mod limits;
pub mod policy;
pub mod principal;
pub mod record;
pub mod role;
pub mod schema;
pub mod service_token;
pub mod switch;
pub mod tenant;
pub mod ticket;
pub mod tool;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use claim::{
    Claim, ClaimState, ClaimStateError, Finding, FindingError, ResolveClaim, ResolvedClaim,
};
pub use egress::{EgressAllowlist, EgressCheck, EgressStep, PutEgressAllowlist};
pub use limits::{LimitsSetting, PutLimits};
pub use policy::{PolicyDiagnostic, PolicySeverity, PolicyStatus, PolicyVersion, PublishPolicy};
pub use principal::{
    ClientKey, ClientSecret, CreateGrant, CreateKey, CreatePrincipal, CreateSecret, CreatedSecret,
    DEFAULT_OVERLAP_SECONDS, Grant, Principal, PrincipalStatus, RotateSecret, UpdatePrincipal,
};
pub use record::Record;
pub use role::Role;
pub use service_token::{CreateServiceToken, CreatedServiceToken, ServiceToken};
pub use switch::{
    Because, DropSwitch, LiftRequested, Propagation, Replica, ReplicaStanding, Replicas, Switch,
    SwitchLifted, SwitchReport, SwitchState,
};
pub use tenant::{CreateTenant, ReplayMode, Tenant, UpdateTenant};
pub use ticket::{CloseTicket, OpenTicket, Ticket, TicketState};
pub use tool::{RegisterTool, Tool, ToolConnector, ToolDetail, ToolVersion, UpdateTool};

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The things on this page.
    pub items: Vec<T>,
    /// What to send as `cursor` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
