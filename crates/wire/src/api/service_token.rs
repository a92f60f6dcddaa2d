//! Service tokens: credentials of the management API for the command line and for automation.

use portcullis_domain::id::{self, Id};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{Role, schema};

/// A service token, without the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceToken {
    /// Its id. It is no secret itself.
    #[schema(value_type = schema::ServiceTokenId)]
    pub id: Id<id::ServiceToken>,
    /// What it is for, in words.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// The tenant in which; absent for the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::TenantId>)]
    pub tenant: Option<Id<id::Tenant>>,
    /// Who created it.
    pub created_by: String,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it stops working.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// When it was revoked.
    #[serde(with = "time::serde::rfc3339::option")]
    pub revoked_at: Option<OffsetDateTime>,
    /// When it was last used, to the minute.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_used_at: Option<OffsetDateTime>,
}

/// What creates a service token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateServiceToken {
    /// What it is for: 1 to 200 characters.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// The tenant's slug or id; absent for the role `platform`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// When it stops working: at most 366 days from now.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

/// A new service token. It is shown in this answer and never again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedServiceToken {
    /// What was created.
    pub service_token: ServiceToken,
    /// The token: `pst_`, the 32 digits of its id, `_` and 43 characters.
    pub token: String,
}

impl std::fmt::Debug for CreatedServiceToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedServiceToken")
            .field("service_token", &self.service_token)
            .finish_non_exhaustive()
    }
}
