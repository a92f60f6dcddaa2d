//! A compact JWS taken apart (RFC 7515 §7.1), its header read strictly. Nothing in it is trusted:
//! the header says which key to look for, never which rules to follow.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::{TokenError, TokenPart};
use super::key::Algorithm;
use super::members::{Members, MembersError};

/// The longest token that is read.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The longest key id, in bytes.
const MAX_KID_BYTES: usize = 128;

/// Header members by which a token would bring its own key, or rules that a verifier might skip.
const FORBIDDEN: [&str; 6] = ["jku", "x5u", "jwk", "x5c", "crit", "b64"];

/// A token in its parts, unverified.
#[derive(Debug)]
pub(super) struct Jws<'a> {
    /// What the signature is over.
    pub(super) signing_input: &'a str,
    /// The signature, still base64url.
    pub(super) signature: &'a str,
    /// The algorithm that the token claims.
    pub(super) algorithm: Algorithm,
    /// The id of the key that the token claims. Opaque.
    pub(super) kid: String,
    /// The claims' JSON.
    pub(super) payload: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Takes an access token apart and reads its header.
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        Self::of_type(token, is_access_token_type)
    }

    /// Takes a JWS apart whose `typ` (`None` where it has none) is one that the caller expects.
    pub(super) fn of_type(
        token: &'a str,
        is_expected: fn(Option<&str>) -> bool,
    ) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let structure = TokenError::Malformed {
            part: TokenPart::Structure,
        };
        let Some((signing_input, signature)) = token.rsplit_once('.') else {
            return Err(structure);
        };
        let Some((header, payload)) = signing_input.split_once('.') else {
            return Err(structure);
        };
        // Neither may be empty, and a fourth part leaves a dot that is no base64url. The signature
        // is decoded where it is checked.
        let (Some(header), Some(payload)) = (decoded(header), decoded(payload)) else {
            return Err(structure);
        };
        let (algorithm, kid) = read_header(&header, is_expected)?;
        Ok(Self {
            signing_input,
            signature,
            algorithm,
            kid,
            payload,
        })
    }
}

/// Base64url without padding, without stray bits at the end (RFC 7515 §2).
fn decoded(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD
        .decode(part)
        .ok()
        .filter(|bytes| !bytes.is_empty())
}

/// The objects of a token, or the refusal that says which one cannot be read.
pub(super) fn members(json: &[u8], part: TokenPart) -> Result<Members<'_>, TokenError> {
    Members::parse(json).map_err(|error| match error {
        MembersError::NotAnObject => TokenError::Malformed { part },
        MembersError::Duplicate => TokenError::Repeated { part },
    })
}

fn read_header(
    json: &[u8],
    is_expected: fn(Option<&str>) -> bool,
) -> Result<(Algorithm, String), TokenError> {
    let header = members(json, TokenPart::Header)?;
    if let Some(member) = FORBIDDEN.into_iter().find(|member| header.has(member)) {
        return Err(TokenError::ForbiddenHeader { member });
    }
    let text = |name: &str| header.get::<String>(name).ok().flatten();
    let typ = text("typ");
    if header.has("typ") != typ.is_some() || !is_expected(typ.as_deref()) {
        return Err(TokenError::Type);
    }
    let algorithm = text("alg")
        .and_then(|name| Algorithm::named(&name))
        .ok_or(TokenError::Algorithm)?;
    let kid = text("kid")
        .filter(|kid| !kid.is_empty() && kid.len() <= MAX_KID_BYTES)
        .ok_or(TokenError::KeyId)?;
    Ok((algorithm, kid))
}

/// `at+jwt` (RFC 9068 §4).
fn is_access_token_type(typ: Option<&str>) -> bool {
    typ.is_some_and(|typ| media_type_is(typ, "at+jwt"))
}

/// Whether a `typ` says this media type: without case, and with or without `application/` (RFC 7515 §4.1.9).
pub(super) fn media_type_is(typ: &str, wanted: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").unwrap_or(&typ) == wanted
}
