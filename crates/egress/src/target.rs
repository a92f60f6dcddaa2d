//! A URL that may be dialled: parsed once, and dialled as it was parsed.
//!
//! Text that a second parser could read otherwise is refused rather than repaired: what stands in a
//! configuration is what is called.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use crate::name::{self, NameClass};

/// Why a text is no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It does not parse, or has no host.
    #[error("is no absolute URL; write it like https://api.example.com/v1")]
    Malformed,
    /// Neither http nor https.
    #[error("must begin with https:// or http://")]
    Scheme,
    /// A character that parsers read differently.
    #[error(
        "holds a space, a control character, a backslash or a character outside ASCII; write \
         host names with their `xn--` labels and percent-encode the rest"
    )]
    Character,
    /// A user name or a password.
    #[error("must not hold a user name or a password")]
    Userinfo,
    /// A host that is not written in its plain form.
    #[error(
        "names its host in an unusual spelling; write a name without a trailing dot, or an \
         address in its plain form"
    )]
    Host,
    /// A path that changes when it is read.
    #[error("has dot segments or encoded delimiters in its path; write the path plainly")]
    Path,
    /// A fragment.
    #[error("must not hold a fragment")]
    Fragment,
}

/// Where a request goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    port: u16,
}

/// Without path and query: those hold arguments.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({}://{})", self.url.scheme(), self.authority())
    }
}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if text.bytes().any(|b| !b.is_ascii_graphic() || b == b'\\') {
            return Err(TargetError::Character);
        }
        let rest = ["https://", "http://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .ok_or(TargetError::Scheme)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if authority.contains('@') {
            return Err(TargetError::Userinfo);
        }
        if tail.contains('#') {
            return Err(TargetError::Fragment);
        }
        let (url, port) = read(text).ok_or(TargetError::Malformed)?;
        let target = Self { url, port };
        if !target.is_written_as(authority) {
            return Err(TargetError::Host);
        }
        let path = tail.split('?').next().unwrap_or_default();
        if !target.has_path(path) {
            return Err(TargetError::Path);
        }
        Ok(target)
    }

    /// Whether the host is what was written, but for case and a default port.
    fn is_written_as(&self, authority: &str) -> bool {
        let Some(host) = self.url.host_str() else {
            return false;
        };
        let written = authority.to_ascii_lowercase();
        let bare = written == host && self.url.port().is_none();
        (bare || written == format!("{host}:{}", self.port)) && !host.ends_with('.')
    }

    /// Whether the parser left the path alone, and no other parser would find more segments in it.
    fn has_path(&self, written: &str) -> bool {
        let same = self.url.path() == written || (written.is_empty() && self.url.path() == "/");
        let lower = written.to_ascii_lowercase();
        let hidden = ["%2f", "%5c", "%2e", "%00", "%0d", "%0a", "%25"];
        same && !hidden.iter().any(|code| lower.contains(code))
            && !lower
                .split('/')
                .any(|segment| segment == "." || segment == "..")
    }

    /// Whether TLS is spoken.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The host as it was parsed: a name in lower case, or an address.
    pub fn host(&self) -> String {
        self.url.host_str().unwrap_or_default().to_owned()
    }

    /// The port, the scheme's own where none was written.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The value of `Host`: the port only where it is not the scheme's own.
    pub fn authority(&self) -> String {
        match self.url.port() {
            Some(port) => format!("{}:{port}", self.host()),
            None => self.host(),
        }
    }

    /// Path and query, as they stand in the request line.
    pub fn path_and_query(&self) -> String {
        match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        }
    }

    /// The path alone.
    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// Whether there is a query.
    pub fn has_query(&self) -> bool {
        self.url.query().is_some()
    }

    /// Whether the host is a name of the public tree.
    pub fn is_public_name(&self) -> bool {
        match self.named() {
            Named::Name(text) => name::class(text) == NameClass::Public,
            Named::Address(_) => false,
        }
    }

    /// Whether scheme, host and port are the same.
    pub fn has_origin_of(&self, other: &Self) -> bool {
        self.is_https() == other.is_https()
            && self.host() == other.host()
            && self.port == other.port
    }

    /// Reads where a redirect leads from here: an absolute URL, or a path of this origin. A fragment is
    /// for browsers, and is left away.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn redirected(&self, location: &str) -> Result<Self, TargetError> {
        if location
            .bytes()
            .any(|b| !b.is_ascii_graphic() || b == b'\\')
        {
            return Err(TargetError::Character);
        }
        let plain = location.split('#').next().unwrap_or_default();
        let path = plain.split(['?']).next().unwrap_or_default();
        let first = path.split('/').next().unwrap_or_default();
        if first.contains(':') {
            return Self::parse(plain);
        }
        if plain.starts_with("//") {
            return Self::parse(&format!("{}:{plain}", self.url.scheme()));
        }
        let joined = self.url.join(plain);
        let joined = joined.map_err(|_unfit| TargetError::Malformed)?;
        Self::parse(joined.as_str())
    }

    /// The URL as it is requested.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    pub(crate) fn named(&self) -> Named<'_> {
        match self.url.host() {
            Some(Host::Domain(name)) => Named::Name(name),
            Some(Host::Ipv4(address)) => Named::Address(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Named::Address(IpAddr::V6(address)),
            None => Named::Name(""),
        }
    }
}

fn read(text: &str) -> Option<(Url, u16)> {
    let url = Url::parse(text).ok()?;
    let port = url.port_or_known_default()?;
    Some((url, port))
}

/// What stands in the host's place.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Named<'a> {
    /// A name to resolve.
    Name(&'a str),
    /// An address.
    Address(IpAddr),
}
