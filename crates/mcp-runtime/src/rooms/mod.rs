//! The way of one tool call, a room a file: authenticate, admit, validate, decide, claim, execute,
//! redact, record, respond.
//!
//! Each room takes what only the room before it can make, by value; the fields are private to this
//! module tree. So no room can be skipped or entered twice, and no output leaves unredacted or
//! unrecorded.

pub mod admit;
pub mod authenticate;
pub mod claim;
pub mod decide;
pub mod execute;
pub mod record;
pub mod redact;
pub mod respond;
pub mod validate;

mod refusal;
mod sight;
mod switches;
mod turnstile;

use std::sync::Arc;

use portcullis_domain::TraceState;
use portcullis_domain::observation::TracePlace;
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use refusal::{DoorRefusal, Refusal};
pub use respond::Answer;

use crate::gate::Gate;
use admit::Admitted;
use claim::RecordFault;
use record::Recorded;
use sight::Sight;

/// A tool call as it stands in the request, not yet checked.
#[derive(Debug)]
pub struct CallRequest {
    /// The tool's name, as the caller wrote it.
    pub tool: String,
    /// The arguments, as the caller wrote them.
    pub arguments: Map<String, Value>,
    /// The idempotency key that the caller sent beside the arguments, as it wrote it.
    pub key: Option<String>,
    /// The trace that the call belongs to: the caller's `traceparent`, else a new one.
    pub place: TracePlace,
    /// What the caller says beside it, for an upstream.
    pub trace_state: Option<TraceState>,
    /// When the request arrived.
    pub arrived: Instant,
}

/// Takes an admitted call through rooms 3 to 9.
///
/// Rooms 5 to 8 run in a task of their own: a caller that hangs up cancels the tool's work but
/// never the record of the call.
pub async fn call(gate: &Arc<Gate>, admitted: Admitted, request: CallRequest) -> Answer {
    let trace_id = request.place.trace;
    let mut sight = Sight::of(gate, &admitted, request.place, request.arrived);
    let fate = match validate::enter(gate, admitted, request) {
        Ok(call) => {
            sight.begin();
            let fate = decide::enter(gate, call);
            sight.decided(&fate, true);
            fate
        }
        Err(refused) => {
            let fate = decide::Fate::Refused(refused, None);
            sight.decided(&fate, false);
            fate
        }
    };
    let cancelled = CancellationToken::new();
    let hung_up = cancelled.clone().drop_guard();
    let owned = Arc::clone(gate);
    let task = gate.tasks.spawn(async move {
        let recorded = rooms_5_to_8(&owned, fate, cancelled, &mut sight).await;
        sight.close(&owned, &recorded);
        recorded
    });
    let recorded = task.await;
    drop(hung_up);
    respond::enter(trace_id, recorded)
}

async fn rooms_5_to_8(
    gate: &Gate,
    fate: decide::Fate,
    cancelled: CancellationToken,
    sight: &mut Sight,
) -> Result<Recorded, RecordFault> {
    let claimed = claim::enter(gate, fate).await?;
    sight.claimed(&claimed);
    sight.begin();
    let outcome = execute::enter(gate, claimed, cancelled).await;
    sight.executed(&outcome);
    sight.begin();
    let redacted = redact::enter(gate, outcome);
    sight.redacted(&redacted);
    sight.begin();
    record::enter(gate, redacted).await
}
