//! Tokens that this replica verified, with what their ids are bound to, so that a later use needs no
//! database.
//!
//! An entry is found only by the whole token together with the tenant and the resource that it was
//! verified for. It never says that a token is accepted: whoever gets it holds time, key and binding
//! against the request again. Bounded; a full cache costs time, never safety.

use std::future::Future;
use std::sync::Arc;

use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::key::VerificationKey;
use super::replay::Bound;
use super::verifier::{TenantKey, VerifiedToken};

/// A token's place in the cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place([u8; 32]);

impl Place {
    /// Of a raw token at a tenant's resource. The resource's length comes first, so that no other
    /// pair of resource and token has the same bytes.
    pub(super) fn of(token: &str, tenant: &TenantKey) -> Self {
        let length = u64::try_from(tenant.audience.len()).unwrap_or(u64::MAX);
        let digest = Sha256::new()
            .chain_update(tenant.id.as_uuid().as_bytes())
            .chain_update(length.to_be_bytes())
            .chain_update(tenant.audience.as_bytes())
            .chain_update(token.as_bytes())
            .finalize();
        Self(digest.into())
    }
}

/// A token that was verified and whose binding is known.
#[derive(Debug)]
pub(super) struct KnownToken {
    pub(super) token: Arc<VerifiedToken>,
    pub(super) kid: String,
    pub(super) key: Arc<VerificationKey>,
    pub(super) bound: Bound,
}

/// The bounded cache.
pub(super) struct TokenCache(Cache<Place, Arc<KnownToken>>);

impl TokenCache {
    pub(super) fn new(entries: usize) -> Self {
        Self(Cache::new(entries))
    }

    pub(super) fn get(&self, place: &Place) -> Option<Arc<KnownToken>> {
        self.0.get(place)
    }

    pub(super) fn remove(&self, place: &Place) {
        self.0.remove(place);
    }

    /// What is there, or else what `learn` finds out. Of several that ask for one place at once, one
    /// learns and the others wait for it; when it fails, the next one tries.
    pub(super) async fn get_or_learn<E>(
        &self,
        place: &Place,
        learn: impl Future<Output = Result<Arc<KnownToken>, E>>,
    ) -> Result<Arc<KnownToken>, E> {
        self.0.get_or_insert_async(place, learn).await
    }
}

impl std::fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCache")
            .field("entries", &self.0.len())
            .finish_non_exhaustive()
    }
}
