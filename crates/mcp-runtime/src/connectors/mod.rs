//! What runs a permitted call: native tools on the platform's own tables, and connectors that reach
//! other systems.
//!
//! A connector sees only the tenant, the caller's name, the pool and the checked arguments. It returns
//! what the tool returned and says what became of the effect; it never decides, redacts or records.

pub mod destination;
mod error;
pub mod http;
pub mod native;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use portcullis_domain::id::{Id, Principal, Record, Tenant, Ticket};
use portcullis_domain::{Jurisdiction, Pool, PrincipalName, SpanId, TraceId, TraceState};
use portcullis_egress::Watch;
use portcullis_redaction::FieldRule;
use portcullis_store::{RegionStore, RegionTx};
use serde_json::{Map, Value};
use time::OffsetDateTime;

pub use error::{Refused, ToolError};

use self::destination::Reach;
use self::http::HttpTool;
use crate::catalog::Violation;

/// The connector of tools on the platform's own tables, as catalogs name it.
pub const NATIVE: &str = "native";

/// A tool of a tenant's catalog, as connectors are asked about it.
#[derive(Debug, Clone, Copy)]
pub struct ToolRef<'a> {
    /// Its name.
    pub name: &'a str,
    /// The connector that the catalog names.
    pub connector: &'a str,
    /// What the connector needs to know of this tool, where it needs anything.
    pub config: Option<&'a HttpTool>,
    /// Where a tool may go whose arguments name it.
    pub reach: Option<&'a Reach>,
}

/// What a catalog says of how a tool is run.
#[derive(Debug, Clone)]
pub struct Binding {
    /// The connector's name.
    pub connector: Arc<str>,
    /// What the connector needs to know of this tool, where it needs anything.
    pub config: Option<Arc<HttpTool>>,
    /// Where a tool may go whose arguments name it.
    pub reach: Option<Arc<Reach>>,
}

impl Binding {
    /// The tool of this name, as its connector is asked about it.
    pub fn tool<'a>(&'a self, name: &'a str) -> ToolRef<'a> {
        ToolRef {
            name,
            connector: &self.connector,
            config: self.config.as_deref(),
            reach: self.reach.as_deref(),
        }
    }
}

/// One permitted call, as a connector sees it.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// The tenant that calls.
    pub tenant: Id<Tenant>,
    /// The principal that calls.
    pub principal: Id<Principal>,
    /// Its name.
    pub principal_name: &'a PrincipalName,
    /// The tool.
    pub tool: ToolRef<'a>,
    /// The arguments, checked and with their defaults.
    pub arguments: &'a Value,
    /// The database of the pool that was decided. A connector has no other.
    pub region: &'a RegionStore,
    /// The open change ticket that the call names, if it names one.
    pub ticket: Option<Id<Ticket>>,
    /// The record that was made before the effect: the intent of a mutating call. A read has none.
    pub intent: Option<Id<Record>>,
    /// The idempotency key for an upstream: the same for each repeat of a mutating call, another for
    /// another tenant, principal or tool, and not the caller's own text. A read has none.
    pub upstream_key: Option<&'a str>,
    /// The trace that the call belongs to.
    pub trace_id: TraceId,
    /// What the caller says beside its trace.
    pub trace_state: Option<&'a TraceState>,
    /// The call's span in it.
    pub span_id: SpanId,
    /// When the call was permitted.
    pub now: OffsetDateTime,
    /// Where a connector whose effects are elsewhere says that it is about to have one.
    pub mark: &'a EffectMark,
    /// Who is told where a connector goes, and may forbid it.
    pub watch: &'a dyn Watch,
}

impl Invocation<'_> {
    /// The `traceparent` for an upstream (W3C Trace Context §3.2).
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }
}

/// Whether a call may have had an effect outside of the pool's transaction.
#[derive(Debug, Default)]
pub struct EffectMark(AtomicBool);

impl EffectMark {
    /// To be said right before the first byte of a request that may have an effect is sent. From then
    /// on a call that breaks off is one whose outcome nobody knows.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was said.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What a tool's run came to.
#[derive(Debug)]
pub struct ToolOutput {
    /// What the tool returned.
    pub value: Value,
    /// What became of its effect.
    pub effect: SideEffect,
}

impl ToolOutput {
    /// What a read returned.
    pub const fn read(value: Value) -> Self {
        Self {
            value,
            effect: SideEffect::None,
        }
    }
}

/// The effect of a call.
#[derive(Debug)]
pub enum SideEffect {
    /// None.
    None,
    /// In this open transaction of the pool that was decided: room 8 commits it together with the
    /// record and the claim, or nothing of it.
    Pending(Box<RegionTx>),
    /// It took effect in another system.
    Done,
}

/// Where a connector's effects happen, and so what a call that broke off may have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effects {
    /// In the transaction that it hands over: a call that broke off left nothing.
    Transactional,
    /// In other systems: a call that broke off left nothing only where [`EffectMark::set`] was not said.
    External,
}

/// What a tool's work comes to.
pub type ToolFuture<'a> = Pin<Box<dyn Future<Output = Result<ToolOutput, ToolError>> + Send + 'a>>;

/// Runs the calls of some tools.
pub trait Connector: Send + Sync + fmt::Debug {
    /// The native tools that it runs; a connector that catalogs name runs any and names none.
    fn tools(&self) -> Vec<String>;

    /// Where its effects happen.
    fn effects(&self) -> Effects;

    /// The tool server behind a tool, which a switch can quarantine.
    fn server<'a>(&self, _tool: ToolRef<'a>) -> &'a str {
        NATIVE
    }

    /// Whether the tool can run in a pool. No other pool ever stands in for one that cannot.
    fn serves(&self, _tool: ToolRef<'_>, _pool: Pool) -> bool {
        true
    }

    /// Checks what a schema cannot say about the arguments.
    ///
    /// # Errors
    /// Names the argument and the rule.
    fn check(&self, tool: ToolRef<'_>, arguments: &Map<String, Value>) -> Result<(), Violation>;

    /// What the arguments ask to be redacted, besides what policy asks for.
    fn obligations(&self, tool: ToolRef<'_>, arguments: &Value) -> Vec<FieldRule>;

    /// The region whose data the arguments name, if the tool has such an argument.
    fn region(&self, tool: ToolRef<'_>, arguments: &Value) -> Option<Jurisdiction>;

    /// The host that a call with these arguments reaches first in a pool, where it reaches one.
    fn host(&self, _tool: ToolRef<'_>, _pool: Pool, _arguments: &Value) -> Option<String> {
        None
    }

    /// One sentence for people about a result, as it was redacted; none where the tool has none.
    fn summary(&self, _tool: ToolRef<'_>, _result: &Value) -> Option<String> {
        None
    }

    /// Runs a permitted call. A mutating tool whose effects are in the pool's database leaves them in
    /// the transaction that it returns and commits nothing itself.
    fn invoke<'a>(&'a self, invocation: Invocation<'a>) -> ToolFuture<'a>;
}

/// The connectors of a replica: native ones by tool, the others by the name that catalogs give.
#[derive(Debug, Default)]
pub struct Connectors {
    native: HashMap<String, Arc<dyn Connector>>,
    named: HashMap<String, Arc<dyn Connector>>,
}

impl Connectors {
    /// The native tools.
    pub fn native() -> Self {
        Self::default()
            .with(Arc::new(native::flags::Flags))
            .with(Arc::new(native::orders::Orders))
    }

    /// Adds a native connector for the tools that it names.
    #[must_use]
    pub fn with(mut self, connector: Arc<dyn Connector>) -> Self {
        for tool in connector.tools() {
            self.native.insert(tool, Arc::clone(&connector));
        }
        self
    }

    /// Adds the connector that catalogs call by this name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>, connector: Arc<dyn Connector>) -> Self {
        self.named.insert(name.into(), connector);
        self
    }

    fn find(&self, tool: ToolRef<'_>) -> Option<&Arc<dyn Connector>> {
        if tool.connector == NATIVE {
            self.native.get(tool.name)
        } else {
            self.named.get(tool.connector)
        }
    }

    /// Where the tool's effects happen. What nobody runs is taken for the worse.
    pub fn effects(&self, tool: ToolRef<'_>) -> Effects {
        self.find(tool)
            .map_or(Effects::External, |connector| connector.effects())
    }

    /// The tool server behind a tool, which a switch can quarantine.
    pub fn server<'a>(&self, tool: ToolRef<'a>) -> &'a str {
        self.find(tool)
            .map_or(tool.connector, |connector| connector.server(tool))
    }

    /// Whether the tool can run in a pool. What nobody runs is found out when it is called.
    pub fn serves(&self, tool: ToolRef<'_>, pool: Pool) -> bool {
        self.find(tool)
            .is_none_or(|connector| connector.serves(tool, pool))
    }

    /// Checks what a schema cannot say about the arguments.
    ///
    /// # Errors
    /// Names the argument and the rule.
    pub fn check(
        &self,
        tool: ToolRef<'_>,
        arguments: &Map<String, Value>,
    ) -> Result<(), Violation> {
        self.find(tool)
            .map_or(Ok(()), |connector| connector.check(tool, arguments))
    }

    /// What the arguments ask to be redacted, besides what policy asks for.
    pub fn obligations(&self, tool: ToolRef<'_>, arguments: &Value) -> Vec<FieldRule> {
        self.find(tool)
            .map_or_else(Vec::new, |connector| connector.obligations(tool, arguments))
    }

    /// The region whose data the arguments name, if the tool has such an argument.
    pub fn region(&self, tool: ToolRef<'_>, arguments: &Value) -> Option<Jurisdiction> {
        self.find(tool)?.region(tool, arguments)
    }

    /// The host that a call with these arguments reaches first in a pool, where it reaches one.
    pub fn host(&self, tool: ToolRef<'_>, pool: Pool, arguments: &Value) -> Option<String> {
        self.find(tool)?.host(tool, pool, arguments)
    }

    /// One sentence for people about a result, as it was redacted; none where the tool has none.
    pub fn summary(&self, tool: ToolRef<'_>, result: &Value) -> Option<String> {
        self.find(tool)?.summary(tool, result)
    }

    /// Runs a permitted call.
    ///
    /// # Errors
    /// Says why the tool gave no result.
    pub async fn invoke(&self, invocation: Invocation<'_>) -> Result<ToolOutput, ToolError> {
        match self.find(invocation.tool) {
            Some(connector) => connector.invoke(invocation).await,
            None => Err(ToolError::NoConnector),
        }
    }
}
