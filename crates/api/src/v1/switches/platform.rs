//! `/switches`: what the platform drops, for every tenant or to freeze one. No tenant lifts it.

use axum::extract;
use axum::response::{IntoResponse, Response};
use portcullis_domain::id::{Id, Switch as SwitchId};
use portcullis_store::Page as Rows;
use portcullis_store::switches;
use portcullis_wire::api::{Because, DropSwitch, Page, Switch, SwitchReport};

use super::super::State;
use super::super::access::{Action, act};
use super::super::answer::Listed;
use super::super::caller::Permit;
use super::super::error::ApiError;
use super::super::idempotency::{Answer, Attempt, Post};
use super::super::input::{JsonBody, Name, Parameters, check_reason};
use super::super::page::{Cursor, window};
use super::super::query::SwitchQuery;
use super::lift::Lifting;
use super::{Dropping, answered, early, report, target, view, which};

/// List the platform's kill switches
#[utoipa::path(
    get,
    path = "/switches",
    operation_id = "listPlatformSwitches",
    tag = "switches",
    params(SwitchQuery),
    responses((status = 200, description = "One page, oldest first", body = Page<Switch>))
)]
pub(in super::super) async fn list(
    _permit: Permit<act::PlatformSwitchRead>,
    extract::State(state): extract::State<State>,
    Parameters(query): Parameters<SwitchQuery>,
) -> Result<Listed<Switch>, ApiError> {
    let window = window::<Id<SwitchId>>(query.limit, query.cursor.as_deref())?;
    let rows = Rows {
        after: window.after.map(|id| id.as_uuid()),
        limit: window.rows(),
    };
    let mut tx = state.control().platform().await?;
    let rows = switches::list_platform(&mut tx, which(&query), rows).await?;
    let now = state.now();
    Ok(Listed(window.page(
        rows,
        |row| row.id.write(),
        |row| view(row, now),
    )))
}

/// Show a kill switch of the platform
///
/// With where each replica stands on it.
#[utoipa::path(
    get,
    path = "/switches/{switch}",
    operation_id = "getPlatformSwitch",
    tag = "switches",
    params(("switch" = String, Path, description = "The switch's id")),
    responses((status = 200, description = "The switch", body = SwitchReport))
)]
pub(in super::super) async fn get(
    _permit: Permit<act::PlatformSwitchRead>,
    extract::State(state): extract::State<State>,
    Name(switch): Name<Id<SwitchId>>,
) -> Result<axum::Json<SwitchReport>, ApiError> {
    let mut tx = state.control().platform().await?;
    let row = switches::get((&mut tx).into(), switch).await?;
    drop(tx);
    // What a tenant dropped itself is none of the platform's business.
    let row = row.filter(|row| row.by_platform);
    let row = row.ok_or(ApiError::NotFound)?;
    Ok(axum::Json(report(row, &state).await?))
}

/// Drop a kill switch of the platform
///
/// Stops calls of every tenant (`platform-read-only`, `server-quarantine`, `egress-block`) or freezes one
/// (`tenant-freeze` with `tenant`). The answer waits as that of a tenant's switch does.
#[utoipa::path(
    post,
    path = "/switches",
    operation_id = "dropPlatformSwitch",
    tag = "switches",
    request_body = DropSwitch,
    responses(
        (status = 201, description = "Down, and acknowledged", body = SwitchReport),
        (status = 202, description = "Down, and not yet acknowledged", body = SwitchReport),
    )
)]
pub(in super::super) async fn create(
    permit: Permit<act::PlatformSwitchDrop>,
    extract::State(state): extract::State<State>,
    post: Post,
    body: JsonBody<DropSwitch>,
) -> Result<Response, ApiError> {
    let caller = permit.caller();
    let new = body.value;
    check_reason(&new.reason)?;
    target::check_of_platform(&new)?;
    let tenant = target::frozen(&permit, &state, new.tenant.as_deref()).await?;
    let mut tx = state.control().platform().await?;
    let open = match post.claim(&mut tx, caller, body.digest, &state).await? {
        Attempt::Answered(response) => return Ok(response),
        Attempt::Open(open) => open,
    };
    let dropping = Dropping {
        action: Action::PlatformSwitchDrop,
        tenant,
        target: new.target.clone(),
        new,
    };
    let (row, raised) = dropping.down((&mut tx).into(), &state, caller).await?;
    let kept = early(&row, raised, &state);
    open.settle(&mut tx, &Answer::accepted(&kept)?).await?;
    tx.commit().await?;
    answered(row, raised, &state).await
}

/// Lift a kill switch of the platform
///
/// From the next epoch on it stops nothing.
#[utoipa::path(
    post,
    path = "/switches/{switch}/lift",
    operation_id = "liftPlatformSwitch",
    tag = "switches",
    params(("switch" = String, Path, description = "The switch's id")),
    request_body = Because,
    responses((status = 200, description = "Lifted", body = SwitchReport))
)]
pub(in super::super) async fn lift(
    permit: Permit<act::PlatformSwitchLift>,
    extract::State(state): extract::State<State>,
    Name(switch): Name<Id<SwitchId>>,
    post: Post,
    body: JsonBody<Because>,
) -> Result<Response, ApiError> {
    let caller = permit.caller();
    check_reason(&body.value.reason)?;
    let mut tx = state.control().platform().await?;
    let open = match post.claim(&mut tx, caller, body.digest, &state).await? {
        Attempt::Answered(response) => return Ok(response),
        Attempt::Open(open) => open,
    };
    let lifting = Lifting {
        action: Action::PlatformSwitchLift,
        reason: body.value.reason,
        two_people: false,
    };
    let answer = lifting.up((&mut tx).into(), switch, &state, caller).await?;
    open.settle(&mut tx, &answer).await?;
    tx.commit().await?;
    Ok(answer.into_response())
}
