//! A token id is bound at its first use, and the database remembers to what.
//!
//! The binding is one row a (tenant, issuer, token id), written once and never changed. Whether a
//! later use fits is decided here, from that row alone: the same on every replica.

use std::error::Error;
use std::fmt;

use futures_util::future::BoxFuture;
use portcullis_domain::ReplayMode;
use portcullis_domain::id::{Id, Tenant};
use portcullis_keys::LocalKeys;
use subtle::ConstantTimeEq;
use time::{Duration, OffsetDateTime};

use super::claims::{Claims, MAX_SKEW};
use super::error::TokenError;
use super::network::ClientNetwork;

/// The least time that a binding is kept.
const MIN_KEPT: Duration = Duration::minutes(15);

/// How a token id was bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingKind {
    /// To the client's network: later uses from there are accepted.
    Network,
    /// Spent: no later use is accepted.
    OneTime,
}

impl BindingKind {
    /// The name used in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::OneTime => "one-time",
        }
    }
}

/// A request to bind a token id.
#[derive(Clone, PartialEq, Eq)]
pub struct Binding {
    /// The tenant.
    pub tenant: Id<Tenant>,
    /// The token's issuer.
    pub issuer: String,
    /// The token's id, `jti`.
    pub token_id: String,
    /// What to bind it to.
    pub bound: Bound,
    /// How long the binding has to be kept.
    pub keep_until: OffsetDateTime,
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("tenant", &self.tenant)
            .field("bound", &self.bound)
            .field("keep_until", &self.keep_until)
            .finish_non_exhaustive()
    }
}

/// What a token id is bound to. It never changes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// How it is bound.
    pub kind: BindingKind,
    /// To what: a keyed hash.
    pub hash: [u8; 32],
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// What the database says of a token id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It was not bound and is now, as asked.
    First,
    /// It was bound before.
    Later(Bound),
}

/// A binding that could be neither written nor read.
#[derive(Debug, thiserror::Error)]
pub enum BindingStoreError {
    /// The store did not answer in time.
    #[error("bind a token id: the store did not answer in time")]
    Timeout,
    /// The store failed.
    #[error("bind a token id")]
    Store(#[source] Box<dyn Error + Send + Sync>),
    /// The store's row is none that was written here.
    #[error("bind a token id: the row is none that this version writes")]
    UnknownRow,
}

/// Where bindings are kept: one place for all replicas.
pub trait BindingStore: Send + Sync + fmt::Debug {
    /// Binds a token id unless it is bound, in one atomic step. Of any number of concurrent
    /// requests for one (tenant, issuer, token id), exactly one is [`Use::First`].
    fn bind(&self, binding: Binding) -> BoxFuture<'_, Result<Use, BindingStoreError>>;
}

/// The hash that a use of a token is known by: of the client's network, and of the token's id too,
/// so that rows of one network do not show as such.
pub(super) fn binding_hash(
    keys: &LocalKeys,
    tenant: Id<Tenant>,
    claims: &Claims,
    network: &ClientNetwork,
) -> [u8; 32] {
    let mut data = tenant.as_uuid().as_bytes().to_vec();
    for text in [&claims.issuer, &claims.token_id] {
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        data.extend(length.to_be_bytes());
        data.extend(text.as_bytes());
    }
    data.extend(network.octets());
    keys.keyed_hash("token-binding", &data)
}

/// How long a binding has to be kept, given a token's end.
pub(super) fn keep_until(expires_at: OffsetDateTime, now: OffsetDateTime) -> OffsetDateTime {
    // A replica whose clock is behind accepts the token a little longer than we do.
    expires_at
        .saturating_add(MAX_SKEW)
        .saturating_add(MAX_SKEW)
        .max(now.saturating_add(MIN_KEPT))
}

/// The kind of binding that a plain bearer token gets.
pub(super) const fn kind_for(mode: ReplayMode) -> Result<BindingKind, TokenError> {
    match mode {
        ReplayMode::Network => Ok(BindingKind::Network),
        ReplayMode::OneTime => Ok(BindingKind::OneTime),
        ReplayMode::SenderConstrained => Err(TokenError::BearerRefused),
    }
}

/// Whether a later use is accepted, given what the token id is bound to. A spent token stays spent
/// when the tenant goes back to binding by network.
pub(super) fn judge(asked: &Bound, bound: &Bound) -> Result<(), TokenError> {
    match (asked.kind, bound.kind) {
        (BindingKind::Network, BindingKind::Network) => {
            if bool::from(asked.hash.ct_eq(&bound.hash)) {
                Ok(())
            } else {
                Err(TokenError::Replayed)
            }
        }
        (BindingKind::OneTime, BindingKind::Network | BindingKind::OneTime)
        | (BindingKind::Network, BindingKind::OneTime) => Err(TokenError::Spent),
    }
}
