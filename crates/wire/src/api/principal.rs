//! Principals, their client secrets and their grants.

use portcullis_domain::id::{self, Id};
use portcullis_domain::{Jurisdiction, PrincipalName, PrincipalType, Scope};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::schema;

/// Whether a principal may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalStatus {
    /// It may act within its grants.
    Active,
    /// It gets no tokens, and its calls are refused.
    Suspended,
}

impl PrincipalStatus {
    /// The name used in SQL, JSON and the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

/// An agent, a person or a service of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Principal {
    /// The principal's id, which is also its OAuth client id.
    #[schema(value_type = schema::PrincipalId)]
    pub id: Id<id::Principal>,
    /// Its name within the tenant, the `sub` of its tokens.
    #[schema(value_type = schema::PrincipalName)]
    pub name: PrincipalName,
    /// What kind of actor it is, as its name says.
    #[serde(rename = "type")]
    #[schema(value_type = String, pattern = "^(agent|user|service)$")]
    pub kind: PrincipalType,
    /// Whose law it falls under.
    #[schema(value_type = schema::Jurisdiction)]
    pub region: Jurisdiction,
    /// Whether it may act.
    pub status: PrincipalStatus,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Counts its changes; the `ETag` names it.
    pub version: i64,
}

/// What creates a principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreatePrincipal {
    /// Its name within the tenant, with its type. It never changes.
    #[schema(value_type = schema::PrincipalName)]
    pub name: PrincipalName,
    /// Whose law it falls under; the tenant's where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Jurisdiction>)]
    pub region: Option<Jurisdiction>,
}

/// What changes a principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdatePrincipal {
    /// Whether it may act.
    pub status: PrincipalStatus,
}

/// A client secret, without the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClientSecret {
    /// Its id. It is no secret itself.
    #[schema(value_type = schema::ClientSecretId)]
    pub id: Id<id::ClientSecret>,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it stops working.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    /// When it was revoked.
    #[serde(with = "time::serde::rfc3339::option")]
    pub revoked_at: Option<OffsetDateTime>,
    /// When it was last used, to the minute.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_used_at: Option<OffsetDateTime>,
}

/// What creates a client secret. Several may work at once, so that they can be rotated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSecret {
    /// When it stops working; never where absent.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_at: Option<OffsetDateTime>,
}

/// A new client secret. It is shown in this answer and never again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedSecret {
    /// The secret's id. It is no secret itself.
    #[schema(value_type = schema::ClientSecretId)]
    pub id: Id<id::ClientSecret>,
    /// The OAuth client id to use it with.
    #[schema(value_type = schema::PrincipalId)]
    pub client_id: Id<id::Principal>,
    /// The secret: `pcs_` and 43 characters.
    pub client_secret: String,
    /// When it stops working.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
}

impl std::fmt::Debug for CreatedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedSecret")
            .field("id", &self.id)
            .field("client_id", &self.client_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// How long the secrets before a new one go on working where nobody says: a day.
pub const DEFAULT_OVERLAP_SECONDS: u32 = 86_400;

/// What puts a new client secret in the place of all others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSecret {
    /// How long the others go on working, in seconds: 0 to 2,592,000 (30 days); a day where absent. None
    /// works longer than it would have.
    #[serde(default = "default_overlap")]
    #[schema(minimum = 0, maximum = 2_592_000, default = 86_400)]
    pub overlap_seconds: u32,
    /// When the new one stops working; never where absent.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_at: Option<OffsetDateTime>,
}

const fn default_overlap() -> u32 {
    DEFAULT_OVERLAP_SECONDS
}

/// A client's public key for `private_key_jwt` (RFC 7523).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClientKey {
    /// The key's id.
    #[schema(value_type = schema::ClientKeyId)]
    pub id: Id<id::ClientKey>,
    /// What assertions name it by.
    pub kid: String,
    /// The public key as a JWK (RFC 7517).
    #[schema(value_type = Object)]
    pub jwk: serde_json::Value,
    /// When it was registered.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it stops working.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    /// When it was revoked.
    #[serde(with = "time::serde::rfc3339::option")]
    pub revoked_at: Option<OffsetDateTime>,
    /// When it was last used, to the minute.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_used_at: Option<OffsetDateTime>,
}

/// What registers a client's public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// The public key as a JWK (RFC 7517): Ed25519, P-256, or RSA of 2,048 bits or more with its `alg`.
    /// Without a `kid` it is named by its thumbprint (RFC 7638).
    #[schema(value_type = Object)]
    pub jwk: serde_json::Value,
    /// When it stops working; never where absent.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_at: Option<OffsetDateTime>,
}

/// A principal's permission to ask for one scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// The grant's id.
    #[schema(value_type = schema::GrantId)]
    pub id: Id<id::Grant>,
    /// Who holds it.
    #[schema(value_type = schema::PrincipalId)]
    pub principal: Id<id::Principal>,
    /// What may be asked for.
    #[schema(value_type = schema::Scope)]
    pub scope: Scope,
    /// What for, if the grant says so.
    pub purpose: Option<String>,
    /// When it ends.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    /// Who granted it.
    pub granted_by: String,
    /// When it was granted.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was revoked.
    #[serde(with = "time::serde::rfc3339::option")]
    pub revoked_at: Option<OffsetDateTime>,
}

/// What creates a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateGrant {
    /// What may be asked for. A wildcard is no scope.
    #[schema(value_type = schema::Scope)]
    pub scope: Scope,
    /// What for: 1 to 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// When it ends; never where absent.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_at: Option<OffsetDateTime>,
}
