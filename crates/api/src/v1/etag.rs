//! Versions of things in HTTP: `ETag` on reading, `If-Match` on changing (RFC 9110 §8.8.3, §13.1.1).
//!
//! An update that names no version is refused, `*` included: it would overwrite what it never saw.

use std::fmt;

use axum::extract::FromRequestParts;
use http::HeaderValue;
use http::header::IF_MATCH;
use http::request::Parts;

use super::error::ApiError;

/// The strong validator of one state of a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// The validator of a counted version.
    pub fn of_version(version: i64) -> Self {
        Self(format!("\"v{version}\""))
    }

    /// The validator of a policy version: its own state, and which version is in force, so that
    /// nobody publishes over a publication that he has not seen.
    pub fn of_policy(number: i64, status: &str, in_force: Option<i64>) -> Self {
        let in_force = in_force.unwrap_or(0);
        Self(format!("\"p{number}.{status}.{in_force}\""))
    }

    /// The header's value.
    pub fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The versions that an update may find. Weak validators name none (RFC 9110 §8.8.3.2).
#[derive(Debug)]
pub struct IfMatch(Vec<String>);

impl IfMatch {
    /// Passes if the present state is one that the caller has seen.
    ///
    /// # Errors
    /// It is another.
    pub fn check(&self, present: &ETag) -> Result<(), ApiError> {
        if self.0.contains(&present.0) {
            Ok(())
        } else {
            Err(ApiError::PreconditionFailed)
        }
    }

    fn parse(values: impl Iterator<Item = HeaderValue>) -> Result<Self, ApiError> {
        let mut tags = Vec::new();
        let mut any = false;
        for value in values {
            let Ok(text) = value.to_str() else {
                return Err(ApiError::Malformed("`If-Match` is no text".to_owned()));
            };
            // None of our validators holds a comma.
            for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
                any |= tag != "*";
                tags.push(tag.to_owned());
            }
        }
        if any {
            Ok(Self(tags))
        } else {
            Err(ApiError::PreconditionRequired)
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        Self::parse(parts.headers.get_all(IF_MATCH).iter().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&'static str]) -> Result<IfMatch, ApiError> {
        IfMatch::parse(values.iter().map(|value| HeaderValue::from_static(value)))
    }

    #[test]
    fn the_present_version_passes() {
        let present = ETag::of_version(3);
        parse(&["\"v3\""]).unwrap().check(&present).unwrap();
        parse(&["\"v2\", \"v3\""]).unwrap().check(&present).unwrap();
        parse(&["\"v2\"", "\"v3\""])
            .unwrap()
            .check(&present)
            .unwrap();
    }

    #[test]
    fn a_stale_weak_or_unquoted_version_fails() {
        let present = ETag::of_version(3);
        for value in ["\"v2\"", "W/\"v3\"", "v3", "\"v33\"", "*, \"v2\""] {
            let error = parse(&[value]).unwrap().check(&present).unwrap_err();
            assert!(matches!(error, ApiError::PreconditionFailed), "{value}");
        }
    }

    #[test]
    fn naming_no_version_is_refused() {
        for values in [&[][..], &["*"], &[""], &[" , "], &["*", "*"]] {
            let error = parse(values).unwrap_err();
            assert!(
                matches!(error, ApiError::PreconditionRequired),
                "{values:?}"
            );
        }
    }

    #[test]
    fn a_publication_in_between_changes_a_policys_validator() {
        let before = ETag::of_policy(4, "draft", Some(2));
        assert_ne!(before, ETag::of_policy(4, "draft", Some(3)));
        assert_ne!(before, ETag::of_policy(4, "draft", None));
    }
}
