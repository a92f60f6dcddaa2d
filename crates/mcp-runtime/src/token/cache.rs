//! Uses of tokens that this replica verified, with what the database said of them, so that a later
//! use needs no database.
//!
//! An entry is found only by the whole token together with the tenant, the resource and the network
//! that it was verified for. It never says that a token is accepted: whoever gets it holds time, key
//! and binding against the request again. Bounded; a full cache costs time, never safety.

use std::future::Future;
use std::sync::Arc;

use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::key::VerificationKey;
use super::network::ClientNetwork;
use super::replay::{BindingKind, Use};
use super::verifier::{TenantKey, VerifiedToken};

/// A use's place in the cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place([u8; 32]);

impl Place {
    /// Of a raw token at a tenant's resource, from a network. What may be long has its length before
    /// it, so that no other four have the same bytes.
    pub(super) fn of(token: &str, tenant: &TenantKey, network: &ClientNetwork) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(tenant.id.as_uuid().as_bytes());
        for part in [tenant.audience.as_bytes(), &network.octets()] {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            hasher.update(length.to_be_bytes());
            hasher.update(part);
        }
        hasher.update(token.as_bytes());
        Self(hasher.finalize().into())
    }
}

/// A token that was verified, and how its use compared with its first.
#[derive(Debug)]
pub(super) struct KnownUse {
    pub(super) token: Arc<VerifiedToken>,
    pub(super) kid: String,
    pub(super) key: Arc<VerificationKey>,
    pub(super) kind: BindingKind,
    pub(super) compared: Use,
}

/// The bounded cache.
pub(super) struct TokenCache(Cache<Place, Arc<KnownUse>>);

impl TokenCache {
    pub(super) fn new(entries: usize) -> Self {
        Self(Cache::new(entries))
    }

    pub(super) fn get(&self, place: &Place) -> Option<Arc<KnownUse>> {
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
        learn: impl Future<Output = Result<Arc<KnownUse>, E>>,
    ) -> Result<Arc<KnownUse>, E> {
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
