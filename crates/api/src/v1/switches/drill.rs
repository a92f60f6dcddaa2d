//! `/switches/drill`: how fast a switch would fall, on every live replica, without stopping anything.

use axum::extract;
use axum::response::{IntoResponse, Response};
use portcullis_store::Within;
use portcullis_store::epoch::{self, Raised};
use portcullis_store::replicas::PATIENCE;
use portcullis_wire::api::{Because, Propagation};
use serde_json::json;

use super::super::State;
use super::super::access::{Action, act};
use super::super::caller::{Caller, Permit};
use super::super::change::Change;
use super::super::error::ApiError;
use super::super::idempotency::{Answer, Attempt, Post};
use super::super::input::{JsonBody, check_reason};
use super::propagation;

/// What the epoch log calls a drill: replicas confirm it and change nothing.
const CHANGE: &str = "drill";

/// Measure how fast a kill switch would fall
///
/// Raises the epoch for a change that concerns nothing, and waits as a drop does: every replica hears of
/// it and confirms it on the same way. Nothing is stopped.
#[utoipa::path(
    post,
    path = "/switches/drill",
    operation_id = "drillSwitches",
    tag = "switches",
    request_body = Because,
    responses(
        (status = 200, description = "Acknowledged", body = Propagation),
        (status = 202, description = "Not acknowledged within 12 seconds", body = Propagation),
    )
)]
pub(in super::super) async fn drill(
    permit: Permit<act::SwitchDrill>,
    extract::State(state): extract::State<State>,
    post: Post,
    body: JsonBody<Because>,
) -> Result<Response, ApiError> {
    let caller = permit.caller();
    let reason = body.value.reason;
    check_reason(&reason)?;
    let why = (reason, body.digest);
    let ran = if let Some(own) = caller.tenant() {
        let mut tx = state.control().begin(own).await?;
        let ran = run((&mut tx).into(), post, why, &state, caller).await?;
        tx.commit().await?;
        ran
    } else {
        let mut tx = state.control().platform().await?;
        let ran = run((&mut tx).into(), post, why, &state, caller).await?;
        tx.commit().await?;
        ran
    };
    let raised = match ran {
        Ran::Before(response) => return Ok(response),
        Ran::Now(raised) => raised,
    };
    let propagation: Propagation = propagation::awaited(raised, PATIENCE, state.control()).await;
    let answer = if propagation.acknowledged {
        Answer::done(&propagation, None)?
    } else {
        Answer::accepted(&propagation)?
    };
    Ok(answer.into_response())
}

enum Ran {
    /// The same request was answered before.
    Before(Response),
    /// The epoch was raised.
    Now(Raised),
}

async fn run(
    mut within: Within<'_>,
    post: Post,
    (reason, digest): (String, [u8; 32]),
    state: &State,
    caller: &Caller,
) -> Result<Ran, ApiError> {
    let open = match post.claim(within.again(), caller, digest, state).await? {
        Attempt::Answered(response) => return Ok(Ran::Before(response)),
        Attempt::Open(open) => open,
    };
    let change = Change {
        action: Action::SwitchDrill,
        subject: "replicas".to_owned(),
        detail: json!({"reason": reason}),
    };
    change.write_down(within.again(), state, caller).await?;
    let raised = epoch::raise(within.again(), CHANGE, state.now()).await?;
    let kept = Answer::accepted(&propagation::unknown(raised.epoch))?;
    open.settle(within, &kept).await?;
    Ok(Ran::Now(raised))
}
