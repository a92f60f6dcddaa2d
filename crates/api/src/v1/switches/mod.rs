//! Kill switches: `/tenants/{tenant}/switches` for what a tenant drops, [`platform`] for what the
//! platform drops. A drop answers when every replica has confirmed it or refuses by itself; where that
//! takes too long, it says so. Nothing here may call a switch acknowledged that is not.

pub mod drill;
pub mod expiry;
pub mod lift;
pub mod platform;
mod propagation;
mod target;

use axum::extract;
use axum::response::{IntoResponse, Response};
use portcullis_domain::SwitchKind;
use portcullis_domain::id::{Id, Switch as SwitchId, Tenant};
use portcullis_store::epoch::Raised;
use portcullis_store::replicas::{PATIENCE, PATIENCE_MUTATING};
use portcullis_store::switches::{self, NewSwitch, SwitchRow, Which};
use portcullis_store::{Page as Rows, StoreError, Within};
use portcullis_wire::api::{
    DropSwitch, LiftRequested, Page, Propagation, Switch, SwitchLifted, SwitchReport, SwitchState,
};
use serde_json::{Value, json};
use time::OffsetDateTime;

pub(super) use target::server_of;

use super::State;
use super::access::{Action, act};
use super::answer::Listed;
use super::caller::{Caller, Permit, Scope};
use super::change::Change;
use super::error::ApiError;
use super::idempotency::{Answer, Attempt, Post};
use super::input::{JsonBody, Name, Parameters, check_future, check_reason};
use super::page::{Cursor, window};
use super::query::SwitchQuery;
use super::secrets::stamp;

/// How many switches may be down at once in one tenant, or of the platform: each call is held against
/// every one.
const MOST: i64 = 1_000;

fn view(row: SwitchRow, now: OffsetDateTime) -> Switch {
    let expired = row.expires_at.is_some_and(|end| end <= now);
    let state = match (&row.lifted, expired) {
        (Some(_), _) => SwitchState::Lifted,
        (None, true) => SwitchState::Expired,
        (None, false) => SwitchState::Down,
    };
    Switch {
        id: row.id,
        kind: row.kind,
        tenant: row.tenant,
        by_platform: row.by_platform,
        target: row.target,
        reason: row.reason,
        dropped_by: row.dropped_by,
        dropped_at: row.dropped_at,
        expires_at: row.expires_at,
        state,
        lift_requested: row.lift_request.map(|request| LiftRequested {
            by: request.by,
            at: request.at,
        }),
        lifted: row.lifted.map(|lifted| SwitchLifted {
            by: lifted.by,
            at: lifted.at,
            reason: lifted.reason,
        }),
    }
}

/// A switch as it is now, with where the replicas stand on its last flip.
async fn report(row: SwitchRow, state: &State) -> Result<SwitchReport, ApiError> {
    let propagation = match row.raised_at {
        Some(at) => {
            let raised = Raised {
                epoch: row.epoch,
                at,
            };
            propagation::of(raised, patience(row.kind), state.control()).await?
        }
        None => propagation::unknown(row.epoch),
    };
    Ok(SwitchReport {
        switch: view(row, state.now()),
        propagation,
    })
}

/// How long a replica that hears nothing goes on with the calls that such a switch stops.
const fn patience(kind: SwitchKind) -> std::time::Duration {
    if kind.stops_only_mutating() {
        PATIENCE_MUTATING
    } else {
        PATIENCE
    }
}

/// What the outbox says of a flip.
fn detail(row: &SwitchRow) -> Value {
    json!({
        "kind": row.kind,
        "tenant": row.tenant,
        "target": row.target,
        "reason": row.reason,
        "expires_at": stamp(row.expires_at),
    })
}

/// List kill switches
///
/// The tenant's own and those of the platform that concern it, in the order in which they were dropped.
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/switches",
    operation_id = "listSwitches",
    tag = "switches",
    params(("tenant" = String, Path, description = "The tenant's slug or id"), SwitchQuery),
    responses((status = 200, description = "One page, oldest first", body = Page<Switch>))
)]
pub(super) async fn list(
    permit: Permit<act::SwitchRead>,
    extract::State(state): extract::State<State>,
    Name(tenant): Name<String>,
    Parameters(query): Parameters<SwitchQuery>,
) -> Result<Listed<Switch>, ApiError> {
    let window = window::<Id<SwitchId>>(query.limit, query.cursor.as_deref())?;
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let rows = Rows {
        after: window.after.map(|id| id.as_uuid()),
        limit: window.rows(),
    };
    let rows = switches::list(&mut tx, which(&query), rows).await?;
    let now = state.now();
    Ok(Listed(window.page(
        rows,
        |row| row.id.write(),
        |row| view(row, now),
    )))
}

const fn which(query: &SwitchQuery) -> Which {
    if query.all { Which::All } else { Which::Down }
}

/// Show a kill switch
///
/// With where each replica stands on it.
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/switches/{switch}",
    operation_id = "getSwitch",
    tag = "switches",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("switch" = String, Path, description = "The switch's id"),
    ),
    responses((status = 200, description = "The switch", body = SwitchReport))
)]
pub(super) async fn get(
    permit: Permit<act::SwitchRead>,
    extract::State(state): extract::State<State>,
    Name((tenant, switch)): Name<(String, Id<SwitchId>)>,
) -> Result<axum::Json<SwitchReport>, ApiError> {
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let row = switches::get((&mut tx).into(), switch).await?;
    drop(tx);
    let row = row.ok_or(ApiError::NotFound)?;
    Ok(axum::Json(report(row, &state).await?))
}

/// Drop a kill switch
///
/// Stops calls of the tenant: `tenant-read-only`, `tool-quarantine`, `server-quarantine`,
/// `principal-suspension`, `tenant-freeze` or `egress-block`. Calls under way that it concerns are cancelled. The answer
/// waits until no replica starts such a call any more: then it is 201. Where that takes longer than 12
/// seconds it is 202; the switch is down all the same, and says how far the replicas are.
#[utoipa::path(
    post,
    path = "/tenants/{tenant}/switches",
    operation_id = "dropSwitch",
    tag = "switches",
    params(("tenant" = String, Path, description = "The tenant's slug or id")),
    request_body = DropSwitch,
    responses(
        (status = 201, description = "Down, and acknowledged", body = SwitchReport),
        (status = 202, description = "Down, and not yet acknowledged", body = SwitchReport),
    )
)]
pub(super) async fn create(
    permit: Permit<act::SwitchDrop>,
    extract::State(state): extract::State<State>,
    Name(tenant): Name<String>,
    post: Post,
    body: JsonBody<DropSwitch>,
) -> Result<Response, ApiError> {
    let caller = permit.caller();
    let new = body.value;
    check_reason(&new.reason)?;
    target::check_of_tenant(&new)?;
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let open = match post.claim(&mut tx, caller, body.digest, &state).await? {
        Attempt::Answered(response) => return Ok(response),
        Attempt::Open(open) => open,
    };
    let target = target::of_tenant(&mut tx, &new).await?;
    let dropping = Dropping {
        action: Action::SwitchDrop,
        tenant: None,
        target,
        new,
    };
    let (row, raised) = dropping.down((&mut tx).into(), &state, caller).await?;
    let kept = early(&row, raised, &state);
    open.settle(&mut tx, &Answer::accepted(&kept)?).await?;
    tx.commit().await?;
    answered(row, raised, &state).await
}

/// What an answer says that is kept for repeats: nobody has confirmed anything before the commit.
fn early(row: &SwitchRow, raised: Raised, state: &State) -> SwitchReport {
    SwitchReport {
        switch: view(row.clone(), state.now()),
        propagation: propagation::unknown(raised.epoch),
    }
}

/// The answer to a drop, when it is acknowledged or has waited long enough.
async fn answered(row: SwitchRow, raised: Raised, state: &State) -> Result<Response, ApiError> {
    let kind = row.kind;
    let propagation: Propagation =
        propagation::awaited(raised, patience(kind), state.control()).await;
    let acknowledged = propagation.acknowledged;
    let report = SwitchReport {
        switch: view(row, state.now()),
        propagation,
    };
    let answer = if acknowledged {
        Answer::created(&report, None, None)?
    } else {
        Answer::accepted(&report)?
    };
    Ok(answer.into_response())
}

/// A switch about to be dropped.
struct Dropping {
    action: Action,
    /// Whose calls it stops, where the platform drops it.
    tenant: Option<Id<Tenant>>,
    target: Option<String>,
    new: DropSwitch,
}

impl Dropping {
    /// Drops it, writes that down and raises the epoch. The commit is left to the caller, at once.
    async fn down(
        self,
        mut within: Within<'_>,
        state: &State,
        caller: &Caller,
    ) -> Result<(SwitchRow, Raised), ApiError> {
        let now = state.now();
        check_future("expires_at", self.new.expires_at, now)?;
        self.nothing_in_the_way(within.again(), state).await?;
        let actor = caller.actor();
        let new = NewSwitch {
            id: state.mint()?,
            tenant: self.tenant,
            kind: self.new.kind,
            target: self.target.as_deref(),
            reason: &self.new.reason,
            dropped_by: &actor,
            expires_at: self.new.expires_at,
        };
        let row = switches::create(within.again(), new, now)
            .await
            .map_err(at_once)?;
        let change = Change {
            action: self.action,
            subject: row.id.to_string(),
            detail: detail(&row),
        };
        change.write_down(within.again(), state, caller).await?;
        let raised = switches::raise(within, &row, now).await?;
        Ok((row, raised))
    }

    /// The same switch is down once. One whose time is over ends here, before the job finds it.
    async fn nothing_in_the_way(
        &self,
        mut within: Within<'_>,
        state: &State,
    ) -> Result<(), ApiError> {
        let now = state.now();
        let target = self.target.as_deref();
        let kind = self.new.kind;
        let present = switches::present(within.again(), kind, self.tenant, target).await?;
        if let Some(present) = present {
            if present.expires_at.is_none_or(|end| end > now) {
                return Err(ApiError::Conflict {
                    detail: format!("the same switch is down already: {}", present.id),
                    remedy: "Leave it down; or lift it first, to drop it with another reason or end",
                });
            }
            expiry::end(within.again(), present.id, state.mint()?, now).await?;
        }
        if switches::count_down(within).await? >= MOST {
            return Err(ApiError::Conflict {
                detail: format!("{MOST} switches are down, which is the most that there can be"),
                remedy: "Lift some; or freeze the tenant, which stops every call at once",
            });
        }
        Ok(())
    }
}

/// Two that drop the same switch at the same moment.
fn at_once(error: StoreError) -> ApiError {
    match error {
        StoreError::Conflict { .. } => ApiError::Conflict {
            detail: "the same switch was dropped at the same moment".to_owned(),
            remedy: "List the switches: it is down",
        },
        StoreError::Unavailable { .. }
        | StoreError::NotFound { .. }
        | StoreError::Stale { .. }
        | StoreError::Invalid { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Internal { .. } => error.into(),
    }
}
