//! Which headers a configuration may send.
//!
//! It must never let a configuration choose the host, frame the message, ask a metadata service for
//! its secrets, pose as a proxy, or carry a credential in plain text.

use std::fmt;

use http::header::{ACCEPT, ACCEPT_LANGUAGE, HeaderMap, HeaderName, HeaderValue};

/// Why a header was refused. Its value is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderRefusal {
    /// No header name.
    #[error("`{0}` is no name of an HTTP header")]
    Name(String),
    /// A value with characters that end a line or hide.
    #[error("the value of `{0}` may only hold visible ASCII characters and inner spaces")]
    Value(String),
    /// A header that the platform sets, or that nobody may.
    #[error("`{0}` is not for a configuration to set; leave it out")]
    Reserved(String),
    /// A header that carries credentials.
    #[error("`{0}` carries a credential, which does not belong into a tool's configuration")]
    Credential(String),
}

/// Names that a configuration may not set, besides those by their beginning.
const RESERVED: [&str; 35] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "forwarded",
    "front-end-https",
    "host",
    "http2-settings",
    "idempotency-key",
    "keep-alive",
    "max-forwards",
    "metadata",
    "metadata-flavor",
    "origin",
    "proxy-connection",
    "range",
    "te",
    "traceparent",
    "tracestate",
    "baggage",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-real-ip",
    "true-client-ip",
];
const RESERVED_BEGINNINGS: [&str; 10] = [
    "metadata-",
    "proxy-",
    "sec-",
    "x-aws-ec2-metadata-",
    "x-forwarded-",
    "x-google-metadata-",
    "x-metadata-",
    "x-original-",
    "x-rewrite-",
    "x-amz-security-",
];
const CREDENTIALS: [&str; 7] = [
    "authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "apikey",
    "x-auth-token",
];

/// The headers of a request, each of them checked.
#[derive(Clone, Default)]
pub struct Headers(HeaderMap);

/// Names only.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Headers {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a header that a configuration names.
    ///
    /// # Errors
    /// Names the header and the rule that it breaks.
    pub fn configured(&mut self, name: &str, value: &str) -> Result<(), HeaderRefusal> {
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(HeaderRefusal::Name(name.chars().take(64).collect()));
        };
        let lower = header.as_str();
        let owned = || lower.to_owned();
        // A name that a CGI-like upstream reads as another one: `Transfer_Encoding`.
        let plain = lower.replace('_', "-");
        let begun = RESERVED_BEGINNINGS
            .iter()
            .any(|front| plain.starts_with(front));
        if begun || RESERVED.contains(&plain.as_str()) {
            return Err(HeaderRefusal::Reserved(owned()));
        }
        if CREDENTIALS.contains(&plain.as_str()) {
            return Err(HeaderRefusal::Credential(owned()));
        }
        let visible = value.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if !visible || value.trim() != value || value.len() > 1_024 {
            return Err(HeaderRefusal::Value(owned()));
        }
        let Ok(value) = HeaderValue::from_str(value) else {
            return Err(HeaderRefusal::Value(owned()));
        };
        self.0.insert(header, value);
        Ok(())
    }

    /// Adds a header that the platform itself chose by name.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.insert(name, value);
        self
    }

    /// What may go on to another origin: what kind of answer is wished for. Whatever else there is may
    /// say who asks, and stays behind.
    #[must_use]
    pub fn for_another_origin(&self) -> Self {
        let kept = [ACCEPT, ACCEPT_LANGUAGE]
            .into_iter()
            .filter_map(|name| Some((name.clone(), self.0.get(&name)?.clone())));
        Self(kept.collect())
    }

    pub(crate) fn into_map(self) -> HeaderMap {
        self.0
    }
}
