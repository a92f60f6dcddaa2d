//! `/tenants/{tenant}/principals`.

use axum::extract;
use axum::response::{IntoResponse, Response};
use portcullis_domain::PrincipalName;
use portcullis_domain::id::{Id, Principal as PrincipalKind};
use portcullis_store::principals::{self, PrincipalRow, PrincipalStatus as Status};
use portcullis_store::{ControlTx, Page as Rows, StoreError, limits};
use portcullis_wire::api::{CreatePrincipal, Page, Principal, PrincipalStatus, UpdatePrincipal};
use serde_json::json;

use super::State;
use super::access::{Action, act};
use super::answer::{Listed, Versioned};
use super::caller::{Permit, Scope};
use super::change::Change;
use super::error::ApiError;
use super::etag::{ETag, IfMatch};
use super::idempotency::{Answer, Attempt, Post};
use super::input::{JsonBody, Name, Parameters};
use super::page::{Cursor, window};
use super::query::PageQuery;

/// The principal that a URL names by its id or its name.
///
/// # Errors
/// [`ApiError::NotFound`] where the tenant has none such.
pub(super) async fn named(tx: &mut ControlTx, text: &str) -> Result<PrincipalRow, ApiError> {
    let found = if let Ok(id) = text.parse::<Id<PrincipalKind>>() {
        principals::get(tx, id).await?
    } else if let Ok(name) = text.parse::<PrincipalName>() {
        principals::by_name(tx, &name).await?
    } else {
        None
    };
    found.ok_or(ApiError::NotFound)
}

fn view(row: PrincipalRow) -> Versioned<Principal> {
    let etag = ETag::of_version(row.version);
    let principal = Principal {
        id: row.id,
        kind: row.name.principal_type(),
        name: row.name,
        region: row.region,
        status: match row.status {
            Status::Active => PrincipalStatus::Active,
            Status::Suspended => PrincipalStatus::Suspended,
        },
        created_at: row.created_at,
        version: row.version,
    };
    Versioned(principal, etag)
}

/// List principals
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/principals",
    operation_id = "listPrincipals",
    tag = "principals",
    params(("tenant" = String, Path, description = "The tenant's slug or id"), PageQuery),
    responses((status = 200, description = "One page, oldest first", body = Page<Principal>))
)]
pub(super) async fn list(
    permit: Permit<act::PrincipalRead>,
    extract::State(state): extract::State<State>,
    Name(tenant): Name<String>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Listed<Principal>, ApiError> {
    let window = window::<Id<PrincipalKind>>(query.limit, query.cursor.as_deref())?;
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let rows = Rows {
        after: window.after.map(|id| id.as_uuid()),
        limit: window.rows(),
    };
    let rows = principals::list(&mut tx, rows).await?;
    Ok(Listed(window.page(
        rows,
        |row| row.id.write(),
        |row| view(row).0,
    )))
}

/// Create a principal
///
/// Its id is also its OAuth client id. It starts with the platform's default limits and no grants.
#[utoipa::path(
    post,
    path = "/tenants/{tenant}/principals",
    operation_id = "createPrincipal",
    tag = "principals",
    params(("tenant" = String, Path, description = "The tenant's slug or id")),
    request_body = CreatePrincipal,
    responses((status = 201, description = "Created", body = Principal))
)]
pub(super) async fn create(
    permit: Permit<act::PrincipalCreate>,
    extract::State(state): extract::State<State>,
    Name(tenant): Name<String>,
    post: Post,
    body: JsonBody<CreatePrincipal>,
) -> Result<Response, ApiError> {
    let caller = permit.caller();
    let Scope { mut tx, tenant } = permit.open(&state, &tenant).await?;
    let open = match post.claim(&mut tx, caller, body.digest, &state).await? {
        Attempt::Answered(response) => return Ok(response),
        Attempt::Open(open) => open,
    };
    let new = body.value;
    let now = state.now();
    let region = new.region.unwrap_or(tenant.region);
    let row = principals::create(&mut tx, state.mint()?, &new.name, region, now)
        .await
        .map_err(taken)?;
    let (of_principal, stop_rules) = state.defaults().principal;
    limits::set(&mut tx, Some(row.id), of_principal, stop_rules, now).await?;
    let Versioned(principal, etag) = view(row);
    let place = format!(
        "{}/tenants/{}/principals/{}",
        super::PATH,
        tenant.id,
        principal.id
    );
    let answer = Answer::created(&principal, Some(&etag), Some(place))?;
    open.settle(&mut tx, &answer).await?;
    let change = Change {
        action: Action::PrincipalCreate,
        subject: principal.id.to_string(),
        detail: json!({"name": principal.name, "region": principal.region}),
    };
    change.commit(tx, &state, caller).await?;
    Ok(answer.into_response())
}

fn taken(error: StoreError) -> ApiError {
    match error {
        StoreError::Conflict { .. } => ApiError::Conflict {
            detail: "the tenant has a principal of this name".to_owned(),
            remedy: "Choose another name, or use the principal that there is",
        },
        StoreError::Unavailable { .. }
        | StoreError::NotFound { .. }
        | StoreError::Stale { .. }
        | StoreError::Invalid { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Internal { .. } => error.into(),
    }
}

/// Show a principal
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/principals/{principal}",
    operation_id = "getPrincipal",
    tag = "principals",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("principal" = String, Path, description = "The principal's id or name"),
    ),
    responses((status = 200, description = "The principal", body = Principal))
)]
pub(super) async fn get(
    permit: Permit<act::PrincipalRead>,
    extract::State(state): extract::State<State>,
    Name((tenant, principal)): Name<(String, String)>,
) -> Result<Versioned<Principal>, ApiError> {
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    Ok(view(named(&mut tx, &principal).await?))
}

/// Suspend or activate a principal
///
/// A suspended principal gets no tokens, and its calls are refused.
#[utoipa::path(
    patch,
    path = "/tenants/{tenant}/principals/{principal}",
    operation_id = "updatePrincipal",
    tag = "principals",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("principal" = String, Path, description = "The principal's id or name"),
    ),
    request_body = UpdatePrincipal,
    responses((status = 200, description = "The principal as it is now", body = Principal))
)]
pub(super) async fn update(
    permit: Permit<act::PrincipalUpdate>,
    extract::State(state): extract::State<State>,
    Name((tenant, principal)): Name<(String, String)>,
    expected: IfMatch,
    body: JsonBody<UpdatePrincipal>,
) -> Result<Versioned<Principal>, ApiError> {
    let status = match body.value.status {
        PrincipalStatus::Active => Status::Active,
        PrincipalStatus::Suspended => Status::Suspended,
    };
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let present = named(&mut tx, &principal).await?;
    expected.check(&ETag::of_version(present.version))?;
    let version = Some(present.version);
    let row = principals::set_status(&mut tx, present.id, version, status, state.now()).await?;
    let change = Change {
        action: Action::PrincipalUpdate,
        subject: row.id.to_string(),
        detail: json!({"from": present.status.as_str(), "to": row.status.as_str()}),
    };
    change.commit(tx, &state, permit.caller()).await?;
    Ok(view(row))
}
