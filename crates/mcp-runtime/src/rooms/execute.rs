//! Room 6: the permitted call runs, in the pool that was decided, until its deadline.
//!
//! A permit is taken by value: it is spent here. A tool that panics, hangs or fails is an outcome
//! like any other; it never takes the replica down or leaves the call without a record.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use portcullis_domain::id::{Id, Record, Ticket};
use portcullis_domain::{Pool, SpanId};
use portcullis_redaction::FieldRule;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::claim::{Claimed, Seal, Step};
use super::decide::{Decided, Permitted};
use super::refusal::Refusal;
use super::validate::{KnownTool, Passage, ToolCall};
use crate::connectors::{EffectMark, Invocation, ToolError, ToolOutput};
use crate::gate::Gate;

/// What became of a call.
#[derive(Debug)]
pub struct Outcome {
    pub(in crate::rooms) passage: Passage,
    pub(in crate::rooms) seal: Seal,
    pub(in crate::rooms) decided: Option<Decided>,
    pub(in crate::rooms) pool: Option<Pool>,
    pub(in crate::rooms) obligations: Vec<FieldRule>,
    pub(in crate::rooms) result: Ran,
}

/// How a call ended.
#[derive(Debug)]
pub(in crate::rooms) enum Ran {
    /// The tool returned.
    Output(KnownTool, Value),
    /// A room refused it.
    Refused(Refusal),
    /// The tool failed.
    Failed(ToolError),
}

/// Enters the room.
pub async fn enter(gate: &Gate, claimed: Claimed, cancelled: CancellationToken) -> Outcome {
    let Claimed { step, seal } = claimed;
    match step {
        Step::Run(permitted) => run(gate, *permitted, seal, cancelled).await,
        Step::Refuse(refused, decided) => Outcome {
            passage: refused.passage,
            seal,
            decided,
            pool: None,
            obligations: Vec::new(),
            result: Ran::Refused(refused.refusal),
        },
    }
}

async fn run(
    gate: &Gate,
    permitted: Permitted,
    seal: Seal,
    cancelled: CancellationToken,
) -> Outcome {
    let Permitted {
        call,
        obligations,
        pool,
        ticket,
        verdict,
    } = permitted;
    let deadline = call.passage.admitted.deadline;
    let work = AssertUnwindSafe(invoke(gate, &call, &seal, pool, ticket)).catch_unwind();
    let ran = tokio::select! {
        biased;
        () = cancelled.cancelled() => Err(ToolError::Cancelled),
        () = gate.stopping.cancelled() => Err(ToolError::Cancelled),
        ended = tokio::time::timeout_at(deadline, work) => match ended {
            Ok(Ok(result)) => result,
            // The panic's payload may hold anything; the panic hook has logged where it was.
            Ok(Err(_payload)) => Err(ToolError::Panicked),
            Err(_elapsed) => Err(ToolError::DeadlineExceeded),
        },
    };
    let result = match ran {
        Ok(output) => Ran::Output(call.tool, output.value),
        Err(error) => Ran::Failed(error),
    };
    let passage = call.passage;
    Outcome {
        passage,
        seal,
        decided: Some(verdict),
        pool: Some(pool),
        obligations,
        result,
    }
}

async fn invoke(
    gate: &Gate,
    call: &ToolCall,
    seal: &Seal,
    pool: Pool,
    ticket: Option<Id<Ticket>>,
) -> Result<ToolOutput, ToolError> {
    let region = gate.regions.get(&pool).ok_or(ToolError::NoConnector)?;
    let passage = &call.passage;
    let caller = &passage.admitted.caller;
    let mark = EffectMark::default();
    let invocation = Invocation {
        tenant: caller.tenant,
        principal: caller.principal,
        principal_name: &caller.name,
        tool: call.tool.to_ref(),
        arguments: &passage.arguments,
        region: &region.store,
        ticket,
        intent: None,
        upstream_key: None,
        trace_id: passage.trace_id,
        span_id: span_of(seal.record),
        now: gate.clock.now(),
        mark: &mark,
    };
    gate.connectors.invoke(invocation).await
}

/// The span of a call: the random half of its record's id.
fn span_of(record: Id<Record>) -> SpanId {
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(record.as_bytes().iter().skip(8)) {
        *to = *from;
    }
    SpanId::from_bytes(bytes)
}
