//! What a request shows of its caller: its `Authorization` header, its peer, its `Forwarded` header.
//! A token in a query or a body is never looked for.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, FORWARDED};
use http::{HeaderMap, HeaderValue};

use super::error::TokenError;

/// What a request shows of its caller.
#[derive(Clone)]
pub struct Presented<'a> {
    authorization: Vec<&'a HeaderValue>,
    forwarded: Vec<&'a HeaderValue>,
    peer: IpAddr,
}

impl std::fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Presented")
    }
}

impl<'a> Presented<'a> {
    /// Of a request's headers and the address at the other end of its connection.
    pub fn of(headers: &'a HeaderMap, peer: IpAddr) -> Self {
        Self {
            authorization: headers.get_all(AUTHORIZATION).iter().collect(),
            forwarded: headers.get_all(FORWARDED).iter().collect(),
            peer,
        }
    }

    pub(super) const fn peer(&self) -> IpAddr {
        self.peer
    }

    pub(super) fn forwarded(&self) -> &[&'a HeaderValue] {
        &self.forwarded
    }

    /// The one bearer token (RFC 6750 §2.1).
    pub(super) fn bearer(&self) -> Result<&'a str, TokenError> {
        let header = match self.authorization.as_slice() {
            [] => return Err(TokenError::Missing),
            [one] => *one,
            [_, _, ..] => return Err(TokenError::SeveralCredentials),
        };
        let text = header.to_str().ok().ok_or(TokenError::NotBearer)?;
        let (scheme, token) = text.split_once(' ').ok_or(TokenError::NotBearer)?;
        let token = token.trim_start_matches(' ');
        let one_token = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
        if scheme.eq_ignore_ascii_case("Bearer") && one_token {
            Ok(token)
        } else {
            Err(TokenError::NotBearer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(values: &[&[u8]]) -> Result<String, TokenError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        let peer = IpAddr::from([127, 0, 0, 1]);
        Presented::of(&headers, peer).bearer().map(str::to_owned)
    }

    #[test]
    fn one_bearer_token_is_read_whatever_the_case_of_its_scheme() {
        for value in [&b"Bearer a.b.c"[..], b"bearer a.b.c", b"BEARER  a.b.c"] {
            assert_eq!(bearer(&[value]).unwrap(), "a.b.c");
        }
    }

    #[test]
    fn anything_else_than_one_bearer_token_is_refused() {
        assert!(matches!(bearer(&[]), Err(TokenError::Missing)));
        let twice: [&[u8]; 2] = [b"Bearer a.b.c", b"Bearer a.b.c"];
        assert!(matches!(
            bearer(&twice),
            Err(TokenError::SeveralCredentials)
        ));
        let mixed: [&[u8]; 2] = [b"Basic eA==", b"Bearer a.b.c"];
        assert!(matches!(
            bearer(&mixed),
            Err(TokenError::SeveralCredentials)
        ));
        for value in [
            &b""[..],
            b"Bearer",
            b"Bearer ",
            b"Bearer\ta.b.c",
            b"Basic eDp5",
            b"DPoP a.b.c",
            b"a.b.c",
            b"Bearer a.b.c d",
            b"Bearer a.b.c, Bearer d",
            b"Bearer \xff.b.c",
        ] {
            let refused = bearer(&[value]);
            assert!(matches!(refused, Err(TokenError::NotBearer)), "{value:?}");
        }
    }

    #[test]
    fn what_is_presented_prints_nothing_of_itself() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer s3cret"));
        let presented = Presented::of(&headers, IpAddr::from([192, 0, 2, 1]));
        assert_eq!(format!("{presented:?}"), "Presented");
    }
}
