//! A token's own truth: form, key, signature, then claims, in this order.
//!
//! Before the signature is checked, the payload is used for one thing: to find the issuer whose key
//! to check it with. This never looks at who sent the token or whether it was sent before.

use std::sync::Arc;

use time::OffsetDateTime;

use super::TenantKey;
use super::claims::{self, Claims};
use super::error::{TokenError, TokenPart};
use super::jws::{self, Jws};
use super::key::{IssuerKeys, UnknownKey, VerificationKey};

/// A verified token's claims, with the key that verified it.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) claims: Claims,
    pub(super) kid: String,
    pub(super) key: Arc<VerificationKey>,
}

/// Verifies a token for a tenant's resource.
pub(super) fn verify(
    token: &str,
    tenant: &TenantKey,
    keys: &dyn IssuerKeys,
    now: OffsetDateTime,
) -> Result<Verified, TokenError> {
    let jws = Jws::parse(token)?;
    let payload = jws::members(&jws.payload, TokenPart::Claims)?;
    let issuer = claims::issuer(&payload)?;
    let key = keys
        .find(tenant.id, &issuer, &jws.kid)
        .map_err(|unknown| match unknown {
            UnknownKey::Issuer => TokenError::UnknownIssuer,
            UnknownKey::KeyId => TokenError::UnknownKey,
        })?;
    if jws.algorithm != key.algorithm() {
        return Err(TokenError::AlgorithmOfAnotherKey);
    }
    if !key.verifies(jws.signing_input.as_bytes(), jws.signature) {
        return Err(TokenError::Signature);
    }
    let claims = Claims::read(&payload, &tenant.audience, now)?;
    Ok(Verified {
        claims,
        kid: jws.kid,
        key,
    })
}
