//! `/tenants/{tenant}/principals/{principal}/secrets`. A secret is shown in the answer that creates
//! it and nowhere else.

use axum::extract;
use axum::response::{IntoResponse, Response};
use portcullis_domain::id::{ClientSecret as SecretKind, Id};
use portcullis_store::clients::{self, SecretRow};
use portcullis_wire::api::{ClientSecret, CreateSecret, CreatedSecret, Page, RotateSecret};
use secrecy::ExposeSecret;
use serde_json::json;
use time::Duration;

use super::State;
use super::access::{Action, act};
use super::answer::{Done, Listed};
use super::caller::{Permit, Scope};
use super::change::Change;
use super::error::ApiError;
use super::idempotency::{Answer, Attempt, Post};
use super::input::{JsonBody, Name, Parameters, check_future};
use super::page::{Cursor, window};
use super::principals::named;
use super::query::PageQuery;
use super::state::secret_bytes;
use crate::credential::NewSecret;

/// How many secrets of one principal may work at once: enough to rotate.
const MAX_LIVE: usize = 10;
/// The longest that rotated secrets go on working.
const MAX_OVERLAP_SECONDS: u32 = 30 * 86_400;

fn view(row: SecretRow) -> ClientSecret {
    ClientSecret {
        id: row.id,
        created_at: row.created_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
        last_used_at: row.last_used_at,
    }
}

/// List a principal's client secrets
///
/// Which there are and when they were used; the secrets themselves are stored nowhere.
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/principals/{principal}/secrets",
    operation_id = "listSecrets",
    tag = "principals",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("principal" = String, Path, description = "The principal's id or name"),
        PageQuery,
    ),
    responses((status = 200, description = "One page, oldest first", body = Page<ClientSecret>))
)]
pub(super) async fn list(
    permit: Permit<act::SecretRead>,
    extract::State(state): extract::State<State>,
    Name((tenant, principal)): Name<(String, String)>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Listed<ClientSecret>, ApiError> {
    let window = window::<Id<SecretKind>>(query.limit, query.cursor.as_deref())?;
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let principal = named(&mut tx, &principal).await?;
    let mut rows = clients::list_secrets(&mut tx, principal.id).await?;
    rows.retain(|row| window.after.is_none_or(|after| row.id > after));
    rows.sort_unstable_by_key(|row| row.id);
    Ok(Listed(window.page(rows, |row| row.id.write(), view)))
}

/// Create a client secret
///
/// The answer shows it, once. Up to ten may work at once, so that they can be rotated.
#[utoipa::path(
    post,
    path = "/tenants/{tenant}/principals/{principal}/secrets",
    operation_id = "createSecret",
    tag = "principals",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("principal" = String, Path, description = "The principal's id or name"),
    ),
    request_body = CreateSecret,
    responses((status = 201, description = "Created", body = CreatedSecret))
)]
pub(super) async fn create(
    permit: Permit<act::SecretCreate>,
    extract::State(state): extract::State<State>,
    Name((tenant, principal)): Name<(String, String)>,
    post: Post,
    body: JsonBody<CreateSecret>,
) -> Result<Response, ApiError> {
    let caller = permit.caller();
    let expires_at = body.value.expires_at;
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let principal = named(&mut tx, &principal).await?;
    let open = match post.claim(&mut tx, caller, body.digest, &state).await? {
        Attempt::Answered(response) => return Ok(response),
        Attempt::Open(open) => open,
    };
    let now = state.now();
    check_future("expires_at", expires_at, now)?;
    if clients::live_secrets(&mut tx, principal.id, now)
        .await?
        .len()
        >= MAX_LIVE
    {
        return Err(ApiError::Conflict {
            detail: format!("{MAX_LIVE} secrets of this principal work already"),
            remedy: "Revoke those that are no longer used",
        });
    }
    let id = state.mint()?;
    let secret = NewSecret::client_secret(secret_bytes()?);
    clients::create_secret(&mut tx, id, principal.id, &secret.hash, expires_at, now).await?;
    let created = CreatedSecret {
        id,
        client_id: principal.id,
        client_secret: secret.text.expose_secret().to_owned(),
        expires_at,
    };
    let answer = Answer::created(&created, None, None)?;
    open.settle(&mut tx, &answer).await?;
    let change = Change {
        action: Action::SecretCreate,
        subject: id.to_string(),
        detail: json!({"principal": principal.id, "expires_at": stamp(expires_at)}),
    };
    change.commit(tx, &state, caller).await?;
    Ok(answer.into_response())
}

/// Rotate a client's secrets
///
/// Makes a new secret and gives the others an end: together or not at all. The answer shows the new
/// one, once. With an overlap of 0 the others end at once.
#[utoipa::path(
    post,
    path = "/tenants/{tenant}/principals/{principal}/secrets/rotate",
    operation_id = "rotateSecret",
    tag = "principals",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("principal" = String, Path, description = "The principal's id or name"),
    ),
    request_body = RotateSecret,
    responses((status = 201, description = "Created", body = CreatedSecret))
)]
pub(super) async fn rotate(
    permit: Permit<act::SecretRotate>,
    extract::State(state): extract::State<State>,
    Name((tenant, principal)): Name<(String, String)>,
    post: Post,
    body: JsonBody<RotateSecret>,
) -> Result<Response, ApiError> {
    let caller = permit.caller();
    let RotateSecret {
        overlap_seconds,
        expires_at,
    } = body.value;
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let principal = named(&mut tx, &principal).await?;
    let open = match post.claim(&mut tx, caller, body.digest, &state).await? {
        Attempt::Answered(response) => return Ok(response),
        Attempt::Open(open) => open,
    };
    let now = state.now();
    check_future("expires_at", expires_at, now)?;
    let overlap = overlap(overlap_seconds)?;
    let live = clients::live_secrets(&mut tx, principal.id, now).await?;
    if live.len() >= MAX_LIVE && !overlap.is_zero() {
        return Err(ApiError::Conflict {
            detail: format!("{MAX_LIVE} secrets of this principal work already"),
            remedy: "Revoke those that are no longer used, or rotate with an overlap of 0",
        });
    }
    let id = state.mint()?;
    let secret = NewSecret::client_secret(secret_bytes()?);
    clients::create_secret(&mut tx, id, principal.id, &secret.hash, expires_at, now).await?;
    let end = now.saturating_add(overlap);
    let mut retired = Vec::new();
    if overlap.is_zero() {
        for old in live {
            clients::revoke_secret(&mut tx, old.id, now).await?;
            retired.push(old.id);
        }
    } else {
        retired = clients::retire_secrets(&mut tx, principal.id, id, end, now).await?;
    }
    let created = CreatedSecret {
        id,
        client_id: principal.id,
        client_secret: secret.text.expose_secret().to_owned(),
        expires_at,
    };
    let answer = Answer::created(&created, None, None)?;
    open.settle(&mut tx, &answer).await?;
    let change = Change {
        action: Action::SecretRotate,
        subject: id.to_string(),
        detail: json!({"principal": principal.id, "expires_at": stamp(expires_at),
            "retired": retired, "retired_at": stamp(Some(end))}),
    };
    change.commit(tx, &state, caller).await?;
    Ok(answer.into_response())
}

fn overlap(seconds: u32) -> Result<Duration, ApiError> {
    if seconds > MAX_OVERLAP_SECONDS {
        return Err(ApiError::invalid(
            "overlap_seconds",
            "must be at most 2592000",
            "Choose 30 days or less; 0 ends the others at once",
        ));
    }
    Ok(Duration::seconds(i64::from(seconds)))
}

/// A time as records write it.
pub(super) fn stamp(time: Option<time::OffsetDateTime>) -> Option<String> {
    time?
        .format(&time::format_description::well_known::Rfc3339)
        .ok()
}

/// Revoke a client secret
///
/// Tokens that it got live on until they expire, ten minutes at most.
#[utoipa::path(
    delete,
    path = "/tenants/{tenant}/principals/{principal}/secrets/{secret}",
    operation_id = "revokeSecret",
    tag = "principals",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("principal" = String, Path, description = "The principal's id or name"),
        ("secret" = String, Path, description = "The secret's id"),
    ),
    responses((status = 204, description = "It works no more"))
)]
pub(super) async fn revoke(
    permit: Permit<act::SecretRevoke>,
    extract::State(state): extract::State<State>,
    Name((tenant, principal, secret)): Name<(String, String, Id<SecretKind>)>,
) -> Result<Done, ApiError> {
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let principal = named(&mut tx, &principal).await?;
    let held = clients::list_secrets(&mut tx, principal.id).await?;
    let row = held
        .iter()
        .find(|row| row.id == secret)
        .ok_or(ApiError::NotFound)?;
    if row.revoked_at.is_some() {
        return Ok(Done);
    }
    clients::revoke_secret(&mut tx, secret, state.now()).await?;
    let change = Change {
        action: Action::SecretRevoke,
        subject: secret.to_string(),
        detail: json!({"principal": principal.id}),
    };
    change.commit(tx, &state, permit.caller()).await?;
    Ok(Done)
}
