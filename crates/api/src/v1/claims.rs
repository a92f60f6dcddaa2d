//! `/tenants/{tenant}/claims`: what stands behind the idempotency keys of mutating calls, and the end of
//! an uncertainty by a person.
//!
//! Claims lie in the tenant's home pool. Nothing here shows a key, an argument or an answer, and nothing
//! ends a claim but one whose outcome is unknown.

use axum::extract;
use axum::response::{IntoResponse, Response};
use portcullis_domain::id::{Claim as ClaimKind, Id};
use portcullis_store::claims::{self, ClaimRow};
use portcullis_store::tenants::TenantRow;
use portcullis_store::{Page as Rows, RegionTx};
use portcullis_wire::api::{Claim, ClaimState, Finding, Page, ResolveClaim, ResolvedClaim};
use serde_json::json;

use super::State;
use super::access::{Action, act};
use super::answer::Listed;
use super::caller::{Permit, Scope};
use super::change::Change;
use super::error::ApiError;
use super::idempotency::{Answer, Attempt, Post};
use super::input::{JsonBody, Name, Parameters, check_label};
use super::page::{Cursor, window};
use super::query::ClaimQuery;

const fn state_of(state: claims::ClaimState) -> ClaimState {
    match state {
        claims::ClaimState::Claimed => ClaimState::Claimed,
        claims::ClaimState::Done => ClaimState::Done,
        claims::ClaimState::Unknown => ClaimState::Unknown,
    }
}

const fn stored(state: ClaimState) -> claims::ClaimState {
    match state {
        ClaimState::Claimed => claims::ClaimState::Claimed,
        ClaimState::Done => claims::ClaimState::Done,
        ClaimState::Unknown => claims::ClaimState::Unknown,
    }
}

fn view(row: ClaimRow) -> Claim {
    Claim {
        id: row.id,
        principal: row.principal,
        tool: row.tool,
        state: state_of(row.state),
        pool: row.pool,
        intent: row.intent,
        outcome: row.outcome,
        claimed_at: row.created_at,
        lease_until: row.lease_until,
        completed_at: row.completed_at,
        resolved_by: row.resolved_by,
        resolved_reason: row.resolved_reason,
    }
}

/// A transaction in the tenant's home pool.
async fn home(state: &State, tenant: &TenantRow) -> Result<RegionTx, ApiError> {
    let pool = tenant.home_pool;
    let region = state
        .regions()
        .get(&pool)
        .ok_or_else(|| ApiError::Unavailable(format!("the pool {pool} is not configured")))?;
    Ok(region.begin(tenant.id).await?)
}

/// List claims
///
/// The idempotency keys of mutating calls that are under way, were completed within a day, or whose
/// outcome nobody knows.
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/claims",
    operation_id = "listClaims",
    tag = "claims",
    params(("tenant" = String, Path, description = "The tenant's slug or id"), ClaimQuery),
    responses((status = 200, description = "One page, oldest first", body = Page<Claim>))
)]
pub(super) async fn list(
    permit: Permit<act::ClaimRead>,
    extract::State(state): extract::State<State>,
    Name(tenant): Name<String>,
    Parameters(query): Parameters<ClaimQuery>,
) -> Result<Listed<Claim>, ApiError> {
    let window = window::<Id<ClaimKind>>(query.limit, query.cursor.as_deref())?;
    let Scope { tenant, .. } = permit.open(&state, &tenant).await?;
    let mut region = home(&state, &tenant).await?;
    let rows = Rows {
        after: window.after.map(|id| id.as_uuid()),
        limit: window.rows(),
    };
    let rows = claims::list(&mut region, query.state.map(stored), rows).await?;
    let seen: Vec<_> = rows.into_iter().map(view).collect();
    Ok(Listed(window.page(
        seen,
        |claim| claim.id.write(),
        |claim| claim,
    )))
}

/// Show a claim
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/claims/{claim}",
    operation_id = "getClaim",
    tag = "claims",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("claim" = String, Path, description = "The claim's id"),
    ),
    responses((status = 200, description = "The claim", body = Claim))
)]
pub(super) async fn get(
    permit: Permit<act::ClaimRead>,
    extract::State(state): extract::State<State>,
    Name((tenant, claim)): Name<(String, Id<ClaimKind>)>,
) -> Result<axum::Json<Claim>, ApiError> {
    let Scope { tenant, .. } = permit.open(&state, &tenant).await?;
    let mut region = home(&state, &tenant).await?;
    let row = claims::by_id(&mut region, claim)
        .await?
        .ok_or(ApiError::NotFound)?;
    Ok(axum::Json(view(row)))
}

/// Say how a call of unknown outcome ended
///
/// After `not-executed` the key is free, and the same call may run. After `executed` a repeat is refused
/// with `answer-lost` for a day. Nothing is undone or sent.
#[utoipa::path(
    post,
    path = "/tenants/{tenant}/claims/{claim}/resolve",
    operation_id = "resolveClaim",
    tag = "claims",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("claim" = String, Path, description = "The claim's id"),
    ),
    request_body = ResolveClaim,
    responses((status = 200, description = "It is unknown no more", body = ResolvedClaim))
)]
pub(super) async fn resolve(
    permit: Permit<act::ClaimResolve>,
    extract::State(state): extract::State<State>,
    Name((tenant, claim)): Name<(String, Id<ClaimKind>)>,
    post: Post,
    body: JsonBody<ResolveClaim>,
) -> Result<Response, ApiError> {
    let caller = permit.caller();
    let Scope { mut tx, tenant } = permit.open(&state, &tenant).await?;
    let attempt = post.claim(&mut tx, caller, body.digest, &state).await?;
    let found = body.value;
    check_label("reason", &found.reason)?;
    let mut region = home(&state, &tenant).await?;
    let actor = caller.actor();
    let open = match attempt {
        Attempt::Open(open) => open,
        Attempt::Answered(response) => {
            // What was written down may not have become true: then it does now.
            end(&mut region, claim, &found, &actor).await?;
            region.commit().await?;
            return Ok(response);
        }
    };
    let row = claims::by_id(&mut region, claim)
        .await?
        .ok_or(ApiError::NotFound)?;
    if !end(&mut region, claim, &found, &actor).await? {
        return Err(known());
    }
    let resolved = ResolvedClaim {
        id: claim,
        principal: row.principal,
        tool: row.tool,
        outcome: found.outcome,
        resolved_by: actor,
        reason: found.reason,
    };
    let answer = Answer::done(&resolved, None)?;
    open.settle(&mut tx, &answer).await?;
    // Written down before it is true: should the second commit fail, the key stays refused, and the
    // same request makes it true.
    change(&resolved, row.outcome)
        .commit(tx, &state, caller)
        .await?;
    region.commit().await?;
    Ok(answer.into_response())
}

/// Ends the uncertainty; false where there is none.
async fn end(
    region: &mut RegionTx,
    claim: Id<ClaimKind>,
    found: &ResolveClaim,
    actor: &str,
) -> Result<bool, ApiError> {
    Ok(match found.outcome {
        Finding::Executed => claims::resolve_executed(region, claim, actor, &found.reason).await?,
        Finding::NotExecuted => claims::resolve_not_executed(region, claim).await?,
    })
}

fn change(resolved: &ResolvedClaim, outcome: Id<portcullis_domain::id::Record>) -> Change {
    Change {
        action: Action::ClaimResolve,
        subject: resolved.id.to_string(),
        detail: json!({
            "outcome": resolved.outcome,
            "principal": resolved.principal,
            "reason": resolved.reason,
            "record": outcome,
            "tool": resolved.tool,
        }),
    }
}

fn known() -> ApiError {
    ApiError::Conflict {
        detail: "the outcome of the claim's call is not unknown".to_owned(),
        remedy: "Only a claim in the state `unknown` can be resolved; the claim says where it stands",
    }
}
