//! Whether a call names an open change ticket for just this change.
//!
//! Nothing is taken on the caller's word: a ticket counts only if the tenant's snapshot has it open,
//! for this tool, with bound values that equal the call's arguments. What cannot be compared is no
//! ticket. A caller is not told which of these failed.

use portcullis_domain::id::{Id, Ticket};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::catalog::{CompiledTool, ticket};
use crate::snapshot::TenantSnapshot;

/// The ticket that a call names, if it is open and binds what the call has.
pub(super) fn of_call(
    snapshot: &TenantSnapshot,
    tool: &CompiledTool,
    arguments: &Map<String, Value>,
    now: OffsetDateTime,
) -> Option<Id<Ticket>> {
    let argument = tool.ticket.as_ref()?;
    let id: Id<Ticket> = argument.given(arguments)?.parse().ok()?;
    let open = snapshot.tickets.get(&id)?;
    let bound = argument.bound(arguments)?;
    let asked = ticket::fingerprint(&tool.definition.name, &bound)?;
    (open.fingerprint == asked && now < open.expires_at).then_some(id)
}
