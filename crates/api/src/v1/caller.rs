//! Who calls: the service token of a request, and the permit that its role gives for one action.
//!
//! A handler gets at a tenant only through a permit, and a permit only from a token that works.

use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use portcullis_domain::TenantSlug;
use portcullis_domain::id::{Id, ServiceToken, Tenant};
use portcullis_store::service_tokens::{self, ServiceTokenRow};
use portcullis_store::tenants::{self, TenantRow};
use portcullis_store::{ControlTx, PlatformTx};
use portcullis_wire::api::Role;
use secrecy::SecretString;

use super::access::Act;
use super::error::ApiError;
use super::state::State;
use crate::credential;

/// What stands before a service token's id where records and rows name who did something.
pub(super) const ACTOR_PREFIX: &str = "service-token:";

/// The holder of a service token that works.
#[derive(Debug)]
pub struct Caller {
    id: Id<ServiceToken>,
    role: Role,
    tenant: Option<Id<Tenant>>,
    token: SecretString,
}

impl Caller {
    /// The token's id.
    pub const fn id(&self) -> Id<ServiceToken> {
        self.id
    }

    /// What it may do.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Where; `None` for the platform.
    pub const fn tenant(&self) -> Option<Id<Tenant>> {
        self.tenant
    }

    /// How records and grants name it.
    pub fn actor(&self) -> String {
        format!("{ACTOR_PREFIX}{}", self.id)
    }

    /// The token itself, from which its stored answers are sealed.
    pub(super) const fn token(&self) -> &SecretString {
        &self.token
    }
}

/// Proof that the caller's role allows the action `A`. Only the request itself makes one.
#[derive(Debug)]
pub struct Permit<A> {
    caller: Caller,
    action: PhantomData<fn() -> A>,
}

impl<A: Act> Permit<A> {
    /// Who holds it.
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Opens the tenant that a URL names by its slug or id.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] where there is none, or it is another one than the caller's: the two
    /// take the same way, so that a foreign tenant is not even looked for.
    pub async fn open(&self, state: &State, name: &str) -> Result<Scope, ApiError> {
        let id = match self.caller.tenant {
            Some(own) => own,
            None => by_name(state, name).await?,
        };
        let mut tx = state.control().begin(id).await?;
        let tenant = tenants::get(&mut tx).await?;
        if tenant.slug == name || tenant.id.to_string() == name {
            Ok(Scope { tx, tenant })
        } else {
            Err(ApiError::NotFound)
        }
    }
}

/// One tenant, and the transaction in which only its rows exist.
#[derive(Debug)]
pub struct Scope {
    /// The transaction.
    pub tx: ControlTx,
    /// The tenant.
    pub tenant: TenantRow,
}

async fn by_name(state: &State, name: &str) -> Result<Id<Tenant>, ApiError> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    // What is no slug names no tenant; the database is not asked.
    if name.parse::<TenantSlug>().is_err() {
        return Err(ApiError::NotFound);
    }
    let mut tx = state.control().platform().await?;
    let found = tenants::by_slug(&mut tx, name).await?;
    found.map(|row| row.id).ok_or(ApiError::NotFound)
}

impl<A: Act> FromRequestParts<State> for Permit<A> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, ApiError> {
        let caller = authenticate(parts, state).await?;
        if !A::ACTION.is_open_to(caller.role) {
            return Err(ApiError::Forbidden {
                role: caller.role,
                action: A::ACTION,
            });
        }
        Ok(Self {
            caller,
            action: PhantomData,
        })
    }
}

async fn authenticate(parts: &Parts, state: &State) -> Result<Caller, ApiError> {
    let now = state.now();
    let address = address(parts, state)?;
    // Who drops the gate must not be kept from it by a neighbour that fails: a right token passes all
    // the same, and wrong ones of such a network wait for each other instead of filling the database.
    let crowded = state.attempts().check(address, now).err();
    let _turn = match crowded {
        Some(too_many) => Some(state.turn().await.ok_or(too_many)?),
        None => None,
    };
    let token = bearer(&parts.headers)?;
    let mut tx = state.control().platform().await?;
    let Some(row) = shown(&mut tx, token).await? else {
        state.attempts().failed(address, None, now)?;
        return Err(match crowded {
            Some(too_many) => too_many.into(),
            None => ApiError::Unauthenticated("the token is not one of ours"),
        });
    };
    // From here on the caller has shown the secret and may know the token's state.
    if row.revoked_at.is_some() {
        return Err(ApiError::Unauthenticated("the token was revoked"));
    }
    if row.expires_at <= now {
        return Err(ApiError::Unauthenticated("the token has expired"));
    }
    let role: Role = row
        .role
        .parse()
        .map_err(|error: portcullis_wire::api::role::RoleError| ApiError::internal(&error))?;
    if role.is_of_a_tenant() != row.tenant.is_some() {
        return Err(ApiError::Internal(format!(
            "the service token {} has a role of the other plane",
            row.id
        )));
    }
    service_tokens::touch(&mut tx, row.id, now).await?;
    tx.commit().await?;
    Ok(Caller {
        id: row.id,
        role,
        tenant: row.tenant,
        token: SecretString::from(token),
    })
}

/// The service token whose secret was shown.
async fn shown(tx: &mut PlatformTx, token: &str) -> Result<Option<ServiceTokenRow>, ApiError> {
    let Some(id) = credential::service_token_id(token) else {
        return Ok(None);
    };
    let row = service_tokens::by_id(tx, id).await?;
    Ok(row.filter(|row| credential::matches(token, &row.hash)))
}

/// Whose failures are counted. Where a proxy hides its client, the proxy itself is counted.
fn address(parts: &Parts, state: &State) -> Result<IpAddr, ApiError> {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|ConnectInfo(peer)| peer.ip());
    let peer = peer.ok_or_else(|| ApiError::Internal("nobody knows who calls".to_owned()))?;
    let client = state.proxies().client_of(&parts.headers, peer);
    Ok(client.unwrap_or(peer))
}

/// The one bearer token of the request (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let value = match (sent.next(), sent.next()) {
        (Some(value), None) => value,
        (None, _) => return Err(ApiError::Unauthenticated("no `Authorization` was sent")),
        (Some(_), Some(_)) => {
            return Err(ApiError::Unauthenticated(
                "more than one `Authorization` was sent",
            ));
        }
    };
    let scheme_and_token = value.to_str().ok().and_then(|text| text.split_once(' '));
    match scheme_and_token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        Some(_) | None => Err(ApiError::Unauthenticated(
            "`Authorization` is not of the scheme Bearer",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (AUTHORIZATION, HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn the_scheme_is_read_in_any_case() {
        for value in ["Bearer pst_x", "bearer pst_x", "BEARER  pst_x "] {
            assert_eq!(bearer(&headers(&[value])).unwrap(), "pst_x");
        }
    }

    #[test]
    fn none_two_or_another_scheme_are_refused() {
        for values in [
            &[][..],
            &["Bearer pst_x", "Bearer pst_x"],
            &["Basic cHN0Og=="],
            &["pst_x"],
            &[""],
        ] {
            let mut several = HeaderMap::new();
            for value in values {
                several.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            let error = bearer(&several).unwrap_err();
            assert!(matches!(error, ApiError::Unauthenticated(_)), "{values:?}");
        }
    }
}
