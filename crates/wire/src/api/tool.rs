//! Tools of a tenant's catalog and their versions.

use portcullis_domain::id::{self, Id};
use portcullis_domain::{HttpToolConfig, ScopeTemplate, ToolDefinition, tool::Risk};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::schema;

/// A tool, as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tool {
    /// The tool's id.
    #[schema(value_type = schema::ToolId)]
    pub id: Id<id::Tool>,
    /// The name by which it is called.
    pub name: String,
    /// A short name for people.
    pub title: String,
    /// What runs it.
    pub connector: String,
    /// Whether it can be called.
    pub enabled: bool,
    /// What the caller must hold; a qualifier in braces names an argument.
    #[schema(value_type = String, example = "flags.write:{env}")]
    pub scope: ScopeTemplate,
    /// Whether a call changes anything.
    pub mutating: bool,
    /// How bad a wrong call can be.
    #[schema(value_type = schema::Risk)]
    pub risk: Risk,
    /// The number of the version in use.
    pub current_version: i64,
    /// SHA-256 over the RFC 8785 form of the version in use.
    #[schema(value_type = schema::Sha256)]
    pub sha256: String,
    /// Counts its changes; the `ETag` names it.
    pub version: i64,
}

/// A tool with its definitions, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ToolDetail {
    /// The tool.
    pub tool: Tool,
    /// Its definitions. They never change.
    pub versions: Vec<ToolVersion>,
}

/// One definition of a tool. It never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ToolVersion {
    /// Counts the tool's definitions from 1.
    pub number: i64,
    /// SHA-256 over its RFC 8785 form.
    #[schema(value_type = schema::Sha256)]
    pub sha256: String,
    /// The definition.
    #[schema(value_type = Object)]
    pub definition: ToolDefinition,
    /// How its connector calls it, where the connector has to be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub config: Option<HttpToolConfig>,
    /// SHA-256 over the RFC 8785 form of `config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Sha256>)]
    pub config_sha256: Option<String>,
    /// When it was added.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// What runs a registered tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ToolConnector {
    /// Another system, by HTTP.
    Http,
}

/// A tool to be registered, or another version of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterTool {
    /// The definition: closed schemas, and at least one example that the tool's own schema accepts.
    #[schema(value_type = Object)]
    pub definition: ToolDefinition,
    /// What runs it.
    pub connector: ToolConnector,
    /// How it is called: `server`, `method`, `path`, `query`, `body`, `base_urls`, `headers`,
    /// `success`, `retries` and `timeout_ms`.
    #[schema(value_type = Object)]
    pub config: HttpToolConfig,
}

/// What changes a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateTool {
    /// Whether it can be called.
    pub enabled: bool,
}
