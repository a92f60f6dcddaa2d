//! The hosts that a tenant's tools may call.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A tenant's allow-list, as policy sees it in `egress.domain_in_allowlist`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EgressAllowlist {
    /// `host` for the ports 80 and 443, or `host:port`.
    pub hosts: Vec<String>,
    /// Counts its changes; the `ETag` names it. 0 where it was never set.
    pub version: i64,
}

/// A new allow-list, in place of the present one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutEgressAllowlist {
    /// `host` for the ports 80 and 443, or `host:port`; at most 1,000.
    pub hosts: Vec<String>,
}
