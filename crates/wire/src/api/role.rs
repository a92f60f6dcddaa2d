//! Roles: what the holder of a service token may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a caller of the management API may do. `docs/management-api.md` lists each role's actions.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything in one tenant, its service tokens included.
    Owner,
    /// Runs one tenant: principals, grants, limits, tools, drafts of policy.
    Operator,
    /// Decides held calls of one tenant; reads its configuration.
    Approver,
    /// Reads everything of one tenant, its service tokens included; changes nothing.
    Auditor,
    /// Reads one tenant's configuration and records.
    Viewer,
    /// Runs the platform: creates tenants and their first owner tokens; reads nothing inside one.
    Platform,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] = [
        Self::Owner,
        Self::Operator,
        Self::Approver,
        Self::Auditor,
        Self::Viewer,
        Self::Platform,
    ];

    /// The name used in SQL, JSON and the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Auditor => "auditor",
            Self::Viewer => "viewer",
            Self::Platform => "platform",
        }
    }

    /// Whether the role is held within one tenant. The other kind is held for the platform.
    pub const fn is_of_a_tenant(self) -> bool {
        match self {
            Self::Owner | Self::Operator | Self::Approver | Self::Auditor | Self::Viewer => true,
            Self::Platform => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no role: owner, operator, approver, auditor, viewer or platform")]
pub struct RoleError {
    given: String,
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| RoleError {
                given: text.chars().take(40).collect(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_survives_its_name() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert_eq!(
                serde_json::to_value(role).unwrap(),
                serde_json::Value::from(role.as_str())
            );
        }
    }

    #[test]
    fn a_name_that_is_no_role_is_refused() {
        for text in ["", "root", "Owner", "owner "] {
            assert!(text.parse::<Role>().is_err(), "{text}");
        }
    }
}
