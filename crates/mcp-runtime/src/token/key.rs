//! Keys that verify tokens, chosen by issuer and key id.
//!
//! A key knows its one algorithm. The token's `alg` is only compared with it, never obeyed, so
//! neither `none`, nor an HMAC over a public key, nor a second RSA scheme can be talked into a key.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use jsonwebtoken::DecodingKey;
use portcullis_domain::Clock;
use portcullis_domain::id::{Id, Tenant};
use portcullis_keys::LocalKeys;

/// The signature algorithms that are accepted (RFC 7518 §3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSA PKCS #1 v1.5 with SHA-256.
    Rs256,
    /// RSA PSS with SHA-256.
    Ps256,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 4] = [Self::EdDsa, Self::Es256, Self::Rs256, Self::Ps256];

    /// The name in a token's header. Case matters (RFC 7515 §4.1.1).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    /// The algorithm that a header names, if it is one of ours.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
    }

    const fn jwa(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Ps256 => jsonwebtoken::Algorithm::PS256,
        }
    }
}

/// Which of the two paddings an RSA key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RsaScheme {
    /// PKCS #1 v1.5, `RS256`.
    Pkcs1,
    /// PSS, `PS256`.
    Pss,
}

/// A public key with the one algorithm that it is for.
pub struct VerificationKey {
    algorithm: Algorithm,
    key: DecodingKey,
}

/// A public key that is too weak or malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The modulus is too short or too long.
    #[error("an RSA key has a modulus of 2,048 to 8,192 bits")]
    RsaModulus,
    /// The exponent is weak.
    #[error("an RSA key has an odd public exponent from 65,537 to 2^64")]
    RsaExponent,
}

impl VerificationKey {
    /// An Ed25519 key. A point that is not on the curve verifies nothing.
    pub fn ed25519(public: &[u8; 32]) -> Self {
        Self {
            algorithm: Algorithm::EdDsa,
            key: DecodingKey::from_ed_der(public),
        }
    }

    /// A P-256 key from its coordinates. A point that is not on the curve verifies nothing.
    pub fn es256(x: &[u8; 32], y: &[u8; 32]) -> Self {
        let uncompressed: Vec<u8> = std::iter::once(4)
            .chain(x.iter().copied())
            .chain(y.iter().copied())
            .collect();
        Self {
            algorithm: Algorithm::Es256,
            key: DecodingKey::from_ec_der(&uncompressed),
        }
    }

    /// An RSA key from its big-endian modulus and exponent.
    ///
    /// # Errors
    /// Refuses a modulus below 2,048 or above 8,192 bits and an exponent below 65,537 or even.
    pub fn rsa(scheme: RsaScheme, modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let modulus = without_leading_zeros(modulus);
        let exponent = without_leading_zeros(exponent);
        if !(2_048..=8_192).contains(&bits(modulus)) {
            return Err(KeyError::RsaModulus);
        }
        let value = exponent
            .iter()
            .fold(0_u128, |sum, byte| (sum << 8) | u128::from(*byte));
        if exponent.len() > 8 || value < 65_537 || value.is_multiple_of(2) {
            return Err(KeyError::RsaExponent);
        }
        let algorithm = match scheme {
            RsaScheme::Pkcs1 => Algorithm::Rs256,
            RsaScheme::Pss => Algorithm::Ps256,
        };
        Ok(Self {
            algorithm,
            key: DecodingKey::from_rsa_raw_components(modulus, exponent),
        })
    }

    /// The algorithm that the key is for.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` (base64url) is this key's over `message`, by this key's algorithm.
    pub(super) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        let verdict =
            jsonwebtoken::crypto::verify(signature, message, &self.key, self.algorithm.jwa());
        matches!(verdict, Ok(true))
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

fn without_leading_zeros(mut number: &[u8]) -> &[u8] {
    while let Some((0, rest)) = number.split_first() {
        number = rest;
    }
    number
}

/// The bit length of a number without leading zero bytes.
fn bits(number: &[u8]) -> usize {
    let bytes = number.len().saturating_mul(8);
    let spare = number.first().map_or(0, |byte| byte.leading_zeros());
    bytes.saturating_sub(usize::try_from(spare).unwrap_or(0))
}

/// Why there is no key for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownKey {
    /// The tenant does not trust this issuer.
    Issuer,
    /// The issuer has no key of this id.
    KeyId,
}

/// The issuers that tenants trust, and their keys.
pub trait IssuerKeys: Send + Sync + fmt::Debug {
    /// The key of (`issuer`, `kid`), if `tenant` trusts the issuer. Both texts come from an
    /// unverified token: they are compared and never used as a path, a URL or a query.
    ///
    /// # Errors
    /// Says whether the issuer or the key id is unknown.
    fn find(
        &self,
        tenant: Id<Tenant>,
        issuer: &str,
        kid: &str,
    ) -> Result<Arc<VerificationKey>, UnknownKey>;
}

/// The platform's own issuer, which every tenant trusts. A key verifies as long as it is published:
/// also before it signs and for a while after its successor began to.
#[derive(Debug)]
pub struct PlatformIssuer {
    issuer: String,
    local: Arc<LocalKeys>,
    clock: Arc<dyn Clock>,
    parsed: HashMap<String, Arc<VerificationKey>>,
}

impl PlatformIssuer {
    /// The issuer of the identifier `issuer`, the platform's public URL.
    pub fn new(issuer: impl Into<String>, local: Arc<LocalKeys>, clock: Arc<dyn Clock>) -> Self {
        let parsed = local
            .issuer_keys(clock.now())
            .map(|key| {
                let parsed = VerificationKey::ed25519(key.public());
                (key.kid().to_owned(), Arc::new(parsed))
            })
            .collect();
        Self {
            issuer: issuer.into(),
            local,
            clock,
            parsed,
        }
    }
}

impl IssuerKeys for PlatformIssuer {
    fn find(
        &self,
        _tenant: Id<Tenant>,
        issuer: &str,
        kid: &str,
    ) -> Result<Arc<VerificationKey>, UnknownKey> {
        if issuer != self.issuer {
            return Err(UnknownKey::Issuer);
        }
        let published = self
            .local
            .issuer_keys(self.clock.now())
            .any(|key| key.kid() == kid);
        self.parsed
            .get(kid)
            .filter(|_| published)
            .map(Arc::clone)
            .ok_or(UnknownKey::KeyId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weak_rsa_key_is_refused() {
        let modulus = |bytes: usize| {
            let mut number = vec![0xff; bytes];
            number.insert(0, 0);
            number
        };
        let e = [1, 0, 1];
        for scheme in [RsaScheme::Pkcs1, RsaScheme::Pss] {
            assert!(VerificationKey::rsa(scheme, &modulus(256), &e).is_ok());
            for bytes in [0, 64, 128, 255, 1025] {
                let error = VerificationKey::rsa(scheme, &modulus(bytes), &e).unwrap_err();
                assert_eq!(error, KeyError::RsaModulus, "{bytes}");
            }
            let mut short = modulus(256);
            short[1] = 0x7f;
            assert!(VerificationKey::rsa(scheme, &short, &e).is_err());
            for weak in [
                &[][..],
                &[0],
                &[1],
                &[3],
                &[0xff, 0xff],
                &[1, 0, 0],
                &[1; 9],
            ] {
                let error = VerificationKey::rsa(scheme, &modulus(256), weak).unwrap_err();
                assert_eq!(error, KeyError::RsaExponent, "{weak:?}");
            }
        }
    }

    #[test]
    fn algorithms_have_one_spelling() {
        for name in [
            "none", "None", "HS256", "HS384", "RS384", "ES384", "eddsa", "EDDSA", "es256", "",
            "RS1",
        ] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
        assert_eq!(Algorithm::named("EdDSA"), Some(Algorithm::EdDsa));
    }
}
