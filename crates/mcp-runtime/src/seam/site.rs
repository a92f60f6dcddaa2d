//! Which hosts a request may name, and pages of which origins may send it: one check for the seam and
//! for every other route that a browser can reach.
//!
//! Without the first a page could reach the platform by a name that it makes point here (DNS
//! rebinding); without the second it could act with a token that it got hold of (MCP, Streamable HTTP,
//! Security).

use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri};
use portcullis_wire::Slug;

use crate::rooms::DoorRefusal;

/// The hosts that are served and the web origins that may call.
#[derive(Debug, Clone, Copy)]
pub struct Site<'s> {
    /// Values of `Host`; compared without case.
    pub hosts: &'s [String],
    /// Values of `Origin`; without any, every request that has one is refused.
    pub origins: &'s [String],
}

impl Site<'_> {
    /// Checks what a request says of where it goes and where it comes from.
    ///
    /// # Errors
    /// Refuses a host that is not served and an origin that may not call.
    pub fn check(self, uri: &Uri, headers: &HeaderMap) -> Result<(), DoorRefusal> {
        let named = uri.authority().map(Authority::as_str);
        let named = named.or_else(|| headers.get(HOST).and_then(|host| host.to_str().ok()));
        let served = |named: &str| {
            let mut hosts = self.hosts.iter();
            hosts.any(|host| host.eq_ignore_ascii_case(named))
        };
        if !named.is_some_and(served) {
            return Err(DoorRefusal::new(
                Slug::HostNotAllowed,
                "the request names a host that is not served here; use the platform's public address",
            ));
        }
        let allowed = headers.get_all(ORIGIN).iter().all(|origin| {
            let mut origins = self.origins.iter();
            origin
                .to_str()
                .is_ok_and(|origin| origins.any(|one| one == origin))
        });
        if !allowed {
            return Err(DoorRefusal::new(
                Slug::OriginNotAllowed,
                "this web origin may not call; an operator can add it to `server.allowed_origins`",
            ));
        }
        Ok(())
    }
}
