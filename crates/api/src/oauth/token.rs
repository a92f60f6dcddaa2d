//! `POST /oauth/token`: client credentials for an access token.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use portcullis_domain::Scope;
use serde::Serialize;

use super::OAuth;
use super::error::OAuthError;
use super::grant;
use super::mint::{self, Terms};
use super::request::TokenRequest;

/// RFC 6749 §5.1.
#[derive(Serialize)]
struct TokenResponse {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
    scope: String,
}

/// Answers a token request.
pub(super) async fn issue(
    State(oauth): State<Arc<OAuth>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let answer = match body {
        Ok(body) => oauth.issue(peer.ip(), &uri, &headers, &body).await,
        Err(unread) if unread.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(OAuthError::TooLarge)
        }
        Err(_broken) => Err(OAuthError::InvalidRequest(
            "the body broke off, or came too slowly",
        )),
    };
    answer.map(Json).into_response()
}

impl OAuth {
    async fn issue(
        &self,
        peer: IpAddr,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<TokenResponse, OAuthError> {
        let now = self.clock.now();
        // Where a proxy hides its client, the proxy itself is counted.
        let address = self
            .settings
            .proxies
            .client_of(headers, peer)
            .unwrap_or(peer);
        self.attempts
            .check(address, now)
            .map_err(OAuthError::TooMany)?;
        let request = TokenRequest::read(uri, headers, body)?;
        let (client, proof) = self.client(&request.credentials, address, now).await?;
        if request.grant_type != "client_credentials" {
            return Err(OAuthError::UnsupportedGrantType);
        }
        // Said to who proved to be the client alone: it may know why it is stopped.
        if let Some(stop) = self
            .switchboard
            .stops_caller(client.tenant, &client.name, now)
        {
            return Err(OAuthError::Stopped(stop.slug()));
        }
        let resource = self.resource(&client.tenant_slug);
        if request.resource.is_some_and(|asked| asked != resource) {
            return Err(OAuthError::InvalidTarget);
        }
        self.attempts
            .issuing(client.principal, now)
            .map_err(OAuthError::TooMany)?;
        let grants = self.directory.proved(&client, proof, now).await?;
        let granted = grant::decide(&grants, request.scope.as_deref(), request.purpose, now)?;
        let terms = Terms {
            issuer: &self.settings.public_url,
            resource: &resource,
            now,
            lifetime: self.settings.lifetime,
        };
        let token = mint::token(&self.keys, &terms, &client, &granted)?;
        Ok(TokenResponse {
            access_token: token.ok_or(OAuthError::InvalidScope(
                "a token with all granted scopes would be longer than 8,192 bytes: ask for fewer \
                 scopes",
            ))?,
            token_type: "Bearer",
            expires_in: self.settings.lifetime.whole_seconds(),
            scope: Scope::join(&granted.scopes),
        })
    }
}
