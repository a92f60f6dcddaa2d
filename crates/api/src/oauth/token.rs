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
use portcullis_domain::id::{ClientSecret, Id, Principal};
use secrecy::ExposeSecret;
use serde::Serialize;
use subtle::ConstantTimeEq;
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
        let (client, secret) = self.client(&request.credentials, address, now).await?;
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
        let grants = self.directory.proved(&client, secret, now).await?;
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

    /// The client that the credentials prove, and the secret that proves it. Every failure is the
    /// same refusal, after the same questions to the directory and the same comparisons.
    async fn client(
        &self,
        credentials: &Credentials,
        address: IpAddr,
        now: OffsetDateTime,
    ) -> Result<(Client, Id<ClientSecret>), OAuthError> {
        let named: Option<Id<Principal>> = credentials.client_id.parse().ok();
        // Nothing is ever minted with this id.
        let asked = named.unwrap_or(Id::from_row(Uuid::nil()));
        let found = self.directory.client(asked).await?;
        let secrets = found.as_ref().map_or(&[][..], |client| &client.secrets);
        let proof = shown_one(credentials, secrets, now);
        match (found, proof) {
            (Some(client), Some(secret)) if client.active => Ok((client, secret)),
            (Some(_) | None, Some(_) | None) => {
                self.attempts
                    .failed(address, named, now)
                    .map_err(OAuthError::TooMany)?;
                Err(OAuthError::InvalidClient)
            }
        }
    }
}

/// The secret that was shown, if it is one that counts. Every secret is compared, each in constant
/// time.
fn shown_one(
    credentials: &Credentials,
    secrets: &[StoredSecret],
    now: OffsetDateTime,
) -> Option<Id<ClientSecret>> {
    let shown = credential::hash(credentials.client_secret.expose_secret());
    secrets.iter().fold(None, |proof, secret| {
        let counts = secret.expires_at.is_none_or(|end| now < end);
        let same = bool::from(shown.ct_eq(&secret.hash));
        proof.or((same && counts).then_some(secret.id))
    })
}
