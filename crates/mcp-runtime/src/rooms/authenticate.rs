//! Room 1: the token, checked and bound to where it is used, becomes a caller of a tenant.
//!
//! What a stranger may learn here is nothing: an unknown tenant answers as a token for another
//! audience, an unknown or suspended principal as a token that is not valid.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use portcullis_domain::id::{Id, Tenant};
use portcullis_domain::{Caller, Pool, PrincipalName, ReplayMode, TenantSlug};
use portcullis_evidence::record::Room;
use portcullis_wire::Slug;

use super::admit;
use super::refusal::DoorRefusal;
use crate::challenge;
use crate::gate::Gate;
use crate::snapshot::{PrincipalEntry, SnapshotError, TenantSnapshot};
use crate::token::{Checked, MAX_SKEW, Presented, TenantKey, TokenError, Unbound, VerifiedToken};

/// What a replica says that refuses every call.
const LOST: &str = "This replica has not confirmed its configuration for more than 10 s, so it refuses \
                    every call. Repeat the call; another replica may answer.";

/// An authenticated caller, on its tenant's snapshot.
#[derive(Debug)]
pub struct Authenticated {
    pub(in crate::rooms) caller: Caller,
    pub(in crate::rooms) snapshot: Arc<TenantSnapshot>,
    pub(in crate::rooms) token: Arc<VerifiedToken>,
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
    let known = gate.snapshots.known(slug).await;
    if !headers.contains_key(AUTHORIZATION) {
        // Counted where the tenant is at hand; a stranger makes nobody look for one.
        if let Some(snapshot) = known {
            let place = (snapshot.id, snapshot.home);
            let missing = TokenError::Missing.slug();
            gate.refusals.count(place, Room::Authenticate, missing);
        }
        return Err(refusal(gate, slug, &TokenError::Missing));
    }
    let snapshot = match known {
        Some(snapshot) => snapshot,
        // Nobody makes the platform read a tenant who does not show a genuine token for its URL.
        None => match genuine(gate, slug, &presented).await? {
            Some(snapshot) => snapshot,
            None => return Err(refusal(gate, slug, &TokenError::Audience)),
        },
    };
    let key = tenant_key(gate, slug, snapshot.id, snapshot.replay);
    let counted = |error: &TokenError| {
        let place = (snapshot.id, snapshot.home);
        gate.refusals.count(place, Room::Authenticate, error.slug());
        refusal(gate, slug, error)
    };
    let checked = gate.verifier.check(&presented, &key);
    let token = match checked.map_err(|error| counted(&error))? {
        Checked::Known(token) => token,
        Checked::New(unbound) => {
            may_begin(gate, &snapshot, &unbound, counted)?;
            let bound = gate.verifier.bind(*unbound).await;
            bound.map_err(|error| counted(&error))?
        }
    };
    match caller(&snapshot, &token) {
        Some(caller) => Ok(Authenticated {
            caller,
            snapshot,
            token,
        }),
        None => Err(counted(&TokenError::Signature)),
    }
}

/// Whether a token that was not used here before may be: its first use writes a row, and whoever holds
/// a client secret has as many tokens as he likes. So a principal that is not admitted writes none.
fn may_begin(
    gate: &Gate,
    snapshot: &TenantSnapshot,
    token: &Unbound<'_>,
    counted: impl Fn(&TokenError) -> DoorRefusal,
) -> Result<(), DoorRefusal> {
    let name = token.subject();
    let entry = principal(snapshot, name, token.client_id());
    let entry = entry.ok_or_else(|| counted(&TokenError::Signature))?;
    admit::look(gate, snapshot, name, entry.id).inspect_err(|refusal| {
        let place = (snapshot.id, snapshot.home);
        gate.refusals.count(place, Room::Admit, refusal.slug);
    })
}

/// Looks again at what may have changed while a body arrived: the tenant's configuration, whether
/// the principal is still the same and active, whether the token still holds.
pub(in crate::rooms) async fn again(
    gate: &Gate,
    slug: &str,
    token: &Arc<VerifiedToken>,
) -> Result<(Caller, Arc<TenantSnapshot>), DoorRefusal> {
    let snapshot = find(gate, slug).await?;
    let snapshot = snapshot.ok_or_else(|| refusal(gate, slug, &TokenError::Audience))?;
    if gate.clock.now() > token.expires_at() + MAX_SKEW {
        return Err(refusal(gate, slug, &TokenError::Expired));
    }
    let caller =
        caller(&snapshot, token).ok_or_else(|| refusal(gate, slug, &TokenError::Signature))?;
    Ok((caller, snapshot))
}

/// The tenant of a URL for which the request shows a genuine token. The check ends after the signature
/// and the claims, before any database.
async fn genuine(
    gate: &Gate,
    slug: &str,
    presented: &Presented<'_>,
) -> Result<Option<Arc<TenantSnapshot>>, DoorRefusal> {
    let nobody = Id::from_row(uuid::Uuid::nil());
    let key = tenant_key(gate, slug, nobody, ReplayMode::Network);
    match gate.verifier.check(presented, &key) {
        Ok(Checked::New(_) | Checked::Known(_)) => find(gate, slug).await,
        Err(error) => Err(refusal(gate, slug, &error)),
    }
}

async fn find(gate: &Gate, slug: &str) -> Result<Option<Arc<TenantSnapshot>>, DoorRefusal> {
    if slug.parse::<TenantSlug>().is_err() {
        return Ok(None);
    }
    match gate.snapshots.get(slug).await {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(error) => match *error {
            SnapshotError::NoTenant => Ok(None),
            SnapshotError::Store(_)
            | SnapshotError::Compile(_)
            | SnapshotError::Slow(_)
            | SnapshotError::Outdated => Err(unknown(slug, &error, Slug::Unavailable)),
            SnapshotError::Stale(_) => {
                let mut refusal = unknown(slug, &error, Slug::ConfigurationStale);
                refusal.problem.remedy = Some(LOST.to_owned());
                Err(refusal)
            }
        },
    }
}

fn unknown(slug: &str, error: &SnapshotError, problem: Slug) -> DoorRefusal {
    tracing::error!(tenant = slug, error = %crate::chain(error), "no snapshot");
    let mut refusal = DoorRefusal::new(problem, "");
    refusal.retry_after_seconds = Some(1);
    refusal
}

fn tenant_key(gate: &Gate, slug: &str, id: Id<Tenant>, replay: ReplayMode) -> TenantKey {
    TenantKey {
        id,
        audience: format!("{}/t/{slug}/mcp", gate.settings.public_url),
        replay,
        prefix: gate.settings.network_prefix,
    }
}

/// The principal that a token speaks for.
fn principal<'s>(
    snapshot: &'s TenantSnapshot,
    subject: &PrincipalName,
    client_id: Option<&str>,
) -> Option<&'s PrincipalEntry> {
    let entry = snapshot.principals.get(subject)?;
    // A principal that was removed and made anew under its old name is another one.
    let same = client_id.is_none_or(|client| client == entry.id.to_string());
    same.then_some(entry)
}

fn caller(snapshot: &TenantSnapshot, token: &VerifiedToken) -> Option<Caller> {
    let entry = principal(snapshot, token.subject(), token.client_id())?;
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

fn refusal(gate: &Gate, slug: &str, error: &TokenError) -> DoorRefusal {
    if let TokenError::Unavailable(cause) = error {
        tracing::error!(error = %crate::chain(cause), "a token's first use could not be checked");
    }
    let mut refusal = DoorRefusal::new(error.slug(), format!("{error}. {}", error.remedy()));
    refusal.problem.remedy = Some(error.remedy().to_owned());
    if refusal.problem.status == 401 {
        let named = slug.parse::<TenantSlug>().is_ok();
        let tenant = if named { slug } else { "unknown" };
        let invalid = error.bearer_error().map(|_| error.to_string());
        let url = &gate.settings.public_url;
        refusal.challenge = Some(challenge::unauthorized(url, tenant, invalid.as_deref()));
    }
    refusal
}
