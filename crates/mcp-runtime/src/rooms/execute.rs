//! Room 6: the permitted call runs, in the pool that was decided, until its deadline.
//!
//! A permit is taken by value: it is spent here. A tool that panics, hangs or fails is an outcome
//! like any other; it never takes the replica down or leaves the call without a record.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use portcullis_domain::Pool;
use portcullis_redaction::FieldRule;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::claim::{Claimed, Seal, Step};
use super::decide::{Decided, Permitted};
use super::refusal::Refusal;
use super::validate::{KnownTool, Passage, ToolCall};
use crate::connectors::{Invocation, ToolError};
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
        verdict,
    } = permitted;
    let deadline = call.passage.admitted.deadline;
    let work = AssertUnwindSafe(invoke(gate, &call, pool)).catch_unwind();
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
        Ok(output) => Ran::Output(call.tool, output),
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

async fn invoke(gate: &Gate, call: &ToolCall, pool: Pool) -> Result<Value, ToolError> {
    let region = gate.regions.get(&pool).ok_or(ToolError::NoConnector)?;
    let invocation = Invocation {
        tenant: call.passage.admitted.caller.tenant,
        tool: &call.tool.compiled.definition.name,
        arguments: &call.passage.arguments,
        region: &region.store,
    };
    gate.connectors.invoke(invocation).await
}
