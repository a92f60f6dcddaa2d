//! A GET that follows redirects, each hop checked as if it were the first.
//!
//! It must never send a body or another method, follow a redirect from https to http, take along to
//! another origin what may say who asks, or go where the list of the one who asks does not lead.

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderMap, Method, StatusCode};
use tokio::time::Instant;

use crate::allowance::Allowance;
use crate::allowlist::Allowlist;
use crate::client::{Client, Reading, Request, Response};
use crate::destination::Destination;
use crate::error::{EgressError, Refusal};
use crate::headers::Headers;
use crate::target::Target;
use crate::watch::Watch;

/// The most redirects that are followed.
pub const MAX_REDIRECTS: usize = 3;

/// What is fetched, and within which bounds.
#[derive(Debug, Clone)]
pub struct Fetch<'a> {
    /// Where it begins.
    pub target: Target,
    /// The headers of the first request, and of those to the same origin.
    pub headers: Headers,
    /// The hosts that may be reached, at each hop.
    pub allowlist: &'a Allowlist,
    /// What the operator opened of the inside to the one who asks.
    pub allowance: &'a Allowance,
    /// Who is told of each hop, and may forbid it.
    pub watch: &'a dyn Watch,
    /// The most bytes of the unpacked body.
    pub max_bytes: usize,
}

/// What was fetched.
#[derive(Debug)]
pub struct Fetched {
    /// The last hop's status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, unpacked.
    pub body: Bytes,
    /// Where it came from in the end.
    pub target: Target,
    /// How many redirects were followed.
    pub redirects: usize,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
#[error("hop {hop} failed")]
pub struct FetchError {
    /// At which hop; 0 is the first.
    pub hop: usize,
    /// Where the hop led, once that could be read.
    pub target: Target,
    /// What went wrong.
    #[source]
    pub error: EgressError,
}

impl Client {
    /// Fetches by GET until the deadline, over all hops.
    ///
    /// # Errors
    /// Says at which hop it ended, and why.
    pub async fn fetch(
        &self,
        fetch: &Fetch<'_>,
        deadline: Instant,
    ) -> Result<Fetched, Box<FetchError>> {
        let mut target = fetch.target.clone();
        let mut headers = fetch.headers.clone();
        let mut hop = 0_usize;
        loop {
            let failed = |error| {
                Box::new(FetchError {
                    hop,
                    target: target.clone(),
                    error,
                })
            };
            let response = self.hop(fetch, &target, headers.clone(), deadline).await;
            let response = response.map_err(failed)?;
            let Some(location) = location(&response) else {
                return Ok(Fetched {
                    status: response.status,
                    headers: response.headers,
                    body: response.body,
                    target,
                    redirects: hop,
                });
            };
            let refused = |refusal| failed(EgressError::Refused(refusal));
            if hop >= MAX_REDIRECTS {
                return Err(refused(Refusal::TooManyRedirects));
            }
            let next = next(&target, location).map_err(refused)?;
            if !next.has_origin_of(&target) {
                headers = headers.for_another_origin();
            }
            target = next;
            hop = hop.saturating_add(1);
        }
    }

    async fn hop(
        &self,
        fetch: &Fetch<'_>,
        target: &Target,
        headers: Headers,
        deadline: Instant,
    ) -> Result<Response, EgressError> {
        if !fetch.allowlist.lists(target) {
            return Err(EgressError::Refused(Refusal::NotListed));
        }
        let ports = fetch.allowlist.ports(&target.host());
        let destination = Destination {
            target,
            ports: &ports,
            allowance: fetch.allowance,
            watch: fetch.watch,
        };
        let request = Request {
            method: Method::GET,
            headers,
            body: Bytes::new(),
        };
        let connection = self.open(destination, deadline).await?;
        connection
            .exchange(request, Reading::Unpacked(fetch.max_bytes), deadline)
            .await
    }
}

/// Where an answer leads, if it leads anywhere. A status that asks to repeat the request elsewhere
/// without saying where is an answer like any other.
fn location(response: &Response) -> Option<&[u8]> {
    matches!(response.status.as_u16(), 301 | 302 | 303 | 307 | 308)
        .then(|| response.headers.get(LOCATION))
        .flatten()
        .map(http::HeaderValue::as_bytes)
}

pub(crate) fn next(from: &Target, location: &[u8]) -> Result<Target, Refusal> {
    let text = std::str::from_utf8(location).map_err(|_unreadable| Refusal::Redirect)?;
    let next = from
        .redirected(text)
        .map_err(|_unreadable| Refusal::Redirect)?;
    if from.is_https() && !next.is_https() {
        return Err(Refusal::Downgrade);
    }
    Ok(next)
}
