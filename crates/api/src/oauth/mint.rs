//! The making of a token: claims, signed by the issuer's active key (RFC 9068).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use portcullis_domain::Scope;
use portcullis_keys::{EntropyError, KeysError, LocalKeys, entropy};
use portcullis_mcp_runtime::token::MAX_TOKEN_BYTES;
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::directory::Client;
use super::grant::Granted;

/// A token could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum MintError {
    /// There is no key to sign with.
    #[error("sign a token")]
    Key(#[from] KeysError),
    /// There are no random bytes for a token id.
    #[error("make a token id")]
    Entropy(#[from] EntropyError),
    /// The library could not sign.
    #[error("sign a token")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    client_id: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<&'a str>,
}

/// Who issues a token, for which resource, from when on and for how long.
pub(super) struct Terms<'a> {
    pub(super) issuer: &'a str,
    pub(super) resource: &'a str,
    pub(super) now: OffsetDateTime,
    pub(super) lifetime: Duration,
}

/// Makes a token; none if it would be longer than any that is read.
pub(super) fn token(
    keys: &LocalKeys,
    terms: &Terms<'_>,
    client: &Client,
    granted: &Granted,
) -> Result<Option<String>, MintError> {
    let issued_at = terms.now.unix_timestamp();
    let claims = Claims {
        iss: terms.issuer,
        sub: client.name.as_str(),
        aud: terms.resource,
        client_id: client.principal.to_string(),
        iat: issued_at,
        nbf: issued_at,
        exp: issued_at.saturating_add(terms.lifetime.whole_seconds()),
        jti: URL_SAFE_NO_PAD.encode(entropy::random::<16>()?),
        scope: Scope::join(&granted.scopes),
        purpose: granted.purpose.as_deref(),
    };
    let key = keys.issuer_active(terms.now)?;
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some("at+jwt".to_owned());
    header.kid = Some(key.kid().to_owned());
    let signer = EncodingKey::from_ed_der(key.pkcs8());
    let token = jsonwebtoken::encode(&header, &claims, &signer)?;
    Ok((token.len() <= MAX_TOKEN_BYTES).then_some(token))
}
