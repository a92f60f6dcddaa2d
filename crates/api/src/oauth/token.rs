//! `POST /oauth/token`: client credentials for an access token.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Uri};
use portcullis_domain::Scope;
use portcullis_domain::id::{Id, Principal};
use secrecy::ExposeSecret;
use serde::Serialize;
use subtle::{Choice, ConstantTimeEq};
use time::OffsetDateTime;
use uuid::Uuid;

use super::OAuth;
use super::directory::{Client, StoredSecret};
use super::error::OAuthError;
use super::grant;
use super::mint::{self, Terms};
use super::request::{Credentials, TokenRequest};
use crate::credential;

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
        Err(_unread) => Err(OAuthError::TooLarge),
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
        let client = self.client(&request.credentials, address, now).await?;
        if request.grant_type != "client_credentials" {
            return Err(OAuthError::UnsupportedGrantType);
        }
        let resource = self.resource(&client.tenant_slug);
        if request.resource.is_some_and(|asked| asked != resource) {
            return Err(OAuthError::InvalidTarget);
        }
        let grants = self
            .directory
            .grants(client.tenant, client.principal)
            .await?;
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

    /// The client that the credentials prove. Every failure is the same refusal, after the same
    /// questions to the directory and the same comparisons.
    async fn client(
        &self,
        credentials: &Credentials,
        address: IpAddr,
        now: OffsetDateTime,
    ) -> Result<Client, OAuthError> {
        let named: Option<Id<Principal>> = credentials.client_id.parse().ok();
        // Nothing is ever minted with this id.
        let asked = named.unwrap_or(Id::from_row(Uuid::nil()));
        let found = self.directory.client(asked).await?;
        let secrets = found.as_ref().map_or(&[][..], |client| &client.secrets);
        let proved = bool::from(shows_one_of(credentials, secrets, now));
        match found {
            Some(client) if proved && client.active => Ok(client),
            Some(_) | None => {
                self.attempts
                    .failed(address, named, now)
                    .map_err(OAuthError::TooMany)?;
                Err(OAuthError::InvalidClient)
            }
        }
    }
}

/// Whether the shown secret is one that counts. Takes as long whichever it is, and compares once
/// more than there are secrets, so that none is not quicker than one.
fn shows_one_of(
    credentials: &Credentials,
    secrets: &[StoredSecret],
    now: OffsetDateTime,
) -> Choice {
    let shown = credential::hash(credentials.client_secret.expose_secret());
    let nobodys = shown.ct_eq(&[0; 32]) & Choice::from(0);
    secrets.iter().fold(nobodys, |proved, secret| {
        let counts = secret.expires_at.is_none_or(|end| now < end);
        proved | (shown.ct_eq(&secret.hash) & Choice::from(u8::from(counts)))
    })
}
