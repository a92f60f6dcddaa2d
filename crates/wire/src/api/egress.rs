//! The hosts that a tenant's tools may call.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A tenant's allow-list, as policy sees it in `egress.domain_in_allowlist`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EgressAllowlist {
    /// For every tool: `host` or, for the names below it, `*.host`, at the ports 80 and 443; or either
    /// with `:port`.
    pub hosts: Vec<String>,
    /// For single tools, by their names, beside the hosts of every tool.
    #[serde(default)]
    pub tools: BTreeMap<String, Vec<String>>,
    /// Counts its changes; the `ETag` names it. 0 where it was never set.
    pub version: i64,
}

/// A new allow-list, in place of the present one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutEgressAllowlist {
    /// For every tool: `host` or, for the names below it, `*.host`, at the ports 80 and 443; or either
    /// with `:port`. At most 1,000.
    pub hosts: Vec<String>,
    /// For single tools, by their names, beside the hosts of every tool; at most 1,000 each, of at most
    /// 100 tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, Vec<String>>,
}

/// Why a URL may be reached, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EgressCheck {
    /// Whether a tool of the tenant may reach it now.
    pub may_be_reached: bool,
    /// Every step of the way, in its order.
    pub steps: Vec<EgressStep>,
}

/// One step on the way to a URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EgressStep {
    /// `url`, `scheme`, `host`, `port`, `allow-list`, `block-list` or `addresses`.
    pub step: String,
    /// Whether it was passed; absent where an earlier one refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<bool>,
    /// What was found. Addresses that are not public are told by their class alone.
    pub found: String,
    /// What would let it pass, where somebody can do something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}
