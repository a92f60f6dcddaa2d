//! A client's public key as a JWK (RFC 7517): what is taken at its registration, and what assertions are
//! verified with. A private key is refused, never read.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_mcp_runtime::token::{Algorithm, KeyError, RsaScheme, VerificationKey};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// The longest key id, in bytes.
const MAX_KID_BYTES: usize = 128;

/// Members that a public key may have beside those of its kind (RFC 7517 §4).
const COMMON: [&str; 5] = ["kty", "kid", "alg", "use", "key_ops"];

/// Members of private and symmetric keys (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A public key that can be registered.
#[derive(Debug)]
pub struct ClientPublicKey {
    /// What assertions name it by.
    pub kid: String,
    /// It, with its name and its algorithm and nothing else.
    pub jwk: Value,
    /// What verifies with it.
    pub key: VerificationKey,
}

/// A JWK that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// It is no object.
    #[error("is an object, a JWK (RFC 7517 §4)")]
    NotAnObject,
    /// It is a private or symmetric key.
    #[error(
        "is a public key, but has the member `{0}` of a private one: keep that one to yourself"
    )]
    Private(&'static str),
    /// It has a member that is none of its kind's.
    #[error("has no member `{0}`")]
    Unknown(String),
    /// A member is absent or malformed.
    #[error("has a member `{name}` that is {rule}")]
    Member {
        /// Which one.
        name: &'static str,
        /// What it has to be.
        rule: &'static str,
    },
    /// An RSA key is too weak.
    #[error(transparent)]
    Weak(#[from] KeyError),
}

impl ClientPublicKey {
    /// Reads a JWK.
    ///
    /// # Errors
    /// It is none, is a private key, or is of a kind that is not taken.
    pub fn parse(jwk: &Value) -> Result<Self, JwkError> {
        let members = jwk.as_object().ok_or(JwkError::NotAnObject)?;
        if let Some(name) = PRIVATE.into_iter().find(|name| members.contains_key(*name)) {
            return Err(JwkError::Private(name));
        }
        if text(members, "use")?.is_some_and(|usage| usage != "sig") {
            return Err(JwkError::Member {
                name: "use",
                rule: "`sig`, where it has one",
            });
        }
        let (key, required) = match text(members, "kty")? {
            Some("OKP") => ed25519(members)?,
            Some("EC") => es256(members)?,
            Some("RSA") => rsa(members)?,
            Some(_) | None => {
                return Err(JwkError::Member {
                    name: "kty",
                    rule: "`OKP` (Ed25519), `EC` (P-256) or `RSA`",
                });
            }
        };
        let algorithm = key.algorithm().as_str();
        if text(members, "alg")?.is_some_and(|alg| alg != algorithm) {
            return Err(JwkError::Member {
                name: "alg",
                rule: "the algorithm of its kind: EdDSA, ES256, RS256 or PS256",
            });
        }
        let known = |name: &str| COMMON.contains(&name) || required.get(name).is_some();
        if let Some(other) = members.keys().find(|name| !known(name)) {
            return Err(JwkError::Unknown(other.clone()));
        }
        let kid = kid(members, &required)?;
        let mut jwk = required;
        if let Some(jwk) = jwk.as_object_mut() {
            jwk.insert("alg".to_owned(), Value::from(algorithm));
            jwk.insert("kid".to_owned(), Value::from(kid.as_str()));
        }
        Ok(Self { kid, jwk, key })
    }
}

/// What assertions name the key by: what it says, or its thumbprint (RFC 7638 §3).
fn kid(members: &Map<String, Value>, required: &Value) -> Result<String, JwkError> {
    if members.contains_key("kid") {
        let named = text(members, "kid")?
            .filter(|kid| !kid.is_empty() && kid.len() <= MAX_KID_BYTES)
            .filter(|kid| kid.bytes().all(|byte| byte.is_ascii_graphic()));
        return named.map(str::to_owned).ok_or(JwkError::Member {
            name: "kid",
            rule: "1 to 128 printable ASCII characters without spaces",
        });
    }
    // The required members alone, in the order of their names, which is how this map keeps them.
    let text = required.to_string();
    Ok(URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes())))
}

fn text<'a>(
    members: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a str>, JwkError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(JwkError::Member {
            name,
            rule: "a string",
        }),
    }
}

/// Base64url without padding, of any length.
fn bytes<'a>(
    members: &'a Map<String, Value>,
    name: &'static str,
) -> Result<(&'a str, Vec<u8>), JwkError> {
    text(members, name)?
        .and_then(|text| Some((text, URL_SAFE_NO_PAD.decode(text).ok()?)))
        .filter(|(_, bytes)| !bytes.is_empty())
        .ok_or(JwkError::Member {
            name,
            rule: "there, in base64url without padding",
        })
}

fn coordinate<'a>(
    members: &'a Map<String, Value>,
    name: &'static str,
) -> Result<(&'a str, [u8; 32]), JwkError> {
    let (text, bytes) = bytes(members, name)?;
    match <[u8; 32]>::try_from(bytes) {
        Ok(bytes) => Ok((text, bytes)),
        Err(_) => Err(JwkError::Member {
            name,
            rule: "32 bytes in base64url without padding",
        }),
    }
}

fn curve(members: &Map<String, Value>, wanted: &str, rule: &'static str) -> Result<(), JwkError> {
    if text(members, "crv")? == Some(wanted) {
        return Ok(());
    }
    Err(JwkError::Member { name: "crv", rule })
}

fn ed25519(members: &Map<String, Value>) -> Result<(VerificationKey, Value), JwkError> {
    curve(members, "Ed25519", "`Ed25519` for the kind `OKP`")?;
    let (text, x) = coordinate(members, "x")?;
    let required = json!({"crv": "Ed25519", "kty": "OKP", "x": text});
    Ok((VerificationKey::ed25519(&x), required))
}

fn es256(members: &Map<String, Value>) -> Result<(VerificationKey, Value), JwkError> {
    curve(members, "P-256", "`P-256` for the kind `EC`")?;
    let ((x_text, x), (y_text, y)) = (coordinate(members, "x")?, coordinate(members, "y")?);
    let required = json!({"crv": "P-256", "kty": "EC", "x": x_text, "y": y_text});
    Ok((VerificationKey::es256(&x, &y), required))
}

fn rsa(members: &Map<String, Value>) -> Result<(VerificationKey, Value), JwkError> {
    // An RSA key is for one padding alone, and nothing but this member says for which.
    let scheme = match text(members, "alg")? {
        Some(alg) if alg == Algorithm::Ps256.as_str() => RsaScheme::Pss,
        Some(alg) if alg == Algorithm::Rs256.as_str() => RsaScheme::Pkcs1,
        Some(_) | None => {
            return Err(JwkError::Member {
                name: "alg",
                rule: "`PS256` or `RS256` for the kind `RSA`",
            });
        }
    };
    let ((n_text, n), (e_text, e)) = (bytes(members, "n")?, bytes(members, "e")?);
    let required = json!({"e": e_text, "kty": "RSA", "n": n_text});
    Ok((VerificationKey::rsa(scheme, &n, &e)?, required))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037 Appendix A.2, A.3.
    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    #[test]
    fn a_key_without_a_name_is_named_by_its_thumbprint() {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": X, "use": "sig"});
        let key = ClientPublicKey::parse(&jwk).unwrap();
        assert_eq!(key.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(key.key.algorithm(), Algorithm::EdDsa);
        let stored = ClientPublicKey::parse(&key.jwk).unwrap();
        assert_eq!((stored.kid, stored.jwk), (key.kid, key.jwk));
    }

    #[test]
    fn what_is_no_public_key_of_ours_is_refused() {
        let with = |name: &str, value: Value| {
            let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": X});
            jwk[name] = value;
            jwk
        };
        for bad in [
            json!("text"),
            json!([]),
            json!({}),
            with("kty", json!("oct")),
            with("kty", json!(1)),
            with("crv", json!("X25519")),
            with("crv", json!("Ed448")),
            with("x", json!("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHUQ")),
            with("x", json!(format!("{X}="))),
            with("x", Value::Null),
            with("d", json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")),
            with("k", json!("AAAA")),
            with("alg", json!("HS256")),
            with("alg", json!("none")),
            with("alg", json!("ES256")),
            with("use", json!("enc")),
            with("kid", json!("")),
            with("kid", json!("a b")),
            with("kid", json!("x".repeat(129))),
            with("kid", json!(7)),
            with("x5u", json!("https://example.com")),
            with("y", json!(X)),
            json!({"kty": "EC", "crv": "P-384", "x": X, "y": X}),
            json!({"kty": "EC", "crv": "P-256", "x": X}),
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "PS256"}),
        ] {
            ClientPublicKey::parse(&bad).expect_err(&bad.to_string());
        }
    }
}
