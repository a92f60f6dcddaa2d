//! `/tenants/{tenant}/limits` and `/tenants/{tenant}/principals/{principal}/limits`.

use axum::extract;
use portcullis_domain::{Limits, PrincipalName, StopRules};
use portcullis_store::ControlTx;
use portcullis_store::limits::{self, LimitsRow};
use portcullis_store::principals::PrincipalRow;
use portcullis_wire::api::{LimitsSetting, PutLimits};
use serde_json::json;

use super::State;
use super::access::{Action, act};
use super::answer::Versioned;
use super::caller::{Caller, Permit, Scope};
use super::change::Change;
use super::error::ApiError;
use super::etag::{ETag, IfMatch};
use super::input::{JsonBody, Name};
use super::principals::named;

/// What is in force: what was set, or the platform's defaults in version 0.
fn view(
    principal: Option<PrincipalName>,
    row: Option<LimitsRow>,
    defaults: (Limits, StopRules),
) -> Versioned<LimitsSetting> {
    let (limits, stop_rules) = row.map_or(defaults, |row| (row.limits, row.stop_rules));
    let version = row.map_or(0, |row| row.version);
    let setting = LimitsSetting {
        principal,
        limits,
        stop_rules,
        version,
    };
    Versioned(setting, ETag::of_version(version))
}

/// Show the limits of the whole tenant
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/limits",
    operation_id = "getTenantLimits",
    tag = "limits",
    params(("tenant" = String, Path, description = "The tenant's slug or id")),
    responses((status = 200, description = "The limits in force", body = LimitsSetting))
)]
pub(super) async fn get_tenant(
    permit: Permit<act::LimitsRead>,
    extract::State(state): extract::State<State>,
    Name(tenant): Name<String>,
) -> Result<Versioned<LimitsSetting>, ApiError> {
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let row = limits::get(&mut tx, None).await?;
    Ok(view(None, row, state.defaults().tenant))
}

/// Set the limits of the whole tenant
#[utoipa::path(
    put,
    path = "/tenants/{tenant}/limits",
    operation_id = "putTenantLimits",
    tag = "limits",
    params(("tenant" = String, Path, description = "The tenant's slug or id")),
    request_body = PutLimits,
    responses((status = 200, description = "The limits in force now", body = LimitsSetting))
)]
pub(super) async fn put_tenant(
    permit: Permit<act::LimitsUpdate>,
    extract::State(state): extract::State<State>,
    Name(tenant): Name<String>,
    expected: IfMatch,
    body: JsonBody<PutLimits>,
) -> Result<Versioned<LimitsSetting>, ApiError> {
    let new = body.value;
    if let Some(name) = &new.principal {
        return Err(ApiError::invalid(
            "principal",
            "names a principal, but this sets the limits of the whole tenant",
            format!("Leave it out, or put this to /tenants/{{tenant}}/principals/{name}/limits"),
        ));
    }
    let Scope { tx, .. } = permit.open(&state, &tenant).await?;
    put(tx, None, &expected, new, &state, permit.caller()).await
}

/// Show the limits of a principal
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/principals/{principal}/limits",
    operation_id = "getPrincipalLimits",
    tag = "limits",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("principal" = String, Path, description = "The principal's id or name"),
    ),
    responses((status = 200, description = "The limits in force", body = LimitsSetting))
)]
pub(super) async fn get_principal(
    permit: Permit<act::LimitsRead>,
    extract::State(state): extract::State<State>,
    Name((tenant, principal)): Name<(String, String)>,
) -> Result<Versioned<LimitsSetting>, ApiError> {
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let principal = named(&mut tx, &principal).await?;
    let row = limits::get(&mut tx, Some(principal.id)).await?;
    Ok(view(Some(principal.name), row, state.defaults().principal))
}

/// Set the limits of a principal
///
/// Takes the form of `policies/limits.json` as it is.
#[utoipa::path(
    put,
    path = "/tenants/{tenant}/principals/{principal}/limits",
    operation_id = "putPrincipalLimits",
    tag = "limits",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("principal" = String, Path, description = "The principal's id or name"),
    ),
    request_body = PutLimits,
    responses((status = 200, description = "The limits in force now", body = LimitsSetting))
)]
pub(super) async fn put_principal(
    permit: Permit<act::LimitsUpdate>,
    extract::State(state): extract::State<State>,
    Name((tenant, principal)): Name<(String, String)>,
    expected: IfMatch,
    body: JsonBody<PutLimits>,
) -> Result<Versioned<LimitsSetting>, ApiError> {
    let new = body.value;
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let principal = named(&mut tx, &principal).await?;
    if new
        .principal
        .as_ref()
        .is_some_and(|name| *name != principal.name)
    {
        return Err(ApiError::invalid(
            "principal",
            "is another principal than the one of the URL",
            "Put it to the principal that it names",
        ));
    }
    put(tx, Some(principal), &expected, new, &state, permit.caller()).await
}

async fn put(
    mut tx: ControlTx,
    principal: Option<PrincipalRow>,
    expected: &IfMatch,
    new: PutLimits,
    state: &State,
    caller: &Caller,
) -> Result<Versioned<LimitsSetting>, ApiError> {
    new.limits
        .check()
        .map_err(|error| ApiError::invalid("limits", error, "Choose a value within the bounds"))?;
    let id = principal.as_ref().map(|principal| principal.id);
    let present = limits::get(&mut tx, id).await?.map_or(0, |row| row.version);
    expected.check(&ETag::of_version(present))?;
    let row = limits::set(&mut tx, id, new.limits, new.stop_rules, state.now()).await?;
    // Somebody else may have set them between the two statements.
    if row.version != present.saturating_add(1) {
        return Err(ApiError::PreconditionFailed);
    }
    let change = Change {
        action: Action::LimitsUpdate,
        subject: id.map_or_else(|| tx.tenant().to_string(), |id| id.to_string()),
        detail: json!({"limits": row.limits, "stop_rules": row.stop_rules}),
    };
    change.commit(tx, state, caller).await?;
    let name = principal.map(|principal| principal.name);
    Ok(view(name, Some(row), (row.limits, row.stop_rules)))
}
