//! What the `http` connector needs to know of a tool, as tenants write it. Whether it holds together
//! with the tool's definition is checked where it is compiled.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::region::Pool;

/// How a tool server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// Reads.
    Get,
    /// Does whatever the server says.
    Post,
    /// Sets a thing, however often.
    Put,
    /// Changes a part of a thing.
    Patch,
    /// Removes a thing, however often.
    Delete,
}

impl HttpMethod {
    /// The name in requests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether repeating a request changes nothing more (RFC 9110 §9.2.2).
    pub const fn is_idempotent(self) -> bool {
        match self {
            Self::Get | Self::Put | Self::Delete => true,
            Self::Post | Self::Patch => false,
        }
    }

    /// Whether a request has a body.
    pub const fn has_body(self) -> bool {
        match self {
            Self::Post | Self::Put | Self::Patch => true,
            Self::Get | Self::Delete => false,
        }
    }
}

/// How often a request is tried again, where that is safe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpRetries {
    /// How often after the first try.
    pub count: u8,
    /// How long to wait before the first repeat; each further one waits twice as long.
    pub backoff_ms: u32,
}

/// How a tool's calls become requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpToolConfig {
    /// The tool server's name within the tenant: what a quarantine and an opening of the operator's
    /// networks name.
    pub server: String,
    /// How it is asked.
    pub method: HttpMethod,
    /// The path after the base URL; a segment in braces is an argument.
    pub path: String,
    /// Query parameters, each with the argument that fills it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
    /// Members of the JSON body, each with the argument that fills it. Without it, every argument that
    /// is neither in the path nor in the query is a member of its own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BTreeMap<String, String>>,
    /// Where the server is, for each pool that may call it.
    pub base_urls: BTreeMap<Pool, String>,
    /// Headers that every request has. They are no place for secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Statuses that mean success; 200, 201, 202 and 204 where none are listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub success: Vec<u16>,
    /// How often a request is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<HttpRetries>,
    /// How long one try may take; ten seconds where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u32>,
}
