//! `/service-tokens`: credentials of this API. An owner makes those of its tenant; the platform makes
//! its own and the owners'. A token is shown in the answer that creates it and nowhere else.

use axum::extract;
use axum::response::{IntoResponse, Response};
use portcullis_domain::id::{Id, ServiceToken as TokenKind};
use portcullis_store::service_tokens::{self, NewServiceToken, ServiceTokenRow};
use portcullis_store::{ControlTx, Page as Rows, PlatformTx};
use portcullis_wire::api::{CreateServiceToken, CreatedServiceToken, Page, ServiceToken};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use time::Duration;

use super::State;
use super::access::{Action, act, may_confer};
use super::answer::{Done, Listed};
use super::caller::{Caller, Permit};
use super::change::Change;
use super::error::ApiError;
use super::idempotency::{Answer, Attempt, Post};
use super::input::{JsonBody, Name, Parameters, check_future, check_label};
use super::page::{Cursor, window};
use super::query::TokenQuery;
use super::secrets::stamp;
use super::state::secret_bytes;
use crate::credential::NewSecret;

const LONGEST: Duration = Duration::days(366);

fn view(row: ServiceTokenRow) -> Result<ServiceToken, ApiError> {
    let role = row
        .role
        .parse()
        .map_err(|error: portcullis_wire::api::role::RoleError| ApiError::internal(&error))?;
    Ok(ServiceToken {
        id: row.id,
        name: row.name,
        role,
        tenant: row.tenant,
        created_by: row.created_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
        last_used_at: row.last_used_at,
    })
}

/// Where a token lives: in a tenant, or with the platform.
enum Plane {
    Tenant(ControlTx),
    Platform(PlatformTx),
}

/// The plane that a request names, or the caller's own.
async fn plane<A: super::access::Act>(
    permit: &Permit<A>,
    state: &State,
    tenant: Option<&str>,
) -> Result<Plane, ApiError> {
    match (tenant, permit.caller().tenant()) {
        (Some(name), _) => Ok(Plane::Tenant(permit.open(state, name).await?.tx)),
        (None, Some(own)) => Ok(Plane::Tenant(state.control().begin(own).await?)),
        (None, None) => Ok(Plane::Platform(state.control().platform().await?)),
    }
}

/// List service tokens
///
/// Which there are and when they were used; the tokens themselves are stored nowhere.
#[utoipa::path(
    get,
    path = "/service-tokens",
    operation_id = "listServiceTokens",
    tag = "service-tokens",
    params(TokenQuery),
    responses((status = 200, description = "One page, oldest first", body = Page<ServiceToken>))
)]
pub(super) async fn list(
    permit: Permit<act::ServiceTokenRead>,
    extract::State(state): extract::State<State>,
    Parameters(query): Parameters<TokenQuery>,
) -> Result<Listed<ServiceToken>, ApiError> {
    let window = window::<Id<TokenKind>>(query.limit, query.cursor.as_deref())?;
    let rows = Rows {
        after: window.after.map(|id| id.as_uuid()),
        limit: window.rows(),
    };
    let rows = match plane(&permit, &state, query.tenant.as_deref()).await? {
        Plane::Tenant(mut tx) => service_tokens::list(&mut tx, rows).await?,
        Plane::Platform(mut tx) => service_tokens::list_platform(&mut tx, rows).await?,
    };
    let seen = rows.into_iter().map(view).collect::<Result<Vec<_>, _>>()?;
    Ok(Listed(window.page(
        seen,
        |token| token.id.write(),
        |token| token,
    )))
}

/// Create a service token
///
/// The answer shows it, once. An owner gives any role of its tenant; the platform gives `platform`
/// and, to a tenant without a working owner's token, `owner`.
#[utoipa::path(
    post,
    path = "/service-tokens",
    operation_id = "createServiceToken",
    tag = "service-tokens",
    request_body = CreateServiceToken,
    responses((status = 201, description = "Created", body = CreatedServiceToken))
)]
pub(super) async fn create(
    permit: Permit<act::ServiceTokenCreate>,
    extract::State(state): extract::State<State>,
    post: Post,
    body: JsonBody<CreateServiceToken>,
) -> Result<Response, ApiError> {
    let new = body.value;
    let caller = permit.caller();
    check(&new, caller)?;
    let plane = plane(&permit, &state, new.tenant.as_deref()).await?;
    match plane {
        Plane::Tenant(mut tx) => {
            let open = match post.claim(&mut tx, caller, body.digest, &state).await? {
                Attempt::Answered(response) => return Ok(response),
                Attempt::Open(open) => open,
            };
            only_the_first_owner(&mut tx, caller, &state).await?;
            let minted = Minted::new(&new, &state)?;
            let actor = caller.actor();
            let row = minted.row(&new, &actor);
            let row = service_tokens::create(&mut tx, &row, state.now()).await?;
            let (answer, change) = minted.answer(row)?;
            open.settle(&mut tx, &answer).await?;
            change.commit(tx, &state, caller).await?;
            Ok(answer.into_response())
        }
        Plane::Platform(mut tx) => {
            let open = match post.claim(&mut tx, caller, body.digest, &state).await? {
                Attempt::Answered(response) => return Ok(response),
                Attempt::Open(open) => open,
            };
            let minted = Minted::new(&new, &state)?;
            let actor = caller.actor();
            let row = minted.row(&new, &actor);
            let row = service_tokens::create_platform(&mut tx, &row, state.now()).await?;
            let (answer, change) = minted.answer(row)?;
            open.settle(&mut tx, &answer).await?;
            change.commit_platform(tx, &state, caller).await?;
            Ok(answer.into_response())
        }
    }
}

/// The platform gives a tenant its first owner; from then on the tenant's owners give tokens. They
/// would not learn of one that the platform gave itself.
async fn only_the_first_owner(
    tx: &mut ControlTx,
    caller: &Caller,
    state: &State,
) -> Result<(), ApiError> {
    if caller.tenant().is_none() && service_tokens::has_live_owner(tx, state.now()).await? {
        return Err(ApiError::Conflict {
            detail: "the tenant has an owner's token that works".to_owned(),
            remedy: "Ask an owner of the tenant for a token",
        });
    }
    Ok(())
}

/// A token just made.
struct Minted {
    id: Id<TokenKind>,
    secret: NewSecret,
}

impl Minted {
    fn new(new: &CreateServiceToken, state: &State) -> Result<Self, ApiError> {
        let now = state.now();
        check_future("expires_at", Some(new.expires_at), now)?;
        if new.expires_at > now + LONGEST {
            return Err(ApiError::invalid(
                "expires_at",
                format!("must be at most {} days from now", LONGEST.whole_days()),
                "Choose an earlier end, and make a new token before it",
            ));
        }
        let id = state.mint()?;
        let secret = NewSecret::service_token(id, secret_bytes()?);
        Ok(Self { id, secret })
    }

    fn row<'a>(&self, new: &'a CreateServiceToken, actor: &'a str) -> NewServiceToken<'a> {
        NewServiceToken {
            id: self.id,
            name: &new.name,
            role: new.role.as_str(),
            hash: self.secret.hash,
            created_by: actor,
            expires_at: new.expires_at,
        }
    }

    fn answer(self, row: ServiceTokenRow) -> Result<(Answer, Change), ApiError> {
        let service_token = view(row)?;
        let change = Change {
            action: Action::ServiceTokenCreate,
            subject: self.id.to_string(),
            detail: json!({
                "name": service_token.name,
                "role": service_token.role,
                "expires_at": stamp(Some(service_token.expires_at)),
            }),
        };
        let created = CreatedServiceToken {
            service_token,
            token: self.secret.text.expose_secret().to_owned(),
        };
        Ok((Answer::created(&created, None, None)?, change))
    }
}

fn check(new: &CreateServiceToken, caller: &Caller) -> Result<(), ApiError> {
    check_label("name", &new.name)?;
    if !may_confer(caller.role(), new.role) {
        return Err(ApiError::ForbiddenValue {
            detail: format!(
                "the role {} cannot give the role {}",
                caller.role(),
                new.role
            ),
            remedy: "An owner gives roles of its tenant; the platform gives `platform` and `owner`",
        });
    }
    let (rule, remedy) = match (new.role.is_of_a_tenant(), &new.tenant, caller.tenant()) {
        (false, None, None) | (true, Some(_), _) | (true, None, Some(_)) => return Ok(()),
        (true, None, None) => (
            "is missing: the role is one of a tenant",
            "Name the tenant's slug or id",
        ),
        (false, _, _) => (
            "stands beside the role `platform`, which is of no tenant",
            "Leave it out",
        ),
    };
    Err(ApiError::invalid("tenant", rule, remedy))
}

/// Revoke a service token
///
/// It works no more from the next request on. A caller may revoke its own token.
#[utoipa::path(
    delete,
    path = "/service-tokens/{token}",
    operation_id = "revokeServiceToken",
    tag = "service-tokens",
    params(("token" = String, Path, description = "The token's id")),
    responses((status = 204, description = "It works no more"))
)]
pub(super) async fn revoke(
    permit: Permit<act::ServiceTokenRevoke>,
    extract::State(state): extract::State<State>,
    Name(token): Name<Id<TokenKind>>,
) -> Result<Done, ApiError> {
    let caller = permit.caller();
    let change = Change {
        action: Action::ServiceTokenRevoke,
        subject: token.to_string(),
        detail: Value::Object(serde_json::Map::new()),
    };
    match home_of(token, caller, &state).await? {
        Plane::Tenant(mut tx) => {
            service_tokens::revoke(&mut tx, token, state.now()).await?;
            change.commit(tx, &state, caller).await?;
        }
        Plane::Platform(mut tx) => {
            service_tokens::revoke_platform(&mut tx, token, state.now()).await?;
            change.commit_platform(tx, &state, caller).await?;
        }
    }
    Ok(Done)
}

/// The plane in which a token may be revoked: an owner's own tenant, or, for the platform, wherever
/// the token lives.
async fn home_of(token: Id<TokenKind>, caller: &Caller, state: &State) -> Result<Plane, ApiError> {
    if let Some(own) = caller.tenant() {
        return Ok(Plane::Tenant(state.control().begin(own).await?));
    }
    let mut tx = state.control().platform().await?;
    let row = service_tokens::by_id(&mut tx, token)
        .await?
        .ok_or(ApiError::NotFound)?;
    let Some(tenant) = row.tenant else {
        return Ok(Plane::Platform(tx));
    };
    // One request holds one connection.
    drop(tx);
    Ok(Plane::Tenant(state.control().begin(tenant).await?))
}
