//! A tenant's name in URLs, in tokens' audiences and on the command line.

use std::fmt;
use std::str::FromStr;

/// A tenant's name in URLs: 2 to 63 lower-case letters, digits and hyphens, beginning with a letter
/// and not ending with a hyphen. So it is no id, no number and no other host's label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantSlug(String);

/// A text that names no tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be 2 to 63 lower-case letters, digits and hyphens, beginning with a letter and not ending \
     with a hyphen"
)]
pub struct TenantSlugError;

impl TenantSlug {
    /// The name as it stands in a URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TenantSlug {
    type Err = TenantSlugError;

    fn from_str(text: &str) -> Result<Self, TenantSlugError> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
        let sound = begins
            && !text.ends_with('-')
            && (2..=63).contains(&text.len())
            && text.bytes().all(inner);
        sound.then(|| Self(text.to_owned())).ok_or(TenantSlugError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tenants_are_read_as_they_are() {
        for text in ["acme", "a1-b2", "ab", &"x".repeat(63)] {
            let slug: TenantSlug = text.parse().unwrap();
            assert_eq!((slug.as_str(), slug.to_string()), (text, text.to_owned()));
        }
    }

    #[test]
    fn texts_that_would_read_as_something_else_name_no_tenant() {
        for text in [
            "",
            "a",
            "-a",
            "a-",
            "1a",
            "Acme",
            "acmé",
            "a_b",
            "a.b",
            "a/b",
            "a b",
            "acme\0",
            "acme\n",
            "tnt_0199a6b0c0007000800000000000002a",
            &"x".repeat(64),
        ] {
            assert_eq!(text.parse::<TenantSlug>(), Err(TenantSlugError), "{text:?}");
        }
    }
}
