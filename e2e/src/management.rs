//! The management API as an operator's program calls it.

use anyhow::{Result, ensure};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::http::{Http, Reply};

/// A caller of `/api/v1` with one service token.
#[derive(Debug, Clone)]
pub struct Management {
    http: Http,
    url: String,
    token: String,
}

impl Management {
    /// A caller of a platform.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn new(platform_url: &str, token: String) -> Result<Self> {
        Ok(Self {
            http: Http::new()?,
            url: format!("{platform_url}/api/v1"),
            token,
        })
    }

    /// The same caller over another HTTP client.
    #[must_use]
    pub fn over(mut self, http: Http) -> Self {
        self.http = http;
        self
    }

    /// A request to a path below `/api/v1`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, &format!("{}{path}", self.url))
            .bearer_auth(&self.token)
    }

    /// Reads.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn get(&self, path: &str) -> Result<Reply> {
        Reply::to(self.request(Method::GET, path)).await
    }

    /// Creates, and expects success.
    ///
    /// # Errors
    /// The answer is no success.
    pub async fn create(&self, path: &str, body: &Value) -> Result<Value> {
        let reply = Reply::to(self.request(Method::POST, path).json(body)).await?;
        ensure!(reply.status < 300, "POST {path}: {}", reply.told());
        Ok(reply.json())
    }

    /// Replaces what is at a path, whatever its version is now, and expects success.
    ///
    /// # Errors
    /// The answer is no success.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.update(Method::PUT, path, body).await
    }

    /// Changes what is at a path, whatever its version is now, and expects success.
    ///
    /// # Errors
    /// The answer is no success.
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value> {
        self.update(Method::PATCH, path, body).await
    }

    /// Removes or revokes what is at a path, and expects success.
    ///
    /// # Errors
    /// The answer is no success.
    pub async fn remove(&self, path: &str) -> Result<()> {
        let reply = Reply::to(self.request(Method::DELETE, path)).await?;
        ensure!(reply.status < 300, "DELETE {path}: {}", reply.told());
        Ok(())
    }

    async fn update(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let present = self.get(path).await?;
        let mut request = self.request(method.clone(), path).json(body);
        if let Some(tag) = present.header("etag") {
            request = request.header("if-match", tag);
        }
        let reply = Reply::to(request).await?;
        ensure!(reply.status < 300, "{method} {path}: {}", reply.told());
        Ok(reply.json())
    }

    /// Drafts a policy and puts it in force, whatever the compiler warns of.
    ///
    /// # Errors
    /// It does not compile, or may not be published.
    pub async fn publish(&self, tenant: &str, policy: &str) -> Result<()> {
        let all = format!("/tenants/{tenant}/policies");
        let draft = self.draft(tenant, policy).await?;
        ensure!(draft.status == 201, "draft: {}", draft.told());
        let tag = draft.header("etag").unwrap_or_default().to_owned();
        let path = format!("{all}/{}/publish", draft.at("/number"));
        let request = self.request(Method::POST, &path).header("if-match", tag);
        let reply = Reply::to(request.json(&json!({"accept_warnings": true}))).await?;
        ensure!(reply.status == 200, "publish: {}", reply.told());
        Ok(())
    }

    /// Drafts a policy.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn draft(&self, tenant: &str, policy: &str) -> Result<Reply> {
        let path = format!("/tenants/{tenant}/policies");
        let request = self.request(Method::POST, &path);
        let request = request.header("content-type", "application/yaml");
        Reply::to(request.body(policy.to_owned())).await
    }

    /// The records of a trace in a tenant.
    ///
    /// # Errors
    /// The answer is no page.
    pub async fn records(&self, tenant: &str, trace: &str) -> Result<Vec<Value>> {
        let reply = self
            .get(&format!("/tenants/{tenant}/records?trace_id={trace}"))
            .await?;
        ensure!(reply.status == 200, "records: {}", reply.told());
        Ok(reply.at("/items").as_array().cloned().unwrap_or_default())
    }
}
