//! `Idempotency-Key` on posts: a repeat answers what the first one answered, and does nothing.
//!
//! The key belongs to the service token that sends it. It is claimed in the transaction of the
//! change, so a request that failed has claimed nothing, and of two at once the second waits for the
//! first. The answer is stored sealed with a key that only the token itself gives: the database,
//! which holds only the token's hash, cannot read a secret out of it.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, ETAG, LOCATION};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use portcullis_domain::id::Id;
use portcullis_keys::{Aad, DataKey, EnvelopeError};
use portcullis_store::Within;
use portcullis_store::replies::{self, Claimed};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::caller::Caller;
use super::error::ApiError;
use super::etag::ETag;
use super::state::State;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const MAX_KEY: usize = 200;

/// The key of a post, if it has one, and what it was sent to.
#[derive(Debug)]
pub struct Post {
    key: Option<String>,
    target: String,
}

impl<S: Sync> FromRequestParts<S> for Post {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let mut sent = parts.headers.get_all(KEY).iter();
        let key = match (sent.next(), sent.next()) {
            (None, _) => None,
            (Some(value), None) => Some(parse(value)?),
            (Some(_), Some(_)) => return Err(malformed()),
        };
        Ok(Self {
            key,
            target: format!("{} {}", parts.method, parts.uri.path()),
        })
    }
}

/// A quoted string of visible ASCII (RFC 9651 §3.3.3), or the same without quotes, as many send it.
fn parse(value: &HeaderValue) -> Result<String, ApiError> {
    let text = value.to_str().map_err(|_not_text| malformed())?.trim();
    let quoted = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let key = quoted.unwrap_or(text);
    let plain = |b: u8| b.is_ascii_graphic() && !b"\"\\,;".contains(&b);
    if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(plain) {
        return Err(malformed());
    }
    Ok(key.to_owned())
}

fn malformed() -> ApiError {
    ApiError::Malformed(format!(
        "`Idempotency-Key` must come once, 1 to {MAX_KEY} visible ASCII characters without \
         quotes, backslashes, commas and semicolons within"
    ))
}

/// What a post that created something answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    status: u16,
    etag: Option<String>,
    location: Option<String>,
    body: String,
}

impl Answer {
    /// 201 with the thing, its version and its place.
    ///
    /// # Errors
    /// The thing cannot be written as JSON.
    pub fn created<T: Serialize>(
        thing: &T,
        etag: Option<&ETag>,
        location: Option<String>,
    ) -> Result<Self, ApiError> {
        Self::new(StatusCode::CREATED, thing, etag, location)
    }

    /// 202 with the thing: what was asked for is not all done yet.
    ///
    /// # Errors
    /// The thing cannot be written as JSON.
    pub fn accepted<T: Serialize>(thing: &T) -> Result<Self, ApiError> {
        Self::new(StatusCode::ACCEPTED, thing, None, None)
    }

    /// 200 with the thing and its version.
    ///
    /// # Errors
    /// The thing cannot be written as JSON.
    pub fn done<T: Serialize>(thing: &T, etag: Option<&ETag>) -> Result<Self, ApiError> {
        Self::new(StatusCode::OK, thing, etag, None)
    }

    fn new<T: Serialize>(
        status: StatusCode,
        thing: &T,
        etag: Option<&ETag>,
        location: Option<String>,
    ) -> Result<Self, ApiError> {
        Ok(Self {
            status: status.as_u16(),
            etag: etag.map(ToString::to_string),
            location,
            body: serde_json::to_string(thing).map_err(|error| ApiError::internal(&error))?,
        })
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut response = (status, self.body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in [(ETAG, self.etag), (LOCATION, self.location)] {
            let value = value.and_then(|text| HeaderValue::from_str(&text).ok());
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// What is known of a post before it is done.
#[derive(Debug)]
pub enum Attempt<'a> {
    /// It was done before: this is the answer.
    Answered(Response),
    /// It is to be done.
    Open(Open<'a>),
}

/// A post to be done, whose answer will be kept if it has a key.
#[derive(Debug)]
pub struct Open<'a> {
    caller: &'a Caller,
    key: Option<String>,
}

impl Post {
    /// Claims the key in the transaction of the change.
    ///
    /// # Errors
    /// The key came with another request before; or the database fails.
    pub async fn claim<'a>(
        self,
        within: impl Into<Within<'_>>,
        caller: &'a Caller,
        digest: [u8; 32],
        state: &State,
    ) -> Result<Attempt<'a>, ApiError> {
        let Some(key) = self.key else {
            return Ok(Attempt::Open(Open { caller, key: None }));
        };
        let fingerprint: [u8; 32] = Sha256::new()
            .chain_update(self.target.as_bytes())
            .chain_update([0])
            .chain_update(digest)
            .finalize()
            .into();
        let claim = replies::Claim {
            token: caller.id(),
            key: &key,
            fingerprint,
        };
        match replies::claim(within.into(), claim, state.now()).await? {
            Claimed::Fresh => Ok(Attempt::Open(Open {
                caller,
                key: Some(key),
            })),
            Claimed::Answered { sealed } => {
                let mut response = unseal(caller, &key, &sealed)?.into_response();
                let yes = HeaderValue::from_static("true");
                response.headers_mut().insert(REPLAYED, yes);
                Ok(Attempt::Answered(response))
            }
            Claimed::OtherRequest => Err(ApiError::IdempotencyKeyReused),
        }
    }
}

impl Open<'_> {
    /// Keeps the answer, in the transaction of the change.
    ///
    /// # Errors
    /// The database or the cryptographic library fails.
    pub async fn settle(
        self,
        within: impl Into<Within<'_>>,
        answer: &Answer,
    ) -> Result<(), ApiError> {
        let Some(key) = self.key else {
            return Ok(());
        };
        let sealed = seal(self.caller, &key, answer)?;
        replies::settle(within.into(), self.caller.id(), &key, &sealed).await?;
        Ok(())
    }
}

fn sealing_key(caller: &Caller, key: &str) -> Result<DataKey, EnvelopeError> {
    let info = [b"portcullis/management-reply/v1\0", key.as_bytes()].concat();
    DataKey::derive(caller.token().expose_secret().as_bytes(), &info)
}

/// Whose the sealed answer is: the platform's own tokens have no tenant and take the nil id.
fn aad<'a>(caller: &Caller, row: &'a [u8]) -> Aad<'a> {
    Aad {
        tenant: caller.tenant().unwrap_or(Id::from_row(Uuid::nil())),
        usage: "replies.sealed",
        row,
    }
}

fn row_of(caller: &Caller, key: &str) -> Vec<u8> {
    [caller.id().as_uuid().as_bytes(), key.as_bytes()].concat()
}

fn seal(caller: &Caller, key: &str, answer: &Answer) -> Result<Vec<u8>, ApiError> {
    let text = serde_json::to_vec(answer).map_err(|error| ApiError::internal(&error))?;
    let text = zeroize::Zeroizing::new(text);
    sealing_key(caller, key)
        .and_then(|sealing| sealing.encrypt(&aad(caller, &row_of(caller, key)), &text))
        .map_err(|error| ApiError::internal(&error))
}

fn unseal(caller: &Caller, key: &str, sealed: &[u8]) -> Result<Answer, ApiError> {
    let text = sealing_key(caller, key)
        .and_then(|sealing| sealing.decrypt(&aad(caller, &row_of(caller, key)), sealed))
        .map_err(|error| ApiError::internal(&error))?;
    serde_json::from_slice(&text).map_err(|error| ApiError::internal(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_with_or_without_quotes() {
        for text in ["\"a-1\"", "a-1", " a-1 "] {
            let value = HeaderValue::from_str(text).unwrap();
            assert_eq!(parse(&value).unwrap(), "a-1");
        }
    }

    #[test]
    fn keys_of_no_or_odd_characters_are_refused() {
        let long = "x".repeat(MAX_KEY + 1);
        for text in ["", "\"\"", "a b", "a\"b", "a\\b", "a;b=1", "a,b", &long] {
            let value = HeaderValue::from_str(text).unwrap();
            let error = parse(&value).unwrap_err();
            assert!(matches!(error, ApiError::Malformed(_)), "{text}");
        }
    }
}
