//! A client's assertion of who it is (RFC 7523 §3, `private_key_jwt`): read as strictly as an access
//! token, and never taken for one. Whether it was used before, the caller has to find out.

use time::{Duration, OffsetDateTime};

use super::claims::{self, MAX_SKEW};
use super::error::{TokenError, TokenPart};
use super::jws::{self, Jws};
use super::key::VerificationKey;

/// The furthest that an assertion's end may lie ahead.
pub const MAX_ASSERTION_AHEAD: Duration = Duration::seconds(300);

/// An assertion, unverified.
#[derive(Debug)]
pub struct Assertion<'a> {
    jws: Jws<'a>,
    client: String,
}

/// What a verified assertion says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssertionUse {
    /// Its id, which is good for one use.
    pub token_id: String,
    /// When it ends.
    pub expires_at: OffsetDateTime,
}

impl<'a> Assertion<'a> {
    /// Takes an assertion apart.
    ///
    /// # Errors
    /// It is no JWS of this kind, or does not name the client as both its issuer and its subject.
    pub fn parse(text: &'a str) -> Result<Self, TokenError> {
        let jws = Jws::of_type(text, is_assertion_type)?;
        let payload = jws::members(&jws.payload, TokenPart::Claims)?;
        let client = claims::issuer(&payload)?;
        match payload.get::<String>("sub") {
            Ok(Some(subject)) if subject == client => Ok(Self { jws, client }),
            Ok(None) => Err(TokenError::ClaimMissing { claim: "sub" }),
            Ok(Some(_)) | Err(_) => Err(TokenError::ClaimMalformed {
                claim: "sub",
                expected: "the client's id, as in `iss`",
            }),
        }
    }

    /// The client that it names. Nothing proves that yet.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// The key that it names.
    pub fn kid(&self) -> &str {
        &self.jws.kid
    }

    /// Holds the assertion against a key, the audiences that count, and the time.
    ///
    /// # Errors
    /// Another algorithm or key signed it, or a claim breaks its rule.
    pub fn verify(
        &self,
        key: &VerificationKey,
        audiences: [&str; 2],
        now: OffsetDateTime,
    ) -> Result<AssertionUse, TokenError> {
        if self.jws.algorithm != key.algorithm() {
            return Err(TokenError::AlgorithmOfAnotherKey);
        }
        if !key.verifies(self.jws.signing_input.as_bytes(), self.jws.signature) {
            return Err(TokenError::Signature);
        }
        let payload = jws::members(&self.jws.payload, TokenPart::Claims)?;
        let [first, second] = audiences;
        claims::check_audience(&payload, first)
            .or_else(|_other| claims::check_audience(&payload, second))?;
        let expires_at = claims::instant(&payload, "exp")?;
        if expires_at <= now {
            return Err(TokenError::Expired);
        }
        if expires_at - now > MAX_ASSERTION_AHEAD + MAX_SKEW {
            return Err(TokenError::Lifetime);
        }
        for (claim, early) in [
            ("nbf", TokenError::NotYetValid),
            ("iat", TokenError::IssuedInFuture),
        ] {
            if payload.has(claim) && claims::instant(&payload, claim)? - now > MAX_SKEW {
                return Err(early);
            }
        }
        let token_id =
            claims::required_text(&payload, "jti", "a string of 1 to 128 characters", 128)?;
        Ok(AssertionUse {
            token_id,
            expires_at,
        })
    }
}

/// None, `JWT`, or the type of its own (draft-ietf-oauth-rfc7523bis §4). An access token is refused.
fn is_assertion_type(typ: Option<&str>) -> bool {
    typ.is_none_or(|typ| {
        jws::media_type_is(typ, "jwt") || jws::media_type_is(typ, "client-authentication+jwt")
    })
}
