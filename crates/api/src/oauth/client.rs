//! Who asks for a token: proved by a secret (RFC 6749 §2.3.1) or by an assertion that a registered key
//! signed (RFC 7523 §3). Every failure is the same refusal, after the same questions to the directory.

use std::net::IpAddr;

use portcullis_domain::id::{ClientKey, ClientSecret, Id, Principal};
use portcullis_mcp_runtime::token::{Assertion, AssertionUse};
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;
use uuid::Uuid;

use super::OAuth;
use super::directory::{Client, Proof, StoredKey, StoredSecret};
use super::error::OAuthError;
use super::request::{Credentials, SecretCredentials};
use crate::client_key::ClientPublicKey;
use crate::credential;

impl OAuth {
    /// The client that the credentials prove, and by what.
    pub(super) async fn client(
        &self,
        credentials: &Credentials,
        address: IpAddr,
        now: OffsetDateTime,
    ) -> Result<(Client, Proof), OAuthError> {
        let (named, proved) = match credentials {
            Credentials::Secret(shown) => self.by_secret(shown, now).await?,
            Credentials::Assertion {
                client_id,
                assertion,
            } => {
                self.by_assertion(client_id.as_deref(), assertion, now)
                    .await?
            }
        };
        match proved {
            Some((client, proof)) if client.active => Ok((client, proof)),
            Some(_) | None => {
                self.attempts
                    .failed(address, named, now)
                    .map_err(OAuthError::TooMany)?;
                Err(OAuthError::InvalidClient)
            }
        }
    }

    async fn by_secret(
        &self,
        shown: &SecretCredentials,
        now: OffsetDateTime,
    ) -> Result<(Option<Id<Principal>>, Option<(Client, Proof)>), OAuthError> {
        let (named, found) = self.find(&shown.client_id).await?;
        let secrets = found.as_ref().map_or(&[][..], |client| &client.secrets);
        let proof = shown_one(shown, secrets, now).map(Proof::Secret);
        Ok((named, found.zip(proof)))
    }

    async fn by_assertion(
        &self,
        client_id: Option<&str>,
        text: &str,
        now: OffsetDateTime,
    ) -> Result<(Option<Id<Principal>>, Option<(Client, Proof)>), OAuthError> {
        let assertion = Assertion::parse(text).ok();
        let named = assertion.as_ref().map_or("", Assertion::client);
        let (id, found) = self.find(named).await?;
        let (Some(assertion), Some(client)) = (&assertion, found) else {
            return Ok((id, None));
        };
        if client_id.is_some_and(|other| other != named) {
            return Ok((id, None));
        }
        let Some((key, used)) = self.verified(assertion, &client.keys, now) else {
            return Ok((id, None));
        };
        // Asked last, so that nobody but the key's holder uses up an id.
        if !self.directory.first_use(&client, &used, now).await? {
            return Ok((id, None));
        }
        Ok((id, Some((client, Proof::Key(key)))))
    }

    async fn find(
        &self,
        client_id: &str,
    ) -> Result<(Option<Id<Principal>>, Option<Client>), OAuthError> {
        let named: Option<Id<Principal>> = client_id.parse().ok();
        // Nothing is ever minted with this id.
        let asked = named.unwrap_or(Id::from_row(Uuid::nil()));
        Ok((named, self.directory.client(asked).await?))
    }

    /// The key that the assertion names, if that is one that counts and did sign it for us.
    fn verified(
        &self,
        assertion: &Assertion<'_>,
        keys: &[StoredKey],
        now: OffsetDateTime,
    ) -> Option<(Id<ClientKey>, AssertionUse)> {
        let stored = keys.iter().find(|key| key.kid == assertion.kid())?;
        if stored.expires_at.is_some_and(|end| end <= now) {
            return None;
        }
        let jwk = serde_json::from_str(&stored.jwk).ok()?;
        let public = ClientPublicKey::parse(&jwk).ok()?;
        let endpoint = self.token_endpoint();
        // The issuer is what should be named (RFC 7523bis); many libraries name the endpoint.
        let audiences = [self.settings.public_url.as_str(), &endpoint];
        let used = assertion.verify(&public.key, audiences, now).ok()?;
        Some((stored.id, used))
    }
}

/// The secret that was shown, if it is one that counts. Every secret is compared, each in constant
/// time.
fn shown_one(
    credentials: &SecretCredentials,
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
