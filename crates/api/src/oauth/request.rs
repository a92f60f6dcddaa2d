//! A token request, read strictly (RFC 6749 §2.3, §3.2, §4.4.2; RFC 8707 §2).
//!
//! A parameter stands at most once, an empty one counts as absent, credentials come in one place,
//! and that place is never the URL.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Uri};
use secrecy::SecretString;
use url::form_urlencoded;

use super::error::OAuthError;

/// What a client asks for.
#[derive(Debug)]
pub(super) struct TokenRequest {
    pub(super) credentials: Credentials,
    pub(super) grant_type: String,
    /// The resource that the token is for.
    pub(super) resource: Option<String>,
    /// The scopes, unread.
    pub(super) scope: Option<String>,
    /// The purpose that the token states.
    pub(super) purpose: Option<String>,
}

/// What a client shows of itself.
#[derive(Debug)]
pub(super) enum Credentials {
    /// Its id and a secret (RFC 6749 §2.3.1).
    Secret(SecretCredentials),
    /// An assertion that its key signed (RFC 7523 §2.2), and the id that it may name beside it.
    Assertion {
        client_id: Option<String>,
        assertion: String,
    },
}

/// A client's id and a secret.
#[derive(Debug)]
pub(super) struct SecretCredentials {
    pub(super) client_id: String,
    pub(super) client_secret: SecretString,
}

/// The one type of client assertion that there is (RFC 7523 §2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl TokenRequest {
    /// Reads a request.
    pub(super) fn read(uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<Self, OAuthError> {
        if uri.query().is_some() {
            return Err(OAuthError::InvalidRequest(
                "parameters stand in the body, never in the URL",
            ));
        }
        if !is_form(headers) {
            return Err(OAuthError::InvalidRequest(
                "the body has to be application/x-www-form-urlencoded",
            ));
        }
        let mut form = Form::read(body)?;
        let credentials = credentials(headers, &mut form)?;
        let grant_type = form
            .take("grant_type")
            .ok_or(OAuthError::InvalidRequest("grant_type is missing"))?;
        Ok(Self {
            credentials,
            grant_type,
            resource: form.take("resource"),
            scope: form.take("scope"),
            purpose: form.take("purpose"),
        })
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    value.to_str().is_ok_and(|text| {
        let essence = text.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    })
}

/// The parameters of a body, empty ones too.
struct Form(HashMap<String, String>);

impl Form {
    fn read(body: &[u8]) -> Result<Self, OAuthError> {
        let mut form = HashMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            // The decoder puts this where bytes are no UTF-8.
            if name.contains('\u{fffd}') || value.contains('\u{fffd}') {
                return Err(OAuthError::InvalidRequest("the body is not UTF-8"));
            }
            let several_resources = name == "resource";
            if form.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(if several_resources {
                    OAuthError::InvalidTarget
                } else {
                    OAuthError::InvalidRequest("a parameter stands twice")
                });
            }
        }
        Ok(Self(form))
    }

    /// A parameter's value; an empty one is as none.
    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }
}

/// The one way in which a client shows who it is.
fn credentials(headers: &HeaderMap, form: &mut Form) -> Result<Credentials, OAuthError> {
    let kind = form.take("client_assertion_type");
    let Some(assertion) = form.take("client_assertion") else {
        if kind.is_some() {
            return Err(OAuthError::InvalidRequest("client_assertion is missing"));
        }
        return secret(headers, form).map(Credentials::Secret);
    };
    if kind.as_deref() != Some(JWT_BEARER) {
        return Err(OAuthError::InvalidRequest(
            "client_assertion_type is urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ));
    }
    // RFC 6749 §2.3: never more than one way in a request.
    if headers.contains_key(AUTHORIZATION) || form.take("client_secret").is_some() {
        return Err(OAuthError::InvalidRequest(
            "a client shows who it is in one way: by an assertion or by a secret, not by both",
        ));
    }
    Ok(Credentials::Assertion {
        client_id: form.take("client_id"),
        assertion,
    })
}

/// The one place in which a secret stands: the header or the body.
fn secret(headers: &HeaderMap, form: &mut Form) -> Result<SecretCredentials, OAuthError> {
    let in_body = (form.take("client_id"), form.take("client_secret"));
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next(), in_body) {
        (Some(_), Some(_), _) => Err(OAuthError::InvalidRequest(
            "there is more than one Authorization header",
        )),
        (_, _, (_, Some(_))) if headers.contains_key(AUTHORIZATION) => {
            Err(OAuthError::InvalidRequest(
                "credentials stand in the Authorization header or in the body, not in both",
            ))
        }
        (Some(header), None, (named, None)) => {
            let credentials = basic(header).ok_or(OAuthError::InvalidClient)?;
            if named.is_some_and(|named| named != credentials.client_id) {
                return Err(OAuthError::InvalidRequest(
                    "client_id is not the client of the Authorization header",
                ));
            }
            Ok(credentials)
        }
        (None, _, (Some(client_id), Some(client_secret))) => Ok(SecretCredentials {
            client_id,
            client_secret: client_secret.into(),
        }),
        _ => Err(OAuthError::InvalidClient),
    }
}

/// `Basic` with both halves form-encoded (RFC 6749 §2.3.1).
fn basic(header: &HeaderValue) -> Option<SecretCredentials> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let pair = STANDARD.decode(encoded.trim_start_matches(' ')).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some(SecretCredentials {
        client_id: form_decoded(id)?,
        client_secret: form_decoded(secret)?.into(),
    })
}

/// A form-encoded text. A text with a delimiter in it is none.
fn form_decoded(text: &str) -> Option<String> {
    if text.is_empty() || text.contains(['&', '=']) {
        return None;
    }
    let (name, _) = form_urlencoded::parse(text.as_bytes()).next()?;
    (!name.contains('\u{fffd}')).then(|| name.into_owned())
}
