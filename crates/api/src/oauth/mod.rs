//! The platform's own authorization server: `/oauth/token` (client credentials, RFC 6749 §4.4),
//! its key set, and the documents by which clients find it (RFC 8414, RFC 9728).
//!
//! It issues a token to a client for that client's own tenant alone, with no more than its live
//! grants, for ten minutes at most. It must never say whether a client exists, never log or repeat a
//! secret, never read credentials from a URL, and never publish what it does not do.
//!
//! `serve` builds an [`OAuth`] with [`OAuth::new`] over the control store, and merges [`router`] into its own. Requests have
//! to carry `axum::extract::ConnectInfo<SocketAddr>`.

mod authorize;
mod client;
mod directory;
mod error;
mod grant;
mod metadata;
mod mint;
mod request;
mod stored;
mod throttle;
mod token;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use governor::middleware::NoOpMiddleware;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, PRAGMA, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use portcullis_domain::Clock;
use portcullis_keys::LocalKeys;
use portcullis_mcp_runtime::switchboard::Switchboard;
use portcullis_mcp_runtime::token::{MAX_LIFETIME, TrustedProxies};
use time::Duration;
use tower_governor::GovernorLayer;

use crate::attempts::Attempts;
pub use directory::{
    Client, ClientGrant, Directory, DirectoryError, Proof, StoredKey, StoredSecret,
};
use throttle::Asker;

pub use throttle::RequestRate;

/// The largest token request that is read.
const MAX_REQUEST_BYTES: usize = 8 * 1024;

/// What the operator decides.
#[derive(Debug, Clone)]
pub struct OAuthSettings {
    /// The platform's public origin without a slash at its end: the issuer's identifier, and the
    /// front of every token's audience.
    pub public_url: String,
    /// How long a token lives, 1 to 600 seconds.
    pub lifetime: Duration,
    /// The proxies whose `Forwarded` header is believed.
    pub proxies: TrustedProxies,
    /// How often one address may ask for tokens.
    pub requests: RequestRate,
}

/// Settings that would issue tokens nobody may accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OAuthSettingsError {
    /// The lifetime is outside its bounds.
    #[error("a token lives 1 to 600 seconds: correct tokens.lifetime_seconds")]
    Lifetime,
    /// The public URL is no origin.
    #[error("server.public_url is an http or https origin without a path: correct it")]
    PublicUrl,
    /// Nobody could ask for a token.
    #[error(
        "tokens.requests_per_minute and tokens.request_burst are 1 or more, or nobody gets a token"
    )]
    Requests,
}

/// The authorization server.
pub struct OAuth {
    directory: Arc<dyn Directory>,
    keys: Arc<LocalKeys>,
    clock: Arc<dyn Clock>,
    switchboard: Switchboard,
    settings: OAuthSettings,
    attempts: Attempts,
    throttle: GovernorLayer<Asker, NoOpMiddleware, Body>,
}

impl OAuth {
    /// An authorization server over the clients of a directory (the control store is one), which signs
    /// with the issuer keys. The switchboard is the replica's own: who is suspended or frozen gets no
    /// token.
    ///
    /// # Errors
    /// Refuses a lifetime that no verifier accepts, and a public URL that is no origin.
    pub fn new(
        directory: Arc<dyn Directory>,
        keys: Arc<LocalKeys>,
        clock: Arc<dyn Clock>,
        switchboard: Switchboard,
        settings: OAuthSettings,
    ) -> Result<Self, OAuthSettingsError> {
        let whole = settings.lifetime.subsec_nanoseconds() == 0;
        if !whole || !settings.lifetime.is_positive() || settings.lifetime > MAX_LIFETIME {
            return Err(OAuthSettingsError::Lifetime);
        }
        let url = url::Url::parse(&settings.public_url)
            .ok()
            .ok_or(OAuthSettingsError::PublicUrl)?;
        // An origin with a path would need its metadata elsewhere (RFC 8414 §3.1).
        if url.origin().ascii_serialization() != settings.public_url {
            return Err(OAuthSettingsError::PublicUrl);
        }
        let throttle = throttle::layer(settings.requests, settings.proxies.clone());
        Ok(Self {
            throttle: throttle.ok_or(OAuthSettingsError::Requests)?,
            directory,
            keys,
            clock,
            switchboard,
            settings,
            attempts: Attempts::new(),
        })
    }

    /// Where tokens are asked for.
    fn token_endpoint(&self) -> String {
        format!("{}/oauth/token", self.settings.public_url)
    }

    /// The resource identifier of a tenant, which its tokens have as `aud`.
    fn resource(&self, slug: &str) -> String {
        format!("{}/t/{slug}/mcp", self.settings.public_url)
    }
}

impl fmt::Debug for OAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// The routes of the authorization server.
pub fn router(state: Arc<OAuth>) -> Router {
    Router::new()
        .route("/oauth/token", post(token::issue))
        .route_layer(state.throttle.clone())
        .route(
            "/oauth/authorize",
            get(authorize::refuse).post(authorize::refuse),
        )
        .route("/oauth/jwks.json", get(metadata::key_set))
        .route(
            "/.well-known/oauth-authorization-server",
            get(metadata::authorization_server),
        )
        .route(
            "/.well-known/oauth-protected-resource/t/{slug}/mcp",
            get(metadata::protected_resource),
        )
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .layer(middleware::map_response(with_headers))
        .with_state(state)
}

/// The headers that every answer has.
async fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
