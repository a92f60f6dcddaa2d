//! Access tokens for one MCP endpoint: its metadata names the authorization server (RFC 9728, RFC 8414),
//! which gives a token for client credentials (RFC 6749 §4.4). Credentials go to no endpoint that speaks
//! plain HTTP from another machine, and a token is never written anywhere.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use portcullis_domain::Clock;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;
use url::Url;

use super::client;
use super::credentials::{Credentials, JWT_BEARER, Proof};
use super::error::CliError;

/// A token is replaced this long before it ends, or after nine tenths of a short life.
const BEFORE_END: Duration = Duration::from_secs(30);

/// What the metadata of a protected resource says (RFC 9728 §2), as far as it is needed here.
#[derive(Debug, Deserialize)]
struct Resource {
    resource: String,
    authorization_servers: Vec<Url>,
}

/// What the metadata of an authorization server says (RFC 8414 §2), as far as it is needed here.
#[derive(Debug, Deserialize)]
struct Server {
    issuer: String,
    token_endpoint: Url,
}

/// RFC 6749 §5.2.
#[derive(Debug, Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

/// RFC 6749 §5.1.
#[derive(Debug, Deserialize)]
struct Issued {
    access_token: SecretString,
    expires_in: u64,
}

#[derive(Serialize)]
struct Request<'a> {
    grant_type: &'static str,
    resource: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_assertion_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_assertion: Option<String>,
}

/// Where tokens for an endpoint come from.
#[derive(Debug, Clone)]
pub struct Discovered {
    /// The resource's own name for itself.
    pub resource: String,
    /// The authorization server's own name for itself.
    pub issuer: String,
    /// Where to ask for tokens.
    pub token_endpoint: Url,
}

/// Finds out where tokens for an MCP endpoint come from.
///
/// # Errors
/// The server cannot be reached, its metadata contradict themselves, or would send credentials in the clear.
pub async fn discover(http: &reqwest::Client, endpoint: &Url) -> Result<Discovered, CliError> {
    let resource: Resource =
        document(http, &well_known(endpoint, "oauth-protected-resource")?).await?;
    let Some(issuer) = resource.authorization_servers.into_iter().next() else {
        return Err(CliError::Failed(format!(
            "{endpoint} names no authorization server in its metadata (RFC 9728): is it a Portcullis \
             endpoint?"
        )));
    };
    client::check(&issuer)?;
    let server: Server =
        document(http, &well_known(&issuer, "oauth-authorization-server")?).await?;
    // RFC 8414 §3.3: what another server says of itself does not count.
    if server.issuer.trim_end_matches('/') != issuer.as_str().trim_end_matches('/') {
        return Err(CliError::Failed(format!(
            "the authorization server {issuer} calls itself {} (RFC 8414 §3.3)",
            server.issuer
        )));
    }
    client::check(&server.token_endpoint)?;
    Ok(Discovered {
        resource: resource.resource,
        issuer: server.issuer,
        token_endpoint: server.token_endpoint,
    })
}

/// Asks for a token. What comes back is the whole response (RFC 6749 §5.1).
///
/// # Errors
/// The server refuses or cannot be reached.
pub async fn request(
    http: &reqwest::Client,
    from: &Discovered,
    who: &Credentials,
    scope: Option<&str>,
    clock: &dyn Clock,
) -> Result<Value, CliError> {
    let mut form = Request {
        grant_type: "client_credentials",
        resource: &from.resource,
        scope,
        client_assertion_type: None,
        client_assertion: None,
    };
    let mut request = http.post(from.token_endpoint.clone());
    match &who.proof {
        Proof::Secret(secret) => {
            request = request.basic_auth(who.client_id, Some(secret.expose_secret()));
        }
        Proof::Key(key) => {
            form.client_assertion_type = Some(JWT_BEARER);
            form.client_assertion = Some(key.assertion(who.client_id, &from.issuer, clock)?);
        }
    }
    let request = request.form(&form);
    let (status, _, body) = client::exchange(&from.token_endpoint, request).await?;
    if status.is_success() {
        return read(&from.token_endpoint, status, &body);
    }
    let refusal: Refusal = read(&from.token_endpoint, status, &body)?;
    Err(CliError::TokenRefused {
        credentials: refusal.error == "invalid_client",
        code: refusal.error,
        description: refusal
            .error_description
            .map(|text| format!(": {text}"))
            .unwrap_or_default(),
    })
}

/// A well-known document's place for an identifier with a path (RFC 8414 §3.1, RFC 9728 §3.1).
fn well_known(of: &Url, name: &str) -> Result<Url, CliError> {
    let mut url = of.clone();
    url.set_query(None);
    url.set_fragment(None);
    let path = of.path().trim_end_matches('/');
    url.set_path(&format!("/.well-known/{name}{path}"));
    client::check(&url)?;
    Ok(url)
}

async fn document<T: DeserializeOwned>(http: &reqwest::Client, url: &Url) -> Result<T, CliError> {
    let (status, _, body) = client::exchange(url, http.get(url.clone())).await?;
    if status == StatusCode::NOT_FOUND {
        return Err(CliError::Failed(format!(
            "there is nothing at {url}: is the address that of a tenant's MCP endpoint, such as \
             https://HOST/t/TENANT/mcp?"
        )));
    }
    read(url, status, &body)
}

fn read<T: DeserializeOwned>(server: &Url, status: StatusCode, body: &[u8]) -> Result<T, CliError> {
    match serde_json::from_slice(body) {
        Ok(value) => Ok(value),
        Err(_) => Err(client::foreign(server, status)),
    }
}

#[derive(Debug)]
struct Kept {
    token: Arc<SecretString>,
    renew_at: Instant,
}

/// One principal's access to one endpoint. Tokens are shared by all calls and renewed in time.
#[derive(Debug)]
pub struct Access<'a> {
    http: reqwest::Client,
    endpoint: Url,
    who: Credentials,
    clock: &'a dyn Clock,
    discovered: OnceCell<Discovered>,
    kept: Mutex<Option<Kept>>,
}

impl<'a> Access<'a> {
    /// Asks nobody yet.
    pub fn new(
        http: reqwest::Client,
        endpoint: Url,
        who: Credentials,
        clock: &'a dyn Clock,
    ) -> Self {
        Self {
            http,
            endpoint,
            who,
            clock,
            discovered: OnceCell::new(),
            kept: Mutex::new(None),
        }
    }

    /// Where the calls go.
    pub const fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// A token that lasts a while yet.
    ///
    /// # Errors
    /// The server refuses or cannot be reached.
    pub async fn token(&self) -> Result<Arc<SecretString>, CliError> {
        let mut kept = self.kept.lock().await;
        match &*kept {
            Some(known) if Instant::now() < known.renew_at => Ok(Arc::clone(&known.token)),
            Some(_) | None => self.renew(&mut kept).await,
        }
    }

    /// Another token than one that was refused. Where somebody has renewed it meanwhile, theirs.
    ///
    /// # Errors
    /// As [`Self::token`].
    pub async fn instead_of(
        &self,
        refused: &Arc<SecretString>,
    ) -> Result<Arc<SecretString>, CliError> {
        let mut kept = self.kept.lock().await;
        match &*kept {
            Some(known) if !Arc::ptr_eq(&known.token, refused) => Ok(Arc::clone(&known.token)),
            Some(_) | None => self.renew(&mut kept).await,
        }
    }

    async fn renew(&self, kept: &mut Option<Kept>) -> Result<Arc<SecretString>, CliError> {
        // The old one is not offered again, whatever becomes of the new one.
        *kept = None;
        let discovered = self.discovered.get_or_try_init(|| self.discover()).await?;
        // Its life begins before it arrives, never after.
        let asked = Instant::now();
        let issued = request(&self.http, discovered, &self.who, None, self.clock).await?;
        let Ok(Issued {
            access_token,
            expires_in,
        }) = serde_json::from_value(issued)
        else {
            return Err(client::foreign(&discovered.token_endpoint, StatusCode::OK));
        };
        let life = Duration::from_secs(expires_in);
        let token = Arc::new(access_token);
        *kept = Some(Kept {
            token: Arc::clone(&token),
            renew_at: asked + life.saturating_sub(BEFORE_END.min(life / 10)),
        });
        Ok(token)
    }

    async fn discover(&self) -> Result<Discovered, CliError> {
        let endpoint = self.endpoint();
        let found = discover(&self.http, endpoint).await?;
        // RFC 9728 §3.3: metadata of another resource do not count for this one.
        if found.resource != endpoint.as_str() {
            return Err(CliError::Failed(format!(
                "{endpoint} calls itself {}: use that address",
                found.resource
            )));
        }
        Ok(found)
    }
}
