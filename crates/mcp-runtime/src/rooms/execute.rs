//! Room 6: the permitted call runs, in the pool that was decided, until its deadline.
//!
//! A permit is taken by value: it is spent here. A tool that panics, hangs or fails is an outcome
//! like any other; it never takes the replica down or leaves the call without a record. What is not
//! certainly without effect counts as unknown.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use portcullis_domain::id::{Id, Record};
use portcullis_domain::{Pool, SpanId};
use portcullis_redaction::FieldRule;
use portcullis_store::RegionTx;
use portcullis_wire::Slug;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::claim::{Claimed, Kept, Lease, Seal, Step};
use super::decide::{Decided, Permitted};
use super::refusal::Refusal;
use super::switches::{self, Watched};
use super::validate::{KnownTool, Passage, ToolCall};
use crate::connectors::{EffectMark, Invocation, Refused, SideEffect, ToolError, ToolOutput};
use crate::gate::Gate;
use crate::switchboard::UnderWay;

/// What became of a call.
#[derive(Debug)]
pub struct Outcome {
    pub(in crate::rooms) passage: Passage,
    pub(in crate::rooms) seal: Seal,
    pub(in crate::rooms) decided: Option<Decided>,
    pub(in crate::rooms) pool: Option<Pool>,
    pub(in crate::rooms) obligations: Vec<FieldRule>,
    /// The claim that the call holds, to be closed with its record.
    pub(in crate::rooms) lease: Option<Box<Lease>>,
    pub(in crate::rooms) caused: Caused,
    /// On the list of calls under way until the record is made: what is pending can still be stopped.
    pub(in crate::rooms) under_way: Option<UnderWay>,
    pub(in crate::rooms) result: Ran,
}

/// How a call ended.
#[derive(Debug)]
pub(in crate::rooms) enum Ran {
    /// The tool returned.
    Output(KnownTool, Value),
    /// An earlier call with the same key was answered.
    Replayed(KnownTool, Box<Kept>),
    /// A room refused it.
    Refused(Refusal),
    /// Policy allowed it, and a later room refused it.
    Withheld(Refusal),
    /// The tool failed.
    Failed(ToolError),
}

/// What is known of a call's effect.
#[derive(Debug)]
pub(in crate::rooms) enum Caused {
    /// There is certainly none.
    Nothing,
    /// It is in this open transaction of the pool that ran the call.
    Pending(Box<RegionTx>),
    /// It is in another system, for good.
    Done,
    /// There may be one.
    Unknown,
}

/// Enters the room.
pub async fn enter(gate: &Gate, claimed: Claimed, cancelled: CancellationToken) -> Outcome {
    let Claimed { step, seal } = claimed;
    match step {
        Step::Run(permitted, lease) => run(gate, *permitted, seal, lease, cancelled).await,
        Step::Replay(permitted, kept) => {
            let tool = permitted.call.tool.clone();
            unspent(*permitted, seal, Ran::Replayed(tool, kept))
        }
        Step::Withhold(permitted, refusal) => unspent(*permitted, seal, Ran::Withheld(refusal)),
        Step::Refuse(refused, decided) => Outcome {
            passage: refused.passage,
            seal,
            decided,
            pool: None,
            obligations: Vec::new(),
            lease: None,
            caused: Caused::Nothing,
            under_way: None,
            result: Ran::Refused(refused.refusal),
        },
    }
}

/// A permitted call that does not run.
fn unspent(permitted: Permitted, seal: Seal, result: Ran) -> Outcome {
    Outcome {
        passage: permitted.call.passage,
        seal,
        decided: Some(permitted.verdict),
        pool: Some(permitted.pool),
        obligations: permitted.obligations,
        lease: None,
        caused: Caused::Nothing,
        under_way: None,
        result,
    }
}

async fn run(
    gate: &Gate,
    permitted: Permitted,
    seal: Seal,
    lease: Option<Box<Lease>>,
    cancelled: CancellationToken,
) -> Outcome {
    let under_way = match switches::begin(gate, &permitted.call, permitted.pool) {
        Ok(under_way) => under_way,
        Err(refusal) => {
            return Outcome {
                lease,
                ..unspent(permitted, seal, Ran::Withheld(refusal))
            };
        }
    };
    let mark = EffectMark::default();
    let passage = &permitted.call.passage;
    let deadline = passage.admitted.deadline;
    let watch = Watched {
        under_way: &under_way,
        clock: gate.clock.as_ref(),
    };
    let effect = Told {
        mark: &mark,
        watch: &watch,
    };
    let work = invoke(gate, &permitted, &seal, lease.as_deref(), effect);
    let work = AssertUnwindSafe(work).catch_unwind();
    let ran = tokio::select! {
        biased;
        stop = under_way.stopped() => Err(ToolError::Stopped(stop)),
        () = cancelled.cancelled() => Err(ToolError::Cancelled),
        () = gate.stopping.cancelled() => Err(ToolError::Cancelled),
        () = lost(gate, passage, lease.as_deref()) => Err(ToolError::LeaseLost),
        ended = tokio::time::timeout_at(deadline, work) => match ended {
            Ok(Ok(result)) => result,
            // The panic's payload may hold anything; the panic hook has logged where it was.
            Ok(Err(_payload)) => Err(ToolError::Panicked),
            Err(_elapsed) => Err(ToolError::DeadlineExceeded),
        },
    };
    // What a block refused on the way was stopped by it, whatever the connector made of that.
    let ran = ran.map_err(|error| under_way.stop().map_or(error, ToolError::Stopped));
    let (result, caused) = sorted(ran, permitted.call.tool.clone(), lease.as_deref(), &mark);
    Outcome {
        lease,
        caused,
        under_way: Some(under_way),
        ..unspent(permitted, seal, result)
    }
}

/// Returns when the call no longer holds its claim. A call without one never does.
async fn lost(gate: &Gate, passage: &Passage, lease: Option<&Lease>) {
    match lease {
        Some(lease) => lease.lost(gate, passage.admitted.caller.tenant).await,
        None => std::future::pending().await,
    }
}

/// What the tool's end says of its effect. Only a mutating call has one, and it holds a claim; what
/// a read left pending is dropped, and so rolled back.
fn sorted(
    ran: Result<ToolOutput, ToolError>,
    tool: KnownTool,
    lease: Option<&Lease>,
    mark: &EffectMark,
) -> (Ran, Caused) {
    match ran {
        Ok(output) => {
            let caused = match output.effect {
                SideEffect::Pending(tx) if lease.is_some() => Caused::Pending(tx),
                SideEffect::Done => Caused::Done,
                SideEffect::None | SideEffect::Pending(_) => Caused::Nothing,
            };
            (Ran::Output(tool, output.value), caused)
        }
        Err(error) => {
            let transactional = lease.is_none_or(|lease| lease.transactional);
            let absent = transactional || error.effect_absent() || !mark.is_set();
            let caused = if absent {
                Caused::Nothing
            } else {
                Caused::Unknown
            };
            (ended(error, &caused), caused)
        }
    }
}

/// A destination that is refused, of a call without an effect, is a refusal like any other: its caller
/// learns the reason and what would allow it.
fn ended(error: ToolError, caused: &Caused) -> Ran {
    match (error, caused) {
        (ToolError::Refused(refused), Caused::Nothing) => {
            let Refused { reason, remedy } = *refused;
            Ran::Withheld(Refusal::new(Slug::EgressBlocked, reason, remedy))
        }
        (error, _) => Ran::Failed(error),
    }
}

/// What a connector tells while it runs.
#[derive(Clone, Copy)]
struct Told<'a> {
    mark: &'a EffectMark,
    watch: &'a Watched<'a>,
}

async fn invoke(
    gate: &Gate,
    permitted: &Permitted,
    seal: &Seal,
    lease: Option<&Lease>,
    told: Told<'_>,
) -> Result<ToolOutput, ToolError> {
    let Permitted { call, pool, .. } = permitted;
    let ToolCall { passage, tool } = call;
    let region = gate.regions.get(pool).ok_or(ToolError::NoConnector)?;
    let caller = &passage.admitted.caller;
    let invocation = Invocation {
        tenant: caller.tenant,
        principal: caller.principal,
        principal_name: &caller.name,
        tool: tool.to_ref(),
        arguments: &passage.arguments,
        region: &region.store,
        ticket: permitted.ticket,
        intent: lease.map(|lease| lease.intent),
        upstream_key: lease.map(|lease| lease.upstream_key.as_str()),
        trace_id: passage.trace_id,
        trace_state: passage.trace_state.as_ref(),
        span_id: span_of(lease.map_or(seal.record, |lease| lease.intent)),
        now: gate.clock.now(),
        mark: told.mark,
        watch: told.watch,
    };
    gate.connectors.invoke(invocation).await
}

/// The span of a call: the random half of its record's id.
pub(in crate::rooms) fn span_of(record: Id<Record>) -> SpanId {
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(record.as_bytes().iter().skip(8)) {
        *to = *from;
    }
    SpanId::from_bytes(bytes)
}
