//! A principal of a tenant that belongs to one test alone: made through the management API, with
//! limits and grants of its own, so that tests on one platform do not disturb each other.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::http::{Http, Reply};
use crate::management::Management;
use crate::mcp::McpClient;
use crate::platform::Platform;
use crate::wait;

/// What a new principal may do, and how much of it.
#[derive(Debug, Clone)]
pub struct Grants {
    scopes: Vec<String>,
    limits: Value,
}

impl Default for Grants {
    fn default() -> Self {
        Self::of(&["orders.read"])
    }
}

impl Grants {
    /// Grants of some scopes, with limits that no test meets by accident.
    pub fn of(scopes: &[&str]) -> Self {
        Self {
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            limits: json!({
                "rpm": 600_000, "burst": 100_000, "concurrency": 1_000, "daily_cost_usd": 10_000
            }),
        }
    }

    /// With the limits of a newcomer (play 7).
    #[must_use]
    pub fn and_limits(mut self, limits: Value) -> Self {
        self.limits = limits;
        self
    }
}

/// A principal with a client secret.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Its tenant's slug.
    pub tenant: String,
    /// Its name.
    pub name: String,
    /// Its OAuth client id, which is its id.
    pub client_id: String,
    /// Its OAuth client secret.
    pub client_secret: String,
    pub(crate) ca_file: Option<PathBuf>,
    token_url: String,
    resource: String,
}

impl Platform {
    /// The management API as a tenant's owner.
    ///
    /// # Errors
    /// The operator file names none.
    pub fn owner(&self, tenant: &str) -> Result<Management> {
        let http = Http::trusting(self.authority().as_deref())?;
        Ok(Management::new(self.url(), self.operator().owner_token(tenant)?)?.over(http))
    }

    /// One of the principals that the platform was seeded with.
    ///
    /// # Errors
    /// The operator file does not name it.
    pub fn seeded(&self, tenant: &str, name: &str) -> Result<Agent> {
        let (client_id, client_secret) = self.operator().client(tenant, name)?;
        Ok(self.agent_of(tenant, name.to_owned(), client_id, client_secret))
    }

    /// A fresh principal of a tenant.
    ///
    /// # Errors
    /// The management API refuses a step.
    pub async fn agent(&self, tenant: &str, grants: &Grants) -> Result<Agent> {
        let owner = self.owner(tenant)?;
        let origins = (self.url(), self.url());
        let mut agent = Agent::create(&owner, origins, tenant, grants).await?;
        agent.ca_file = self.authority();
        Ok(agent)
    }

    /// A fresh principal of a tenant with a token, seen by the replica.
    ///
    /// # Errors
    /// A step is refused.
    pub async fn caller(&self, tenant: &str) -> Result<McpClient> {
        self.agent(tenant, &Grants::default()).await?.caller().await
    }

    fn agent_of(&self, tenant: &str, name: String, id: String, secret: String) -> Agent {
        Agent {
            tenant: tenant.to_owned(),
            name,
            client_id: id,
            client_secret: secret,
            ca_file: self.authority(),
            token_url: format!("{}/oauth/token", self.url()),
            resource: self.mcp_url(tenant),
        }
    }
}

impl Agent {
    /// A fresh principal of a tenant, made through `owner`, that gets its tokens at the first origin
    /// for the endpoint that the second, the public one, names.
    ///
    /// # Errors
    /// The management API refuses a step.
    pub async fn create(
        owner: &Management,
        (issuer, public): (&str, &str),
        tenant: &str,
        grants: &Grants,
    ) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("agent:e2e-{}-{number}", std::process::id());
        let all = format!("/tenants/{tenant}/principals");
        let made = owner.create(&all, &json!({"name": name})).await?;
        let id = text(&made, "/id")?;
        let own = format!("{all}/{id}");
        for scope in &grants.scopes {
            let grant = json!({"scope": scope, "purpose": null, "expires_at": null});
            owner.create(&format!("{own}/grants"), &grant).await?;
        }
        let limits = json!({
            "principal": name,
            "limits": grants.limits,
            "stop_rules": {"max_plan_depth": 12, "max_retries": 3},
        });
        owner.put(&format!("{own}/limits"), &limits).await?;
        let secret = owner.create(&format!("{own}/secrets"), &json!({})).await?;
        Ok(Self {
            tenant: tenant.to_owned(),
            name,
            client_id: id,
            client_secret: text(&secret, "/client_secret")?,
            ca_file: None,
            token_url: format!("{issuer}/oauth/token"),
            resource: format!("{public}/t/{tenant}/mcp"),
        })
    }

    /// What a client is to trust to believe the platform's certificate.
    pub fn authority(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    fn http(&self) -> Result<Http> {
        Http::trusting(self.authority())
    }

    /// The tenant's MCP endpoint.
    pub fn mcp_url(&self) -> &str {
        &self.resource
    }

    /// Asks the token endpoint for a token.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ask_for_token(&self, http: &Http, scope: Option<&str>) -> Result<Reply> {
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_id", self.client_id.as_str()),
            ("client_secret", self.client_secret.as_str()),
            ("resource", self.resource.as_str()),
        ];
        if let Some(scope) = scope {
            form.push(("scope", scope));
        }
        Reply::to(http.post(&self.token_url).form(&form)).await
    }

    /// A token with every scope that is granted.
    ///
    /// # Errors
    /// The token endpoint refuses.
    pub async fn token(&self) -> Result<String> {
        let reply = self.ask_for_token(&self.http()?, None).await?;
        ensure!(reply.status == 200, "token: {}", reply.told());
        text(&reply.json(), "/access_token")
    }

    /// A caller with a fresh token, once the replica knows the principal.
    ///
    /// # Errors
    /// The token endpoint refuses, or the replica never lets it in.
    pub async fn caller(&self) -> Result<McpClient> {
        let client = McpClient::new(&self.http()?, self.resource.clone(), self.token().await?);
        wait::until(
            "the replica's knowledge of a new principal",
            PATIENCE,
            || async {
                let seen = client.send("tools/list", json!({})).await?;
                Ok((seen.status == 200).then_some(()))
            },
        )
        .await?;
        Ok(client)
    }
}

/// How long a change may take until a replica knows it.
pub const PATIENCE: Duration = Duration::from_secs(20);

fn text(value: &Value, pointer: &str) -> Result<String> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .with_context(|| format!("the answer has no {pointer}"))
}
