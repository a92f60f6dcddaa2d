//! What a request brings: bodies, queries and path parts, read strictly. Unknown members are refused
//! by name, and a message says which field breaks which rule.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, RawQuery, Request};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::error::ApiError;

/// The largest body of any request of this API.
pub const MAX_BODY_BYTES: usize = 512 * 1024;

/// A JSON body and the digest of its bytes.
#[derive(Debug)]
pub struct JsonBody<T> {
    /// What it says.
    pub value: T,
    /// SHA-256 over the bytes, for the idempotency key's fingerprint.
    pub digest: [u8; 32],
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        require_type(request.headers(), &["application/json"], "application/json")?;
        let bytes = bytes(request, state).await?;
        Ok(Self {
            value: json(&bytes)?,
            digest: Sha256::digest(&bytes).into(),
        })
    }
}

/// A YAML text and the digest of its bytes.
#[derive(Debug)]
pub struct YamlBody {
    /// The text.
    pub text: String,
    /// SHA-256 over the bytes.
    pub digest: [u8; 32],
}

impl<S: Send + Sync> FromRequest<S> for YamlBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        // RFC 9512 names the first; the others are what tools sent before it.
        let types = ["application/yaml", "application/x-yaml", "text/yaml"];
        require_type(request.headers(), &types, "application/yaml")?;
        let bytes = bytes(request, state).await?;
        let digest = Sha256::digest(&bytes).into();
        match String::from_utf8(bytes.to_vec()) {
            Ok(text) if text.contains('\0') => Err(ApiError::Malformed(
                "the body holds a NUL character, which YAML does not allow".to_owned(),
            )),
            Ok(text) => Ok(Self { text, digest }),
            Err(error) => Err(ApiError::Malformed(format!(
                "the body is no UTF-8 text from byte {}",
                error.utf8_error().valid_up_to()
            ))),
        }
    }
}

fn require_type(
    headers: &HeaderMap,
    accepted: &[&str],
    named: &'static str,
) -> Result<(), ApiError> {
    let given = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase());
    match given {
        Some(given) if accepted.contains(&given.as_str()) => Ok(()),
        Some(_) | None => Err(ApiError::MediaType(named)),
    }
}

async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state)
        .await
        .map_err(|rejection| {
            if rejection.status() == http::StatusCode::PAYLOAD_TOO_LARGE {
                ApiError::TooLarge(MAX_BODY_BYTES)
            } else {
                ApiError::Malformed("the body broke off, or came too slowly".to_owned())
            }
        })
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        refusal(&path, error.inner())
    })?;
    reader.end().map_err(|error| refusal(".", &error))?;
    Ok(value)
}

fn refusal(path: &str, error: &serde_json::Error) -> ApiError {
    use serde_json::error::Category;
    match error.classify() {
        Category::Data => {
            let rule = error.to_string();
            // The place in the text helps nobody who sees the field's name.
            let rule = rule.split(" at line ").next().unwrap_or_default();
            let field = field(path, rule, "(body)");

            ApiError::invalid(
                field,
                rule,
                "See the request's schema in /api/v1/openapi.json",
            )
        }
        Category::Syntax | Category::Eof | Category::Io => {
            ApiError::Malformed(format!("the body is no JSON: {error}"))
        }
    }
}

/// The path of the field that a message is about. A missing field and one that comes twice are named
/// in the message only; the path is that of what they belong to.
fn field(path: &str, rule: &str, whole: &str) -> String {
    let named = ["missing field `", "duplicate field `"]
        .into_iter()
        .find_map(|front| rule.strip_prefix(front)?.strip_suffix('`'));
    match (path, named) {
        (".", None) => whole.to_owned(),
        (".", Some(name)) => name.to_owned(),
        (path, None) => path.to_owned(),
        (path, Some(name)) => format!("{path}.{name}"),
    }
}

/// A query string, each parameter at most once, unknown ones refused by name.
#[derive(Debug)]
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = match RawQuery::from_request_parts(parts, state).await {
            Ok(RawQuery(query)) => query.unwrap_or_default(),
            Err(never) => match never {},
        };
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        let reader = serde_urlencoded::Deserializer::new(pairs);
        match serde_path_to_error::deserialize(reader) {
            Ok(value) => Ok(Self(value)),
            Err(error) => {
                let rule = error.inner().to_string();
                Err(ApiError::invalid(
                    field(&error.path().to_string(), &rule, "(query)"),
                    rule,
                    "See the parameters in /api/v1/openapi.json",
                ))
            }
        }
    }
}

/// The parts of the path. One that is no id of the expected kind names nothing, so it answers as
/// something absent.
#[derive(Debug)]
pub struct Name<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Name<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(_names_nothing) => Err(ApiError::NotFound),
        }
    }
}

/// An end that still lies ahead.
///
/// # Errors
/// Names the field that breaks the rule.
pub fn check_future(
    field: &str,
    end: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Result<(), ApiError> {
    if end.is_some_and(|end| end <= now) {
        return Err(ApiError::invalid(
            field,
            "must be in the future",
            "Choose a later time, in RFC 3339 with its offset",
        ));
    }
    Ok(())
}

/// Why something is done: 3 to 500 characters without control characters, not blank.
///
/// # Errors
/// Names the field that breaks the rule.
pub fn check_reason(text: &str) -> Result<(), ApiError> {
    let length = text.chars().count();
    let said = text.trim().chars().count() >= 3;
    if !said || length > 500 || text.chars().any(char::is_control) {
        return Err(ApiError::invalid(
            "reason",
            "must be 3 to 500 characters without control characters",
            "Say in one line why: whoever reads the record later has nothing else",
        ));
    }
    Ok(())
}

/// A text for people: trimmed of nothing, 1 to 200 characters, no control characters.
///
/// # Errors
/// Names the field that breaks the rule.
pub fn check_label(field: &str, text: &str) -> Result<(), ApiError> {
    let length = text.chars().count();
    if length == 0 || length > 200 || text.chars().any(char::is_control) {
        return Err(ApiError::invalid(
            field,
            "must be 1 to 200 characters without control characters",
            "Choose a shorter text on one line",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_wire::api::{CreateGrant, CreateTenant};

    fn refused<T: DeserializeOwned + std::fmt::Debug>(body: &str) -> (String, String) {
        let error = json::<T>(body.as_bytes()).unwrap_err();
        let ApiError::Invalid { field, rule, .. } = error else {
            panic!("{error:?}");
        };
        (field, rule)
    }

    #[test]
    fn an_unknown_member_is_named() {
        let body = r#"{"slug":"a1","name":"A","home_pool":"eu-west","admin":true}"#;
        let (field, rule) = refused::<CreateTenant>(body);
        assert_eq!(field, "admin");
        assert!(rule.contains("unknown field `admin`"), "{rule}");
    }

    #[test]
    fn a_wrong_value_is_named_with_its_rule() {
        let (field, rule) = refused::<CreateGrant>(r#"{"scope":"orders.*"}"#);
        assert_eq!(field, "scope");
        assert!(rule.contains("wildcards are refused"), "{rule}");
        let (_, rule) = refused::<CreateGrant>(r#"{"scope":"a.b","scope":"c.d"}"#);
        assert!(rule.contains("duplicate"), "{rule}");
    }

    #[test]
    fn what_is_no_json_says_where() {
        for body in ["", "{", "{'scope':1}", r#"{"scope":"a.b"} {}"#] {
            let error = json::<CreateGrant>(body.as_bytes()).unwrap_err();
            assert!(matches!(error, ApiError::Malformed(_)), "{body}: {error}");
        }
    }

    #[test]
    fn labels_with_control_characters_are_refused() {
        check_label("name", "Acme GmbH & Co. KG").unwrap();
        for text in ["", "a\nb", "a\u{0}", &"x".repeat(201)] {
            assert!(check_label("name", text).is_err(), "{text:?}");
        }
    }
}
