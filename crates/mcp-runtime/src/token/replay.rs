//! A token id is bound at its first use, and the database remembers to what.
//!
//! The binding is one row a (tenant, issuer, token id), written once and never changed. So what a
//! use compared to is true for ever, and on every replica.

use std::error::Error;
use std::fmt;

use futures_util::future::BoxFuture;
use portcullis_domain::ReplayMode;
use portcullis_domain::id::{Id, Tenant};
use portcullis_keys::LocalKeys;
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
    /// A keyed hash of what to bind it to.
    pub hash: [u8; 32],
    /// How to bind it.
    pub kind: BindingKind,
    /// The time of the use.
    pub used_at: OffsetDateTime,
    /// How long the binding has to be kept.
    pub keep_until: OffsetDateTime,
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("tenant", &self.tenant)
            .field("kind", &self.kind)
            .field("keep_until", &self.keep_until)
            .finish_non_exhaustive()
    }
}

/// How a use of a token id compares with its first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It is the first: the id is bound now, as asked.
    First,
    /// The id was bound before, in the same way to the same thing.
    Same,
    /// The id was bound before, in another way or to something else.
    Different,
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

/// Whether a use is accepted that asked for a kind of binding and compared in this way. Where one
/// use is all, only the first is.
pub(super) const fn judge(asked: BindingKind, compared: Use) -> Result<(), TokenError> {
    match (asked, compared) {
        (_, Use::First) | (BindingKind::Network, Use::Same) => Ok(()),
        (BindingKind::Network, Use::Different) => Err(TokenError::Replayed),
        (BindingKind::OneTime, Use::Same | Use::Different) => Err(TokenError::Spent),
    }
}

/// Whether a use is accepted after one that asked for the kind `before` and compared in this way,
/// from the same network. A spent token stays spent when the tenant goes back to binding by network.
pub(super) const fn judge_again(
    asked: BindingKind,
    before: BindingKind,
    compared: Use,
) -> Result<(), TokenError> {
    match (asked, before, compared) {
        (BindingKind::Network, BindingKind::Network, Use::First | Use::Same) => Ok(()),
        (BindingKind::Network, BindingKind::Network, Use::Different) => Err(TokenError::Replayed),
        (BindingKind::OneTime, _, _) | (BindingKind::Network, BindingKind::OneTime, _) => {
            Err(TokenError::Spent)
        }
    }
}
