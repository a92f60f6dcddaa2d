//! Where a call meets the switches: at admission, in validate, and for the last time before it runs.
//! Each time also what the replica itself forbids: it was started read-only, or has lost touch with its
//! configuration.
//!
//! It must never let a call run on what the replica knew when the call came, if it knows better since.

use std::net::IpAddr;
use std::sync::Arc;

use portcullis_domain::id::{Id, Tenant};
use portcullis_domain::{Caller, Clock, Pool, PrincipalName};
use portcullis_egress::{Target, Watch};
use portcullis_redaction::redact_text;

use super::refusal::{DoorRefusal, Refusal};
use super::validate::{KnownTool, ToolCall};
use crate::gate::Gate;
use crate::snapshot::Freshness;
use crate::switchboard::{Stop, Subject, UnderWay};

/// What stops everything that a caller does.
///
/// # Errors
/// Refuses a caller of a frozen tenant and a suspended one.
pub(in crate::rooms) fn check_caller(
    gate: &Gate,
    tenant: Id<Tenant>,
    name: &PrincipalName,
) -> Result<(), DoorRefusal> {
    let stop = gate
        .switchboard
        .stops_caller(tenant, name, gate.clock.now());
    let Some(stop) = stop else { return Ok(()) };
    // A door's refusal does not pass room 7, and the reason is somebody's own words.
    let reason = stop.reason();
    let (reason, _report) = redact_text(&reason);
    let mut refusal = DoorRefusal::new(stop.slug(), reason.as_ref());
    refusal.problem.facts = stop.facts();
    refusal.problem.remedy = Some(stop.remedy());
    Err(refusal)
}

/// What stops calls of a tool.
///
/// # Errors
/// Refuses a tool in quarantine, and one that changes something where nothing may.
pub(in crate::rooms) fn check_tool(
    gate: &Gate,
    caller: &Caller,
    tool: &KnownTool,
) -> Result<(), Refusal> {
    let subject = subject(gate, caller, tool);
    let now = gate.clock.now();
    let stop = gate.switchboard.stops(&subject, now);
    match stop.or_else(|| own(gate, subject.mutating)) {
        Some(stop) => Err(refusal(&stop)),
        None => Ok(()),
    }
}

/// The last check, and the entry in the list of calls under way.
///
/// # Errors
/// Refuses what must not begin.
pub(in crate::rooms) fn begin(
    gate: &Gate,
    call: &ToolCall,
    pool: Pool,
) -> Result<UnderWay, Refusal> {
    let tool = call.tool.to_ref();
    let subject = Subject {
        host: gate.connectors.host(tool, pool, &call.passage.arguments),
        ..subject(gate, &call.passage.admitted.caller, &call.tool)
    };
    let mutating = subject.mutating;
    gate.switchboard
        .begin(subject, gate.clock.now(), || own(gate, mutating))
        .map_err(|stop| refusal(&stop))
}

fn subject(gate: &Gate, caller: &Caller, tool: &KnownTool) -> Subject {
    let definition = &tool.compiled.definition;
    Subject {
        tenant: caller.tenant,
        principal: caller.name.clone(),
        tool: Arc::from(definition.name.as_str()),
        server: Arc::from(gate.connectors.server(tool.to_ref())),
        mutating: definition.mutating,
        host: None,
    }
}

/// Tells the switchboard where a call goes, and heeds what is blocked.
#[derive(Debug)]
pub(in crate::rooms) struct Watched<'a> {
    pub(in crate::rooms) under_way: &'a UnderWay,
    pub(in crate::rooms) clock: &'a dyn Clock,
}

impl Watch for Watched<'_> {
    fn admits(&self, target: &Target, addresses: &[IpAddr]) -> bool {
        let now = self.clock.now();
        self.under_way.reaches(&target.host(), addresses, now)
    }
}

/// What this replica itself forbids.
fn own(gate: &Gate, mutating: bool) -> Option<Stop> {
    if mutating && gate.settings.read_only {
        return Some(Stop::ReadOnlyReplica);
    }
    match gate.snapshots.freshness() {
        Freshness::Confirmed => None,
        Freshness::Late => mutating.then_some(Stop::Late),
        Freshness::Lost => Some(Stop::Lost),
    }
}

fn refusal(stop: &Stop) -> Refusal {
    let mut refusal = Refusal::new(stop.slug(), stop.reason(), stop.remedy());
    refusal.facts = stop.facts();
    refusal
}
