//! Room 3: the tool is in this caller's catalog, no switch stops it, its arguments fit its schema, and the caller holds
//! the scope that these arguments need.
//!
//! A tool without a grant is exactly as a tool that does not exist.

use std::sync::Arc;

use portcullis_domain::{Scope, TraceId, TraceState};
use portcullis_evidence::Canonical;
use portcullis_wire::Slug;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::CallRequest;
use super::admit::Admitted;
use super::refusal::Refusal;
use super::switches;
use crate::catalog::{CompiledTool, Violation};
use crate::connectors::{Binding, ToolRef};
use crate::gate::Gate;
use crate::snapshot::{CatalogEntry, PrincipalEntry, TenantSnapshot};

/// What a call carries from room to room.
#[derive(Debug)]
pub struct Passage {
    pub(in crate::rooms) admitted: Admitted,
    pub(in crate::rooms) trace_id: TraceId,
    /// What the caller says beside its trace, for an upstream alone.
    pub(in crate::rooms) trace_state: Option<TraceState>,
    pub(in crate::rooms) started_at: OffsetDateTime,
    pub(in crate::rooms) started: tokio::time::Instant,
    pub(in crate::rooms) arguments: Value,
    /// The arguments as they are committed to; none where a number in them is not exact.
    pub(in crate::rooms) canonical: Option<Canonical>,
    pub(in crate::rooms) tool: Option<KnownTool>,
    /// The idempotency key beside the arguments, as the caller wrote it.
    pub(in crate::rooms) key: Option<String>,
    /// The name that the caller wrote: only a commitment to it goes on record.
    pub(in crate::rooms) asked_for: String,
}

/// A tool of the tenant's catalog.
#[derive(Debug, Clone)]
pub struct KnownTool {
    pub(in crate::rooms) compiled: Arc<CompiledTool>,
    pub(in crate::rooms) version: u64,
    pub(in crate::rooms) binding: Binding,
}

impl KnownTool {
    /// The tool, as its connector is asked about it.
    pub(in crate::rooms) fn to_ref(&self) -> ToolRef<'_> {
        self.binding.tool(&self.compiled.definition.name)
    }
}

/// A call whose tool exists, whose arguments fit and whose scope is held.
#[derive(Debug)]
pub struct ToolCall {
    pub(in crate::rooms) passage: Passage,
    pub(in crate::rooms) tool: KnownTool,
}

/// A call that some room refused, on its way to its record.
#[derive(Debug)]
pub struct Refused {
    pub(in crate::rooms) passage: Passage,
    pub(in crate::rooms) refusal: Refusal,
}

/// Enters the room.
///
/// # Errors
/// Refuses an unknown tool, arguments that do not fit, and a caller without the scope.
pub fn enter(
    gate: &Gate,
    admitted: Admitted,
    request: CallRequest,
) -> Result<ToolCall, Box<Refused>> {
    let now = gate.clock.now();
    let snapshot = Arc::clone(&admitted.snapshot);
    let CallRequest {
        tool: name,
        mut arguments,
        key,
        place,
        trace_state,
        arrived: _,
    } = request;
    let entry = visible_tool(&snapshot, &admitted, &name, now);
    let tool = entry.map(|entry| KnownTool {
        compiled: Arc::clone(&entry.tool),
        version: entry.version,
        binding: entry.binding.clone(),
    });
    if let Some(tool) = &tool {
        tool.compiled.fill_defaults(&mut arguments);
    }
    let arguments = Value::Object(arguments);
    let canonical = portcullis_evidence::canonical::of_value(&arguments).ok();
    let passage = Passage {
        admitted,
        trace_id: place.trace,
        trace_state,
        started_at: now,
        started: tokio::time::Instant::now(),
        arguments,
        canonical,
        tool: tool.clone(),
        key,
        asked_for: name,
    };
    let Some(tool) = tool else {
        return Err(Box::new(Refused {
            passage,
            refusal: unknown_tool(),
        }));
    };
    let stopped = switches::check_tool(gate, &passage.admitted.caller, &tool);
    if let Err(refusal) = stopped.and_then(|()| check(gate, &passage, &tool, now)) {
        return Err(Box::new(Refused { passage, refusal }));
    }
    Ok(ToolCall { passage, tool })
}

fn check(
    gate: &Gate,
    passage: &Passage,
    tool: &KnownTool,
    now: OffsetDateTime,
) -> Result<(), Refusal> {
    tool.compiled
        .check_arguments(&passage.arguments)
        .map_err(invalid_arguments)?;
    if passage.canonical.is_none() {
        return Err(invalid_arguments(Violation {
            field: "arguments".to_owned(),
            rule: "an integer must lie between -(2^53 - 1) and 2^53 - 1".to_owned(),
            keyword: "portcullis-exact".to_owned(),
        }));
    }
    let empty = Map::new();
    let arguments = passage.arguments.as_object().unwrap_or(&empty);
    gate.connectors
        .check(tool.to_ref(), arguments)
        .map_err(invalid_arguments)?;
    check_scope(passage, &tool.compiled, arguments, now)
}

fn check_scope(
    passage: &Passage,
    tool: &CompiledTool,
    arguments: &Map<String, Value>,
    now: OffsetDateTime,
) -> Result<(), Refusal> {
    let caller = &passage.admitted.caller;
    let Some(needed) = tool.definition.scope.fill(arguments) else {
        return Err(unknown_tool());
    };
    let granted = passage
        .admitted
        .snapshot
        .principals
        .get(&caller.name)
        .is_some_and(|principal| holds(principal, &needed, now, caller.purpose.as_deref()));
    if granted && caller.scopes.contains(&needed) {
        return Ok(());
    }
    let remedy = if granted {
        format!("Ask the token endpoint for a token with the scope `{needed}`.")
    } else {
        format!(
            "Ask an operator of the tenant to grant `{needed}` to {}.",
            caller.name
        )
    };
    let reason = format!("this call needs the scope `{needed}`");
    let mut refusal = Refusal::new(Slug::InsufficientScope, reason, remedy);
    refusal.needed_scope = Some(needed);
    Err(refusal)
}

fn holds(
    principal: &PrincipalEntry,
    scope: &Scope,
    now: OffsetDateTime,
    purpose: Option<&str>,
) -> bool {
    principal
        .grants
        .iter()
        .any(|grant| grant.scope == *scope && grant.holds(now, purpose))
}

/// The tool of that name, where the caller holds a live grant that some arguments of it need.
fn visible_tool<'a>(
    snapshot: &'a TenantSnapshot,
    admitted: &Admitted,
    name: &str,
    now: OffsetDateTime,
) -> Option<&'a CatalogEntry> {
    let entry = snapshot.tools.get(name)?;
    let caller = &admitted.caller;
    let principal = snapshot.principals.get(&caller.name)?;
    let template = &entry.tool.definition.scope;
    let granted = principal
        .grants
        .iter()
        .any(|grant| template.admits(&grant.scope) && grant.holds(now, caller.purpose.as_deref()));
    granted.then_some(entry)
}

/// The tools that a caller sees in a listing, by name: those with a live grant that policy does not
/// deny for every argument.
pub fn visible_tools(gate: &Gate, admitted: &Admitted) -> Vec<Arc<CompiledTool>> {
    let now = gate.clock.now();
    let snapshot = &admitted.snapshot;
    let mut tools: Vec<_> = snapshot
        .tools
        .keys()
        .filter_map(|name| visible_tool(snapshot, admitted, name, now))
        .filter(|entry| super::decide::may_allow(admitted, entry))
        .map(|entry| Arc::clone(&entry.tool))
        .collect();
    tools.sort_by(|a, b| a.definition.name.cmp(&b.definition.name));
    tools
}

fn unknown_tool() -> Refusal {
    Refusal::new(
        Slug::UnknownTool,
        "there is no such tool",
        "Call tools/list for the tools that this principal may use.",
    )
}

fn invalid_arguments(violation: Violation) -> Refusal {
    let mut refusal = Refusal::new(
        Slug::InvalidArguments,
        violation.to_string(),
        format!(
            "Correct `{}` as the tool's input schema says and call again.",
            violation.field
        ),
    );
    refusal.rule = Some(violation.keyword.into_boxed_str());
    refusal
        .facts
        .insert("field".to_owned(), Value::String(violation.field));
    refusal
}
