//! Access tokens made with the platform's own issuer key: what a test needs to see an expired or a
//! lying token refused for that reason, and not for its signature.

use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

/// The issuer's key, taken from the key file of a data directory.
#[derive(Debug)]
pub struct Forger {
    kid: String,
    key: SigningKey,
}

impl Forger {
    /// Reads the key.
    ///
    /// # Errors
    /// The key file is not there or not in its form.
    pub fn of(data: &Path) -> Result<Self> {
        let text = std::fs::read(data.join("keys.json")).context("read the key file")?;
        let file: Value = serde_json::from_slice(&text).context("read the key file")?;
        let at = |name: &str| {
            file.pointer(&format!("/issuer/0/{name}"))
                .and_then(Value::as_str)
                .with_context(|| format!("the key file has no issuer {name}"))
        };
        let seed: [u8; 32] = URL_SAFE_NO_PAD
            .decode(at("seed")?)?
            .try_into()
            .ok()
            .context("the issuer's seed has not 32 bytes")?;
        Ok(Self {
            kid: at("kid")?.to_owned(),
            key: SigningKey::from_bytes(&seed),
        })
    }

    /// The key's id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// A token with these claims, properly signed.
    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": self.kid});
        self.sign_with(&header, claims)
    }

    /// A token with this header and these claims, signed.
    pub fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(header), part(claims));
        let signature = self.key.sign(input.as_bytes()).to_bytes();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A client's own key, as it is registered.
#[derive(Debug)]
pub struct ClientKey(Forger);

impl ClientKey {
    /// The key of a seed.
    pub fn of(seed: [u8; 32]) -> Self {
        Self(Forger {
            kid: "e2e".to_owned(),
            key: SigningKey::from_bytes(&seed),
        })
    }

    /// Its public half as a JWK.
    pub fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.0.key.verifying_key().as_bytes());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": self.0.kid, "x": x})
    }

    /// An assertion with these claims (RFC 7523 §3).
    pub fn assertion(&self, claims: &Value) -> String {
        let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": self.0.kid});
        self.0.sign_with(&header, claims)
    }
}

/// The claims of a token.
///
/// # Errors
/// It is no token.
pub fn claims(token: &str) -> Result<Value> {
    part(token, 1)
}

/// The header of a token.
///
/// # Errors
/// It is no token.
pub fn header(token: &str) -> Result<Value> {
    part(token, 0)
}

fn part(token: &str, index: usize) -> Result<Value> {
    let part = token.split('.').nth(index).context("find a token's part")?;
    let bytes = URL_SAFE_NO_PAD.decode(part).context("decode a token")?;
    serde_json::from_slice(&bytes).context("read a token's part")
}
