//! A plain HTTP client with a chosen source address. It follows no redirect, uses no proxy and adds
//! nothing of its own.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

/// A client with its own connections.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
}

impl Http {
    /// A client that calls from the address that the system chooses.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn new() -> Result<Self> {
        Self::build(None, None)
    }

    /// A client that calls from `source`.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn calling_from(source: IpAddr) -> Result<Self> {
        Self::build(Some(source), None)
    }

    /// A client that believes what this authority signs, too.
    ///
    /// # Errors
    /// The file holds no certificate, or the client cannot be made.
    pub fn trusting(authority: Option<&Path>) -> Result<Self> {
        Self::build(None, authority)
    }

    fn build(source: Option<IpAddr>, authority: Option<&Path>) -> Result<Self> {
        let mut builder = reqwest::Client::builder();
        if let Some(path) = authority {
            let pem = std::fs::read(path).context("read an authority")?;
            builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(&pem)?);
        }
        let client = builder
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .local_address(source)
            .timeout(Duration::from_mins(1))
            .build()
            .context("make an HTTP client")?;
        Ok(Self { client })
    }

    /// Starts a request.
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Starts a GET.
    pub fn get(&self, url: &str) -> RequestBuilder {
        self.client.get(url)
    }

    /// Starts a POST.
    pub fn post(&self, url: &str) -> RequestBuilder {
        self.client.post(url)
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Reply {
    /// Sends a request and reads its answer to the end.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn to(request: RequestBuilder) -> Result<Self> {
        let response = request.send().await.context("send a request")?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let body = response.bytes().await.context("read an answer")?.to_vec();
        Ok(Self {
            status,
            headers,
            body,
        })
    }

    /// A header, if it is there once and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next()?;
        if values.next().is_some() {
            return None;
        }
        first.to_str().ok()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// One line that says what this was, for the message of a failed assertion.
    pub fn told(&self) -> String {
        format!("{} {:?} {}", self.status, self.headers, self.text())
    }
}
