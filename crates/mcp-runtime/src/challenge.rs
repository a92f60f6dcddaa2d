//! `WWW-Authenticate` challenges (RFC 6750 §3, RFC 9728 §5.1).

use std::fmt::Write as _;

/// The URL of a tenant's protected resource metadata.
pub fn resource_metadata(public_url: &str, tenant: &str) -> String {
    format!("{public_url}/.well-known/oauth-protected-resource/t/{tenant}/mcp")
}

/// A challenge for a request without a token, or with one that is not valid.
pub fn unauthorized(public_url: &str, tenant: &str, invalid: Option<&str>) -> String {
    let metadata = resource_metadata(public_url, tenant);
    let mut challenge = format!("Bearer resource_metadata=\"{metadata}\"");
    if let Some(why) = invalid {
        let _infallible = write!(
            challenge,
            ", error=\"invalid_token\", error_description=\"{}\"",
            quoted(why)
        );
    }
    challenge
}

/// A challenge for a valid token without the scope that a call needs.
pub fn insufficient_scope(public_url: &str, tenant: &str, scope: &str) -> String {
    let metadata = resource_metadata(public_url, tenant);
    format!(
        "Bearer error=\"insufficient_scope\", scope=\"{scope}\", resource_metadata=\"{metadata}\""
    )
}

/// Keeps to the characters that RFC 6750 §3 allows in a description.
fn quoted(text: &str) -> String {
    let allowed = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
    text.chars().filter(allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_cannot_break_out_of_its_quotes() {
        let challenge = unauthorized("https://p.example", "acme", Some("no \"x\\\"\r\nSet: y"));
        assert!(
            challenge.ends_with("error_description=\"no xSet: y\""),
            "{challenge}"
        );
    }
}
