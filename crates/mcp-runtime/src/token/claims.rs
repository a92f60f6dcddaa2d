//! The claims of an access token, each of its one JSON type, each once, each within its bounds.
//!
//! Only [`super::verify`] and [`super::assertion`] call this, after the signature was checked.

use std::collections::BTreeSet;

use portcullis_domain::{PrincipalName, Scope};
use time::{Duration, OffsetDateTime};

use super::error::{TokenError, TokenPart};
use super::jws;
use super::members::{Members, WrongType};

/// The longest that a token may live.
pub const MAX_LIFETIME: Duration = Duration::seconds(600);

/// How far the issuer's clock may be from ours.
pub const MAX_SKEW: Duration = Duration::seconds(60);

/// How many actors may stand behind one another.
const MAX_ACTORS: usize = 8;

/// Claims that hold for a resource at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) issuer: String,
    pub(super) subject: PrincipalName,
    pub(super) token_id: String,
    pub(super) expires_at: OffsetDateTime,
    pub(super) scopes: BTreeSet<Scope>,
    pub(super) purpose: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) actors: Vec<String>,
}

impl Claims {
    /// Reads the claims of a verified payload and holds them against the resource and the time.
    pub(super) fn read(
        payload: &Members<'_>,
        audience: &str,
        now: OffsetDateTime,
    ) -> Result<Self, TokenError> {
        check_audience(payload, audience)?;
        let expires_at = check_times(payload, now)?;
        // A token that asks to be bound to something that nothing here can check is refused, also
        // when the binding is malformed.
        if payload.has("cnf") {
            return Err(TokenError::ProofImpossible);
        }
        Ok(Self {
            issuer: issuer(payload)?,
            subject: subject(payload)?,
            token_id: required_text(payload, "jti", "a string of 1 to 128 characters", 128)?,
            expires_at,
            scopes: scopes(payload)?,
            purpose: text(payload, "purpose", "a string of 1 to 200 characters", 200)?,
            client_id: text(payload, "client_id", "a string of 1 to 256 characters", 256)?,
            actors: actors(payload)?,
        })
    }
}

/// The issuer, which is needed before the signature can be checked.
pub(super) fn issuer(payload: &Members<'_>) -> Result<String, TokenError> {
    required_text(payload, "iss", "a string of 1 to 512 characters", 512)
}

/// A string claim of 1 to `max` characters, none of them a control character.
fn text(
    payload: &Members<'_>,
    claim: &'static str,
    expected: &'static str,
    max: usize,
) -> Result<Option<String>, TokenError> {
    let sound = |text: &String| {
        !text.is_empty() && text.chars().count() <= max && !text.chars().any(char::is_control)
    };
    match payload.get::<String>(claim) {
        Ok(None) => Ok(None),
        Ok(Some(text)) if sound(&text) => Ok(Some(text)),
        Ok(Some(_)) | Err(_) => Err(TokenError::ClaimMalformed { claim, expected }),
    }
}

pub(super) fn required_text(
    payload: &Members<'_>,
    claim: &'static str,
    expected: &'static str,
    max: usize,
) -> Result<String, TokenError> {
    text(payload, claim, expected, max)?.ok_or(TokenError::ClaimMissing { claim })
}

fn subject(payload: &Members<'_>) -> Result<PrincipalName, TokenError> {
    const EXPECTED: &str = "a principal's name such as agent:copilot";
    let name = required_text(payload, "sub", EXPECTED, 128)?;
    name.parse().ok().ok_or(TokenError::ClaimMalformed {
        claim: "sub",
        expected: EXPECTED,
    })
}

fn scopes(payload: &Members<'_>) -> Result<BTreeSet<Scope>, TokenError> {
    // The parser's own message quotes the token, so it goes no further.
    payload
        .get::<String>("scope")
        .ok()
        .and_then(|list| Scope::parse_list(list.as_deref().unwrap_or_default()).ok())
        .ok_or(TokenError::ClaimMalformed {
            claim: "scope",
            expected: "a string of scopes such as orders.read, with spaces between, no wildcard",
        })
}

/// Exactly the resource, as a string or as an array of one. A token that is good elsewhere too
/// could have been taken there.
pub(super) fn check_audience(payload: &Members<'_>, audience: &str) -> Result<(), TokenError> {
    const CLAIM: &str = "aud";
    if !payload.has(CLAIM) {
        return Err(TokenError::ClaimMissing { claim: CLAIM });
    }
    let named = match payload.get::<String>(CLAIM) {
        Ok(one) => one,
        Err(WrongType) => match payload.get::<[String; 1]>(CLAIM) {
            Ok(one) => one.map(|[one]| one),
            Err(WrongType) => None,
        },
    };
    match named {
        Some(named) if named == audience => Ok(()),
        Some(_) => Err(TokenError::Audience),
        None => Err(TokenError::ClaimMalformed {
            claim: CLAIM,
            expected: "one resource, as a string or as an array of one string",
        }),
    }
}

/// Holds `exp`, `nbf` and `iat` against each other and against the clock; gives the end.
fn check_times(payload: &Members<'_>, now: OffsetDateTime) -> Result<OffsetDateTime, TokenError> {
    let expires_at = instant(payload, "exp")?;
    let not_before = instant(payload, "nbf")?;
    let issued_at = instant(payload, "iat")?;
    let lifetime = expires_at - issued_at;
    if !lifetime.is_positive() || lifetime > MAX_LIFETIME || not_before > expires_at {
        return Err(TokenError::Lifetime);
    }
    if now - expires_at > MAX_SKEW {
        return Err(TokenError::Expired);
    }
    if not_before - now > MAX_SKEW {
        return Err(TokenError::NotYetValid);
    }
    if issued_at - now > MAX_SKEW {
        return Err(TokenError::IssuedInFuture);
    }
    Ok(expires_at)
}

/// Whole seconds since 1970 written as a JSON integer: no sign, no fraction, no exponent.
pub(super) fn instant(
    payload: &Members<'_>,
    claim: &'static str,
) -> Result<OffsetDateTime, TokenError> {
    let malformed = TokenError::ClaimMalformed {
        claim,
        expected: "a whole number of seconds since 1970",
    };
    let Ok(seconds) = payload.get::<u64>(claim) else {
        return Err(malformed);
    };
    let seconds = seconds.ok_or(TokenError::ClaimMissing { claim })?;
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or(malformed)
}

/// Who acts for the subject, the present actor first (RFC 8693 §4.1).
fn actors(payload: &Members<'_>) -> Result<Vec<String>, TokenError> {
    let mut actors = Vec::new();
    let mut next = payload.raw("act");
    while let Some(json) = next {
        let actor = jws::members(json.as_bytes(), TokenPart::Actor)?;
        let name = actor
            .get::<String>("sub")
            .ok()
            .flatten()
            .filter(|name| !name.is_empty() && name.chars().count() <= 256);
        match name {
            Some(name) if actors.len() < MAX_ACTORS => actors.push(name),
            Some(_) | None => {
                return Err(TokenError::ClaimMalformed {
                    claim: "act",
                    expected: "an actor with a `sub`, and at most eight of them",
                });
            }
        }
        next = actor.raw("act");
    }
    Ok(actors)
}
