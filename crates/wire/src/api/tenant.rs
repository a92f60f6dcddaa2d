//! Tenants.

use std::fmt;
use std::str::FromStr;

use portcullis_domain::id::{self, Id};
use portcullis_domain::{Jurisdiction, Pool};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::schema;

/// What a second use of an access token of this tenant means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayMode {
    /// A token stays with the network that used it first.
    #[default]
    Network,
    /// A token is spent by its first use.
    OneTime,
    /// A token must be bound to a key or a certificate; plain bearer tokens are refused.
    SenderConstrained,
}

impl ReplayMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Network, Self::OneTime, Self::SenderConstrained];

    /// The name used in SQL, JSON and the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::OneTime => "one-time",
            Self::SenderConstrained => "sender-constrained",
        }
    }
}

impl fmt::Display for ReplayMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no replay mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a replay mode is network, one-time or sender-constrained")]
pub struct ReplayModeError;

impl FromStr for ReplayMode {
    type Err = ReplayModeError;

    fn from_str(text: &str) -> Result<Self, ReplayModeError> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or(ReplayModeError)
    }
}

/// A customer of the platform, isolated from every other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tenant {
    /// The tenant's id.
    #[schema(value_type = schema::TenantId)]
    pub id: Id<id::Tenant>,
    /// The tenant's name in URLs. It never changes.
    #[schema(value_type = schema::TenantSlug)]
    pub slug: String,
    /// The tenant's name for people.
    pub name: String,
    /// Where its data lives and its calls run unless policy routes them elsewhere.
    #[schema(value_type = schema::Pool)]
    pub home_pool: Pool,
    /// Whose law it falls under.
    #[schema(value_type = schema::Jurisdiction)]
    pub region: Jurisdiction,
    /// What a second use of an access token means.
    pub replay: ReplayMode,
    /// Where its agents call tools.
    pub mcp_url: String,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Counts its changes; the `ETag` names it.
    pub version: i64,
}

/// What creates a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTenant {
    /// 2 to 63 lower-case letters, digits and hyphens, beginning with a letter and not ending with
    /// a hyphen. It never changes.
    #[schema(value_type = schema::TenantSlug)]
    pub slug: String,
    /// 1 to 200 characters for people.
    pub name: String,
    /// Where its data lives. It never changes.
    #[schema(value_type = schema::Pool)]
    pub home_pool: Pool,
    /// What a second use of an access token means.
    #[serde(default)]
    pub replay: ReplayMode,
}

/// What changes a tenant. Absent members stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateTenant {
    /// 1 to 200 characters for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What a second use of an access token means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayMode>,
}
