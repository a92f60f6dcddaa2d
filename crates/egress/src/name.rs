//! What a host name may be before anybody is asked for its addresses.
//!
//! Names of the inside never leave for a public resolver, and a name is never trusted for being
//! harmless: its addresses are checked all the same.

/// What a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameClass {
    /// A name of the public tree.
    Public,
    /// A name that only some inside knows: reached only where the platform's operator opened
    /// something to the tool server that asks.
    Internal,
    /// A metadata service, or a name that names no host.
    Forbidden,
}

/// Names under which clouds answer with credentials.
const METADATA: [&str; 9] = [
    "instance-data",
    "instance-data.ec2.internal",
    "metadata",
    "metadata.azure.com",
    "metadata.azure.internal",
    "metadata.goog",
    "metadata.google.internal",
    "metadata.oraclecloud.com",
    "metadata.tencentyun.com",
];
/// Last labels that no public name has.
const INTERNAL: [&str; 12] = [
    "cluster",
    "corp",
    "default",
    "home",
    "internal",
    "intranet",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "private",
    "svc",
];
/// Last labels that name no host that could be called.
const NOWHERE: [&str; 5] = ["alt", "arpa", "invalid", "onion", "test"];

/// What a name is. It has passed the URL parser: lower case, ASCII.
pub(crate) fn class(name: &str) -> NameClass {
    let last = name.rsplit('.').next().unwrap_or_default();
    let under = |parent: &str| {
        name.strip_suffix(parent)
            .is_some_and(|front| front.is_empty() || front.ends_with('.'))
    };
    if !is_host_name(name) || NOWHERE.contains(&last) || METADATA.iter().any(|one| under(one)) {
        return NameClass::Forbidden;
    }
    // `home.arpa` is `Forbidden` with the rest of `arpa`.
    if !name.contains('.') || INTERNAL.contains(&last) {
        return NameClass::Internal;
    }
    NameClass::Public
}

/// Letters, digits and inner hyphens in labels of 1 to 63, at most 253 in all, the last label not
/// all digits: RFC 1123. Underscores are let through inside, since real hosts have them.
pub(crate) fn is_host_name(name: &str) -> bool {
    let fits = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    let numeric = name
        .rsplit('.')
        .next()
        .is_none_or(|last| last.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253 && !numeric && name.split('.').all(fits)
}
