//! Limits of a tenant and of its principals.

use portcullis_domain::{Limits, PrincipalName, StopRules};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// Limits in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitsSetting {
    /// Whose limits these are; absent for those of the whole tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::PrincipalName>)]
    pub principal: Option<PrincipalName>,
    /// Rates, concurrency and money.
    #[schema(value_type = schema::Limits)]
    pub limits: Limits,
    /// When a plan has to stop.
    #[schema(value_type = schema::StopRules)]
    pub stop_rules: StopRules,
    /// Counts their changes; the `ETag` names it. 0 where the platform's defaults are in force.
    pub version: i64,
}

/// What sets limits: the form of `policies/limits.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutLimits {
    /// Whose limits these are. It must be the principal of the URL; absent for the whole tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::PrincipalName>)]
    pub principal: Option<PrincipalName>,
    /// Rates, concurrency and money.
    #[schema(value_type = schema::Limits)]
    pub limits: Limits,
    /// When a plan has to stop.
    #[schema(value_type = schema::StopRules)]
    pub stop_rules: StopRules,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_playbooks_file_is_a_request_as_it_is() {
        let text = include_str!("../../../../policies/limits.json");
        let put: PutLimits = serde_json::from_str(text).unwrap();
        assert_eq!(put.principal.unwrap().as_str(), "agent:copilot");
        assert_eq!(put.limits.rpm, 60);
    }

    #[test]
    fn an_unknown_limit_is_refused_by_name() {
        let text = include_str!("../../../../policies/limits.json").replace("rpm", "rps");
        let error = serde_json::from_str::<PutLimits>(&text).unwrap_err();
        assert!(error.to_string().contains("`rps`"), "{error}");
    }
}
