//! `/tenants/{tenant}/principals/{principal}/grants`.

use axum::extract;
use axum::response::{IntoResponse, Response};
use portcullis_domain::id::{Grant as GrantKind, Id};
use portcullis_store::Page as Rows;
use portcullis_store::grants::{self, GrantRow, NewGrant};
use portcullis_wire::api::{CreateGrant, Grant, Page};
use serde_json::json;

use super::State;
use super::access::{Action, act};
use super::answer::{Done, Listed};
use super::caller::{Permit, Scope};
use super::change::Change;
use super::error::ApiError;
use super::idempotency::{Answer, Attempt, Post};
use super::input::{JsonBody, Name, Parameters, check_future, check_label};
use super::page::{Cursor, window};
use super::principals::named;
use super::query::PageQuery;
use super::secrets::stamp;

fn view(row: GrantRow) -> Grant {
    Grant {
        id: row.id,
        principal: row.principal,
        scope: row.scope,
        purpose: row.purpose,
        expires_at: row.expires_at,
        granted_by: row.granted_by,
        created_at: row.created_at,
        revoked_at: row.revoked_at,
    }
}

/// List a principal's grants
///
/// Ended and revoked ones included.
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/principals/{principal}/grants",
    operation_id = "listGrants",
    tag = "grants",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("principal" = String, Path, description = "The principal's id or name"),
        PageQuery,
    ),
    responses((status = 200, description = "One page, oldest first", body = Page<Grant>))
)]
pub(super) async fn list(
    permit: Permit<act::GrantRead>,
    extract::State(state): extract::State<State>,
    Name((tenant, principal)): Name<(String, String)>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Listed<Grant>, ApiError> {
    let window = window::<Id<GrantKind>>(query.limit, query.cursor.as_deref())?;
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let principal = named(&mut tx, &principal).await?;
    let rows = Rows {
        after: window.after.map(|id| id.as_uuid()),
        limit: window.rows(),
    };
    let rows = grants::list(&mut tx, principal.id, rows).await?;
    Ok(Listed(window.page(rows, |row| row.id.write(), view)))
}

/// Grant a scope
///
/// The principal can ask for it with its next token. A grant that a live one makes superfluous is
/// refused.
#[utoipa::path(
    post,
    path = "/tenants/{tenant}/principals/{principal}/grants",
    operation_id = "createGrant",
    tag = "grants",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("principal" = String, Path, description = "The principal's id or name"),
    ),
    request_body = CreateGrant,
    responses((status = 201, description = "Granted", body = Grant))
)]
pub(super) async fn create(
    permit: Permit<act::GrantCreate>,
    extract::State(state): extract::State<State>,
    Name((tenant, principal)): Name<(String, String)>,
    post: Post,
    body: JsonBody<CreateGrant>,
) -> Result<Response, ApiError> {
    let caller = permit.caller();
    let new = body.value;
    if let Some(purpose) = &new.purpose {
        check_label("purpose", purpose)?;
    }
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let principal = named(&mut tx, &principal).await?;
    let open = match post.claim(&mut tx, caller, body.digest, &state).await? {
        Attempt::Answered(response) => return Ok(response),
        Attempt::Open(open) => open,
    };
    let now = state.now();
    check_future("expires_at", new.expires_at, now)?;
    let live = grants::live(&mut tx, principal.id, now).await?;
    if live.iter().any(|held| covers(held, &new)) {
        return Err(ApiError::Conflict {
            detail: "a live grant gives this already".to_owned(),
            remedy: "Use that one, or revoke it first",
        });
    }
    let actor = caller.actor();
    let row = NewGrant {
        id: state.mint()?,
        principal: principal.id,
        scope: &new.scope,
        purpose: new.purpose.as_deref(),
        granted_by: &actor,
        expires_at: new.expires_at,
    };
    let grant = view(grants::create(&mut tx, &row, now).await?);
    let answer = Answer::created(&grant, None, None)?;
    open.settle(&mut tx, &answer).await?;
    let change = Change {
        action: Action::GrantCreate,
        subject: grant.id.to_string(),
        detail: json!({
            "principal": principal.id,
            "scope": grant.scope,
            "purpose": grant.purpose,
            "expires_at": stamp(grant.expires_at),
        }),
    };
    change.commit(tx, &state, caller).await?;
    Ok(answer.into_response())
}

/// Whether a live grant gives all that a new one would, for at least as long.
fn covers(held: &GrantRow, new: &CreateGrant) -> bool {
    let lasts = match (held.expires_at, new.expires_at) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(held), Some(new)) => held >= new,
    };
    lasts && held.scope == new.scope && held.purpose == new.purpose
}

/// Revoke a grant
///
/// It counts for nothing from the next epoch on, also for tokens that already carry the scope.
#[utoipa::path(
    delete,
    path = "/tenants/{tenant}/principals/{principal}/grants/{grant}",
    operation_id = "revokeGrant",
    tag = "grants",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("principal" = String, Path, description = "The principal's id or name"),
        ("grant" = String, Path, description = "The grant's id"),
    ),
    responses((status = 204, description = "It is revoked"))
)]
pub(super) async fn revoke(
    permit: Permit<act::GrantRevoke>,
    extract::State(state): extract::State<State>,
    Name((tenant, principal, grant)): Name<(String, String, Id<GrantKind>)>,
) -> Result<Done, ApiError> {
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let principal = named(&mut tx, &principal).await?;
    grants::revoke(&mut tx, principal.id, grant, state.now()).await?;
    let change = Change {
        action: Action::GrantRevoke,
        subject: grant.to_string(),
        detail: json!({"principal": principal.id}),
    };
    change.commit(tx, &state, permit.caller()).await?;
    Ok(Done)
}
