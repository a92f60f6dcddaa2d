//! The one way from a presented token to a verified one.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use portcullis_domain::caller::AuthStrength;
use portcullis_domain::id::{Id, Tenant};
use portcullis_domain::{Clock, PrincipalName, ReplayMode, Scope};
use portcullis_keys::LocalKeys;
use time::OffsetDateTime;

use super::cache::{KnownUse, Place, TokenCache};
use super::claims::{Claims, MAX_SKEW};
use super::error::TokenError;
use super::key::IssuerKeys;
use super::network::{ClientNetwork, NetworkPrefix, TrustedProxies};
use super::presented::Presented;
use super::replay::{
    Binding, BindingKind, BindingStore, BindingStoreError, binding_hash, judge, judge_again,
    keep_until, kind_for,
};
use super::verify::{self, Verified};

/// What a tenant's URL asks of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantKey {
    /// The tenant whose URL was called.
    pub id: Id<Tenant>,
    /// The tenant's MCP URL, which the token's `aud` has to be.
    pub audience: String,
    /// What a second use means.
    pub replay: ReplayMode,
    /// How much of the client's address counts.
    pub prefix: NetworkPrefix,
}

/// A token that is genuine, valid now, made for this tenant, and used from where it may be.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    tenant: Id<Tenant>,
    claims: Claims,
    auth: AuthStrength,
}

impl VerifiedToken {
    /// The tenant whose URL was called.
    pub const fn tenant(&self) -> Id<Tenant> {
        self.tenant
    }

    /// Who issued it, `iss`.
    pub fn issuer(&self) -> &str {
        &self.claims.issuer
    }

    /// Who it speaks for, `sub`.
    pub const fn subject(&self) -> &PrincipalName {
        &self.claims.subject
    }

    /// The client that it was issued to, `client_id`. Tokens of our own issuer name the principal's
    /// id here, which tells a principal from a later one of the same name.
    pub fn client_id(&self) -> Option<&str> {
        self.claims.client_id.as_deref()
    }

    /// The scopes that it carries. What the principal may really do is less: its live grants.
    pub const fn scopes(&self) -> &BTreeSet<Scope> {
        &self.claims.scopes
    }

    /// The purpose that it states.
    pub fn purpose(&self) -> Option<&str> {
        self.claims.purpose.as_deref()
    }

    /// Who acts for the subject, the present actor first, `act`.
    pub fn actors(&self) -> &[String] {
        &self.claims.actors
    }

    /// The strongest thing that the request proved.
    pub const fn auth(&self) -> AuthStrength {
        self.auth
    }

    /// When it expires, `exp`.
    pub const fn expires_at(&self) -> OffsetDateTime {
        self.claims.expires_at
    }
}

impl fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken")
            .field("tenant", &self.tenant)
            .field("subject", &self.claims.subject)
            .field("auth", &self.auth)
            .finish_non_exhaustive()
    }
}

/// What a [`TokenVerifier`] is made of.
#[derive(Debug)]
pub struct VerifierParts {
    /// The issuers that tenants trust, and their keys.
    pub issuers: Arc<dyn IssuerKeys>,
    /// Where first uses are remembered, for all replicas: the control store.
    pub bindings: Arc<dyn BindingStore>,
    /// Has the key under which addresses are hashed for the database.
    pub keys: Arc<LocalKeys>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The proxies whose `Forwarded` is believed.
    pub proxies: TrustedProxies,
    /// How many uses of tokens a replica remembers; each takes about a kilobyte.
    pub cache_entries: usize,
    /// How long to wait for the database before a token is refused.
    pub binding_timeout: StdDuration,
}

/// Verifies tokens and binds them to where they are used.
#[derive(Debug)]
pub struct TokenVerifier {
    parts: VerifierParts,
    cache: TokenCache,
}

/// A request for one token's acceptance.
struct Attempt<'a> {
    tenant: &'a TenantKey,
    network: ClientNetwork,
    place: Place,
    now: OffsetDateTime,
}

/// A token that is genuine, valid now and made for this tenant.
#[derive(Debug)]
pub enum Checked<'t> {
    /// This replica knows that it may be used from here.
    Known(Arc<VerifiedToken>),
    /// This replica sees its first use from here: whether it may be is not known before it is bound.
    New(Box<Unbound<'t>>),
}

/// A genuine token whose id is not bound yet: nobody is authenticated by it.
pub struct Unbound<'t> {
    attempt: Attempt<'t>,
    kind: BindingKind,
    verified: Verified,
}

impl Unbound<'_> {
    /// Who it speaks for, `sub`.
    pub const fn subject(&self) -> &PrincipalName {
        &self.verified.claims.subject
    }

    /// The client that it was issued to, `client_id`.
    pub fn client_id(&self) -> Option<&str> {
        self.verified.claims.client_id.as_deref()
    }
}

impl fmt::Debug for Unbound<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unbound")
            .field("tenant", &self.attempt.tenant.id)
            .field("subject", self.subject())
            .finish_non_exhaustive()
    }
}

impl TokenVerifier {
    /// A verifier with an empty memory.
    pub fn new(parts: VerifierParts) -> Self {
        let cache = TokenCache::new(parts.cache_entries);
        Self { parts, cache }
    }

    /// Checks a request at a tenant's URL as far as that needs no database.
    ///
    /// # Errors
    /// Every reason for which a token is refused wherever it was used before.
    pub fn check<'t>(
        &self,
        presented: &Presented<'_>,
        tenant: &'t TenantKey,
    ) -> Result<Checked<'t>, TokenError> {
        let token = presented.bearer()?;
        let client = self
            .parts
            .proxies
            .client(presented.peer(), presented.forwarded())?;
        let network = tenant.prefix.network(client);
        let attempt = Attempt {
            tenant,
            network,
            place: Place::of(token, tenant, &network),
            now: self.parts.clock.now(),
        };
        if let Some(known) = self.known(&attempt) {
            return self.accept_again(&attempt, &known).map(Checked::Known);
        }
        let verified = verify::verify(token, tenant, self.parts.issuers.as_ref(), attempt.now)?;
        let kind = kind_for(tenant.replay)?;
        Ok(Checked::New(Box::new(Unbound {
            attempt,
            kind,
            verified,
        })))
    }

    /// What this replica remembers of such a use, if the key that verified the token is still the
    /// issuer's: a key that was withdrawn or replaced takes its tokens with it.
    fn known(&self, attempt: &Attempt<'_>) -> Option<Arc<KnownUse>> {
        let known = self.cache.get(&attempt.place)?;
        let key = self
            .parts
            .issuers
            .find(attempt.tenant.id, known.token.issuer(), &known.kid)
            .ok()
            .filter(|key| Arc::ptr_eq(key, &known.key));
        if key.is_none() {
            self.cache.remove(&attempt.place);
            return None;
        }
        Some(known)
    }

    /// A use like one before. Memory is as good as the database for it, since bindings never change;
    /// and where one use is all, it is refused.
    fn accept_again(
        &self,
        attempt: &Attempt<'_>,
        known: &KnownUse,
    ) -> Result<Arc<VerifiedToken>, TokenError> {
        if attempt.now - known.token.expires_at() > MAX_SKEW {
            self.cache.remove(&attempt.place);
            return Err(TokenError::Expired);
        }
        let asked = kind_for(attempt.tenant.replay)?;
        judge_again(asked, known.kind, known.compared)?;
        Ok(Arc::clone(&known.token))
    }

    /// A token that this replica has just verified: binds its id, or finds out how this use compares
    /// with the first. Of several uses at once, one asks and the others are uses like it. A first use
    /// writes a row, so whoever may not call should not come as far as this.
    ///
    /// # Errors
    /// [`TokenError::Replayed`] and [`TokenError::Spent`] for a token that was used before in another
    /// way; [`TokenError::Unavailable`] if the database could not say whether it was used.
    pub async fn bind(&self, unbound: Unbound<'_>) -> Result<Arc<VerifiedToken>, TokenError> {
        let Unbound {
            attempt,
            kind,
            verified,
        } = unbound;
        let mut asked = false;
        let learn = async {
            let known = self.learn(&attempt, kind, verified).await?;
            asked = true;
            Ok(Arc::new(known))
        };
        let waited = tokio::time::timeout(
            self.parts.binding_timeout,
            self.cache.get_or_learn(&attempt.place, learn),
        )
        .await;
        let known = match waited {
            Ok(answer) => answer.map_err(TokenError::Unavailable)?,
            Err(_elapsed) => return Err(TokenError::Unavailable(BindingStoreError::Timeout)),
        };
        if !asked {
            return self.accept_again(&attempt, &known);
        }
        judge(kind, known.compared)?;
        Ok(Arc::clone(&known.token))
    }

    async fn learn(
        &self,
        attempt: &Attempt<'_>,
        kind: BindingKind,
        verified: Verified,
    ) -> Result<KnownUse, BindingStoreError> {
        let Verified { claims, kid, key } = verified;
        let tenant = attempt.tenant.id;
        let binding = Binding {
            tenant,
            issuer: claims.issuer.clone(),
            token_id: claims.token_id.clone(),
            hash: binding_hash(&self.parts.keys, tenant, &claims, &attempt.network),
            kind,
            used_at: attempt.now,
            keep_until: keep_until(claims.expires_at, attempt.now),
        };
        let compared = self.parts.bindings.bind(binding).await?;
        let auth = match kind {
            BindingKind::Network => AuthStrength::Bearer,
            BindingKind::OneTime => AuthStrength::OneTime,
        };
        let token = Arc::new(VerifiedToken {
            tenant,
            claims,
            auth,
        });
        Ok(KnownUse {
            token,
            kid,
            key,
            kind,
            compared,
        })
    }
}
