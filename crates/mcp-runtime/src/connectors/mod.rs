//! What runs a permitted call: native tools on the platform's own tables.
//!
//! A connector sees only the tenant, the pool and the checked arguments. It returns what the tool
//! returned; it never decides, redacts or records.

pub mod native;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use portcullis_domain::Jurisdiction;
use portcullis_domain::id::{Id, Tenant};
use portcullis_redaction::FieldRule;
use portcullis_store::{RegionStore, StoreError};
use portcullis_wire::Slug;
use serde_json::{Map, Value};

use crate::catalog::Violation;

/// One permitted call, as a connector sees it.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// The tenant that calls.
    pub tenant: Id<Tenant>,
    /// The tool's name.
    pub tool: &'a str,
    /// The arguments, checked and with their defaults.
    pub arguments: &'a Value,
    /// The database of the pool that was decided. A connector has no other.
    pub region: &'a RegionStore,
}

/// Why a tool gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The regional database failed.
    #[error("the regional database failed")]
    Store(#[source] StoreError),
    /// The tool panicked.
    #[error("the tool panicked")]
    Panicked,
    /// The call's deadline passed.
    #[error("the call's deadline passed")]
    DeadlineExceeded,
    /// The caller hung up, or the call was stopped.
    #[error("the call was cancelled")]
    Cancelled,
    /// The result does not fit the tool's output schema.
    #[error("the result does not fit the tool's output schema: {0}")]
    MalformedResult(#[source] Violation),
    /// The result has no canonical form.
    #[error("the result cannot be written as canonical JSON")]
    Canonical(#[source] portcullis_evidence::CanonicalError),
    /// No connector runs this tool here.
    #[error("no connector runs this tool")]
    NoConnector,
}

impl ToolError {
    /// The problem's type.
    pub fn slug(&self) -> Slug {
        match self {
            Self::Store(error) if error.is_overload() => Slug::Overloaded,
            Self::Store(_)
            | Self::Panicked
            | Self::MalformedResult(_)
            | Self::Canonical(_)
            | Self::NoConnector => Slug::ToolFailed,
            Self::DeadlineExceeded => Slug::DeadlineExceeded,
            Self::Cancelled => Slug::Cancelled,
        }
    }

    /// What the caller may know.
    pub fn words(&self) -> &'static str {
        match self {
            Self::Store(error) if error.is_overload() => {
                "too many calls are under way; repeat the call in a second"
            }
            Self::Store(_)
            | Self::Panicked
            | Self::MalformedResult(_)
            | Self::Canonical(_)
            | Self::NoConnector => {
                "the tool failed; the operator finds the cause under the trace id"
            }
            Self::DeadlineExceeded => "the call took longer than its deadline",
            Self::Cancelled => "the call was cancelled",
        }
    }
}

/// What a tool's work comes to.
pub type ToolFuture<'a> = Pin<Box<dyn Future<Output = Result<Value, ToolError>> + Send + 'a>>;

/// Runs the calls of some tools.
pub trait Connector: Send + Sync + fmt::Debug {
    /// The names of the tools that it runs.
    fn tools(&self) -> Vec<String>;

    /// Checks what a schema cannot say about the arguments.
    ///
    /// # Errors
    /// Names the argument and the rule.
    fn check(&self, tool: &str, arguments: &Map<String, Value>) -> Result<(), Violation>;

    /// What the arguments ask to be redacted, besides what policy asks for.
    fn obligations(&self, tool: &str, arguments: &Value) -> Vec<FieldRule>;

    /// The region whose data the arguments name, if the tool has such an argument.
    fn region(&self, tool: &str, arguments: &Value) -> Option<Jurisdiction>;

    /// Runs a permitted call.
    fn invoke<'a>(&'a self, invocation: Invocation<'a>) -> ToolFuture<'a>;
}

/// The connectors of a replica, by tool.
#[derive(Debug, Default)]
pub struct Connectors {
    by_tool: HashMap<String, Arc<dyn Connector>>,
}

impl Connectors {
    /// The native tools.
    pub fn native() -> Self {
        Self::default().with(Arc::new(native::orders::Orders))
    }

    /// Adds a connector for the tools that it names.
    #[must_use]
    pub fn with(mut self, connector: Arc<dyn Connector>) -> Self {
        for tool in connector.tools() {
            self.by_tool.insert(tool, Arc::clone(&connector));
        }
        self
    }

    /// Checks what a schema cannot say about the arguments.
    ///
    /// # Errors
    /// Names the argument and the rule.
    pub fn check(&self, tool: &str, arguments: &Map<String, Value>) -> Result<(), Violation> {
        self.by_tool
            .get(tool)
            .map_or(Ok(()), |connector| connector.check(tool, arguments))
    }

    /// What the arguments ask to be redacted, besides what policy asks for.
    pub fn obligations(&self, tool: &str, arguments: &Value) -> Vec<FieldRule> {
        self.by_tool
            .get(tool)
            .map_or_else(Vec::new, |connector| connector.obligations(tool, arguments))
    }

    /// The region whose data the arguments name, if the tool has such an argument.
    pub fn region(&self, tool: &str, arguments: &Value) -> Option<Jurisdiction> {
        self.by_tool.get(tool)?.region(tool, arguments)
    }

    /// Runs a permitted call.
    ///
    /// # Errors
    /// Says why the tool gave no result.
    pub async fn invoke(&self, invocation: Invocation<'_>) -> Result<Value, ToolError> {
        match self.by_tool.get(invocation.tool) {
            Some(connector) => connector.invoke(invocation).await,
            None => Err(ToolError::NoConnector),
        }
    }
}
