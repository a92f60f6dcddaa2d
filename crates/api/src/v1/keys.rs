//! `/tenants/{tenant}/principals/{principal}/keys`: public keys by which clients prove who they are
//! (RFC 7523). A private key is refused and never stored.

use axum::extract;
use axum::response::{IntoResponse, Response};
use portcullis_domain::id::{ClientKey as KeyKind, Id};
use portcullis_store::clients::{self, KeyRow};
use portcullis_wire::api::{ClientKey, CreateKey, Page};
use serde_json::json;

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
use super::secrets::stamp;
use crate::client_key::ClientPublicKey;

/// How many keys of one principal may work at once: enough to rotate.
const MAX_LIVE: usize = 10;

fn view(row: KeyRow) -> ClientKey {
    ClientKey {
        id: row.id,
        kid: row.kid,
        // What is stored was JSON when it was taken.
        jwk: serde_json::from_str(&row.jwk).unwrap_or_default(),
        created_at: row.created_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
        last_used_at: row.last_used_at,
    }
}

/// List a client's public keys
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/principals/{principal}/keys",
    operation_id = "listKeys",
    tag = "principals",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("principal" = String, Path, description = "The principal's id or name"),
        PageQuery,
    ),
    responses((status = 200, description = "One page, oldest first", body = Page<ClientKey>))
)]
pub(super) async fn list(
    permit: Permit<act::KeyRead>,
    extract::State(state): extract::State<State>,
    Name((tenant, principal)): Name<(String, String)>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Listed<ClientKey>, ApiError> {
    let window = window::<Id<KeyKind>>(query.limit, query.cursor.as_deref())?;
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let principal = named(&mut tx, &principal).await?;
    let mut rows = clients::list_keys(&mut tx, principal.id).await?;
    rows.retain(|row| window.after.is_none_or(|after| row.id > after));
    rows.sort_unstable_by_key(|row| row.id);
    Ok(Listed(window.page(rows, |row| row.id.write(), view)))
}

/// Register a client's public key
///
/// From then on the client can prove who it is by assertions that the private key signs
/// (`private_key_jwt`, RFC 7523). Up to ten keys may work at once, so that they can be rotated.
#[utoipa::path(
    post,
    path = "/tenants/{tenant}/principals/{principal}/keys",
    operation_id = "createKey",
    tag = "principals",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("principal" = String, Path, description = "The principal's id or name"),
    ),
    request_body = CreateKey,
    responses((status = 201, description = "Registered", body = ClientKey))
)]
pub(super) async fn create(
    permit: Permit<act::KeyCreate>,
    extract::State(state): extract::State<State>,
    Name((tenant, principal)): Name<(String, String)>,
    post: Post,
    body: JsonBody<CreateKey>,
) -> Result<Response, ApiError> {
    let caller = permit.caller();
    let CreateKey { jwk, expires_at } = body.value;
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let principal = named(&mut tx, &principal).await?;
    let open = match post.claim(&mut tx, caller, body.digest, &state).await? {
        Attempt::Answered(response) => return Ok(response),
        Attempt::Open(open) => open,
    };
    let now = state.now();
    check_future("expires_at", expires_at, now)?;
    let key = ClientPublicKey::parse(&jwk).map_err(|error| {
        let remedy = "Send the public part of an Ed25519, P-256 or RSA key (2,048 bits or more)";
        ApiError::invalid("jwk", error.to_string(), remedy)
    })?;
    let held = clients::list_keys(&mut tx, principal.id).await?;
    if held.iter().any(|row| row.kid == key.kid) {
        return Err(ApiError::Conflict {
            detail: "this principal has or had a key of this name".to_owned(),
            remedy: "Give the key another `kid`; a name is never used twice",
        });
    }
    if held.iter().filter(|row| row.is_live(now)).count() >= MAX_LIVE {
        return Err(ApiError::Conflict {
            detail: format!("{MAX_LIVE} keys of this principal work already"),
            remedy: "Revoke those that are no longer used",
        });
    }
    let id = state.mint()?;
    let new = clients::NewKey {
        id,
        principal: principal.id,
        kid: &key.kid,
        jwk: &key.jwk.to_string(),
        expires_at,
    };
    clients::create_key(&mut tx, new, now).await?;
    let created = ClientKey {
        id,
        kid: key.kid,
        jwk: key.jwk,
        created_at: now,
        expires_at,
        revoked_at: None,
        last_used_at: None,
    };
    let answer = Answer::created(&created, None, None)?;
    open.settle(&mut tx, &answer).await?;
    let change = Change {
        action: Action::KeyCreate,
        subject: id.to_string(),
        detail: json!({"principal": principal.id, "expires_at": stamp(expires_at)}),
    };
    change.commit(tx, &state, caller).await?;
    Ok(answer.into_response())
}

/// Revoke a client's public key
///
/// Tokens that it got live on until they expire, ten minutes at most.
#[utoipa::path(
    delete,
    path = "/tenants/{tenant}/principals/{principal}/keys/{key}",
    operation_id = "revokeKey",
    tag = "principals",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("principal" = String, Path, description = "The principal's id or name"),
        ("key" = String, Path, description = "The key's id"),
    ),
    responses((status = 204, description = "It works no more"))
)]
pub(super) async fn revoke(
    permit: Permit<act::KeyRevoke>,
    extract::State(state): extract::State<State>,
    Name((tenant, principal, key)): Name<(String, String, Id<KeyKind>)>,
) -> Result<Done, ApiError> {
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let principal = named(&mut tx, &principal).await?;
    let held = clients::list_keys(&mut tx, principal.id).await?;
    let row = held
        .iter()
        .find(|row| row.id == key)
        .ok_or(ApiError::NotFound)?;
    if row.revoked_at.is_some() {
        return Ok(Done);
    }
    clients::revoke_key(&mut tx, key, state.now()).await?;
    let change = Change {
        action: Action::KeyRevoke,
        subject: key.to_string(),
        detail: json!({"principal": principal.id}),
    };
    change.commit(tx, &state, permit.caller()).await?;
    Ok(Done)
}
