//! Tenants.

pub use portcullis_domain::ReplayMode;
use portcullis_domain::id::{self, Id};
use portcullis_domain::{Jurisdiction, Pool};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::schema;

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
    #[schema(value_type = schema::ReplayMode)]
    pub replay: ReplayMode,
    /// Whether it takes two people to lift a kill switch.
    pub two_person_lift: bool,
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
    #[schema(value_type = schema::ReplayMode)]
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
    #[schema(value_type = Option<schema::ReplayMode>)]
    pub replay: Option<ReplayMode>,
    /// Whether it takes two people to lift a kill switch. It cannot be changed to `false` while one of
    /// the tenant's switches is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub two_person_lift: Option<bool>,
}
