//! Room 1's proof: who holds this token, and may it be used from here?
//!
//! [`TokenVerifier`] is the only way to a [`VerifiedToken`]. [`TokenVerifier::check`] reads the
//! `Authorization` header alone and verifies the token (form, key, signature, claims);
//! [`TokenVerifier::bind`] binds its id to the client's network in the database at its first use. A
//! later use on the same replica is answered from memory; a token that is good for one use never is.
//!
//! This never decides what the holder may do, and never logs or returns any part of a token. When
//! the database cannot say whether a token was used before, the token is refused.
//!
//! What plain bearer tokens leave open: whoever steals a token can use it from the network that used
//! it first until it expires, ten minutes at most.

mod assertion;
mod cache;
mod claims;
mod error;
mod jws;
mod key;
mod members;
mod network;
mod presented;
mod replay;
mod stored;
mod verifier;
mod verify;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use assertion::{Assertion, AssertionUse, MAX_ASSERTION_AHEAD};
pub use claims::{MAX_LIFETIME, MAX_SKEW};
pub use error::{TokenError, TokenPart};
pub use jws::MAX_TOKEN_BYTES;
pub use key::{
    Algorithm, IssuerKeys, KeyError, PlatformIssuer, RsaScheme, UnknownKey, VerificationKey,
};
pub use network::{NetworkPrefix, NetworkPrefixError, TrustedProxies};
pub use portcullis_domain::ReplayMode;
pub use presented::Presented;
pub use replay::{Binding, BindingKind, BindingStore, BindingStoreError, Use};
pub use verifier::{Checked, TenantKey, TokenVerifier, Unbound, VerifiedToken, VerifierParts};
