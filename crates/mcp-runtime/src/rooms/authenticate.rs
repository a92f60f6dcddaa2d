//! Room 1: the token, checked and bound to where it is used, becomes a caller of a tenant.
//!
//! What a stranger may learn here is nothing: an unknown tenant answers as a token for another
//! audience, an unknown or suspended principal as a token that is not valid.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use portcullis_domain::id::{Id, Tenant};
use portcullis_domain::{Caller, Pool, ReplayMode};
use portcullis_wire::Slug;

use super::refusal::DoorRefusal;
use crate::challenge;
use crate::gate::Gate;
use crate::snapshot::{SnapshotError, TenantSnapshot};
use crate::token::{Presented, TenantKey, TokenError, VerifiedToken};

/// An authenticated caller, on its tenant's snapshot.
#[derive(Debug)]
pub struct Authenticated {
    pub(in crate::rooms) caller: Caller,
    pub(in crate::rooms) snapshot: Arc<TenantSnapshot>,
}

impl Authenticated {
    /// The tenant that was called, and its home.
    pub const fn tenant(&self) -> (Id<Tenant>, Pool) {
        (self.caller.tenant, self.caller.home)
    }
}

/// Enters the room.
///
/// # Errors
/// Refuses with 401 and words for a person whatever does not prove a live principal of this tenant,
/// and with 503 what cannot be checked now.
pub async fn enter(
    gate: &Gate,
    slug: &str,
    peer: SocketAddr,
    headers: &HeaderMap,
) -> Result<Authenticated, DoorRefusal> {
    let presented = Presented::of(headers, peer.ip());
    if !headers.contains_key(AUTHORIZATION) {
        return Err(refusal(gate, slug, &TokenError::Missing));
    }
    let Some(snapshot) = find(gate, slug).await? else {
        return Err(stranger(gate, slug, &presented).await);
    };
    let key = tenant_key(gate, slug, snapshot.id, snapshot.replay);
    let counted = |error: &TokenError| {
        gate.refusals
            .count(snapshot.id, snapshot.home, error.slug());
        refusal(gate, slug, error)
    };
    let token = gate
        .verifier
        .authenticate(&presented, &key)
        .await
        .map_err(|e| counted(&e))?;
    match caller(&snapshot, &token) {
        Some(caller) => Ok(Authenticated { caller, snapshot }),
        None => Err(counted(&TokenError::Signature)),
    }
}

async fn find(gate: &Gate, slug: &str) -> Result<Option<Arc<TenantSnapshot>>, DoorRefusal> {
    if !is_slug(slug) {
        return Ok(None);
    }
    match gate.snapshots.get(slug).await {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(error) => match *error {
            SnapshotError::NoTenant => Ok(None),
            SnapshotError::Store(_) | SnapshotError::Compile(_) | SnapshotError::Stale(_) => {
                tracing::error!(tenant = slug, error = %crate::chain(&*error), "no snapshot");
                let mut refusal = DoorRefusal::new(Slug::Unavailable, "");
                refusal.retry_after_seconds = Some(1);
                Err(refusal)
            }
        },
    }
}

/// What a token comes to at a URL that no tenant has: the same words as at any other tenant's.
async fn stranger(gate: &Gate, slug: &str, presented: &Presented<'_>) -> DoorRefusal {
    let nobody = Id::from_row(uuid::Uuid::nil());
    let key = tenant_key(gate, slug, nobody, ReplayMode::SenderConstrained);
    match gate.verifier.authenticate(presented, &key).await {
        Ok(_) | Err(TokenError::BearerRefused) => refusal(gate, slug, &TokenError::Audience),
        Err(error) => refusal(gate, slug, &error),
    }
}

fn tenant_key(gate: &Gate, slug: &str, id: Id<Tenant>, replay: ReplayMode) -> TenantKey {
    TenantKey {
        id,
        audience: format!("{}/t/{slug}/mcp", gate.settings.public_url),
        replay,
        prefix: gate.settings.network_prefix,
    }
}

fn caller(snapshot: &TenantSnapshot, token: &VerifiedToken) -> Option<Caller> {
    let entry = snapshot.principals.get(token.subject())?;
    // A principal that was removed and made anew under its old name is another one.
    let same = token
        .client_id()
        .is_none_or(|client| client == entry.id.to_string());
    if !entry.active || !same {
        return None;
    }
    Some(Caller {
        tenant: snapshot.id,
        tenant_slug: snapshot.slug.clone(),
        home: snapshot.home,
        principal: entry.id,
        name: token.subject().clone(),
        scopes: token.scopes().clone(),
        purpose: token.purpose().map(str::to_owned),
        region: entry.region,
        auth: token.auth(),
        expires_at: token.expires_at(),
    })
}

fn is_slug(slug: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !slug.is_empty() && slug.len() <= 63 && slug.bytes().all(allowed)
}

fn refusal(gate: &Gate, slug: &str, error: &TokenError) -> DoorRefusal {
    if let TokenError::Unavailable(cause) = error {
        tracing::error!(error = %crate::chain(cause), "a token's first use could not be checked");
    }
    let mut refusal = DoorRefusal::new(error.slug(), format!("{error}. {}", error.remedy()));
    refusal.problem.remedy = Some(error.remedy().to_owned());
    if refusal.problem.status == 401 {
        let tenant = if is_slug(slug) { slug } else { "unknown" };
        let invalid = error.bearer_error().map(|_| error.to_string());
        let url = &gate.settings.public_url;
        refusal.challenge = Some(challenge::unauthorized(url, tenant, invalid.as_deref()));
    }
    refusal
}
