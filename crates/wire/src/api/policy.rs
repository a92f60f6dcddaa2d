//! Policy versions and what the compiler says about them.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::schema;

/// Where a policy version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PolicyStatus {
    /// It decides nothing yet.
    Draft,
    /// It decides every call of the tenant.
    Published,
    /// It decided once; a later version took its place.
    Superseded,
}

impl PolicyStatus {
    /// The name used in SQL, JSON and the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Superseded => "superseded",
        }
    }
}

/// One version of a tenant's policy. Its text never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyVersion {
    /// Counts the tenant's versions from 1.
    pub number: i64,
    /// Where it stands.
    pub status: PolicyStatus,
    /// SHA-256 of its text.
    #[schema(value_type = schema::Sha256)]
    pub sha256: String,
    /// Its YAML text; lists leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What the compiler warned of, in the answer to a new draft.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<PolicyDiagnostic>,
    /// Who wrote it.
    pub created_by: String,
    /// When it was written.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Who published it last.
    pub published_by: Option<String>,
    /// When it was published last.
    #[serde(with = "time::serde::rfc3339::option")]
    pub published_at: Option<OffsetDateTime>,
}

/// What the compiler says about a place in a policy's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyDiagnostic {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// Whether it stops the policy.
    pub severity: PolicySeverity,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub remedy: String,
}

/// Whether a diagnostic stops the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PolicySeverity {
    /// The policy is refused.
    Error,
    /// The policy holds; whoever publishes it has to accept this.
    Warning,
}

impl PolicySeverity {
    /// The word before the message.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// What publishes a version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishPolicy {
    /// That the caller has read the compiler's warnings. A version with warnings is not published
    /// without it.
    #[serde(default)]
    pub accept_warnings: bool,
}
