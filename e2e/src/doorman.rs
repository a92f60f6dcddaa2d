//! A proxy on the side of a test peer that cannot show a token: it adds one, and changes nothing else.
//!
//! A peer that names the proxy as its host is taken to name the platform; any other `Host` and every
//! `Origin` goes on as it is, so that what the platform makes of it is what the peer sees.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONNECTION, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Where a proxy is going to stand.
#[derive(Debug)]
pub struct Post {
    listener: TcpListener,
    address: SocketAddr,
}

/// A running proxy. Dropping it stops it.
#[derive(Debug)]
pub struct Doorman {
    address: SocketAddr,
    stop: CancellationToken,
}

#[derive(Debug, Clone)]
struct Way {
    http: reqwest::Client,
    endpoint: String,
    token: HeaderValue,
    own: String,
    platform: String,
}

impl Post {
    /// Takes an address, before there is anything to stand before.
    ///
    /// # Errors
    /// Nothing can be listened on.
    pub async fn take() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen")?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The origin of pages that would be served here.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stands before an MCP endpoint with a token for it.
    ///
    /// # Errors
    /// The endpoint or the token is none.
    pub fn before(self, endpoint: &str, token: &str) -> Result<Doorman> {
        let Self { listener, address } = self;
        let uri: Uri = endpoint.parse().context("read the endpoint")?;
        let mut token = HeaderValue::from_str(&format!("Bearer {token}"))?;
        token.set_sensitive(true);
        let way = Way {
            http: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()?,
            endpoint: endpoint.to_owned(),
            token,
            own: address.to_string(),
            platform: uri.authority().context("find the host")?.to_string(),
        };
        let router = Router::new().fallback(pass).with_state(way);
        let stop = CancellationToken::new();
        let ended = stop.clone().cancelled_owned();
        let tasks = TaskTracker::new();
        tasks.spawn(async move {
            let _ended = axum::serve(listener, router)
                .with_graceful_shutdown(ended)
                .await;
        });
        Ok(Doorman { address, stop })
    }
}

impl Doorman {
    /// The endpoint as the peer is to name it.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }
}

impl Drop for Doorman {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn pass(State(way): State<Way>, method: Method, request: axum::extract::Request) -> Response {
    match passed(&way, method, request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

async fn passed(way: &Way, method: Method, request: axum::extract::Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, 8 << 20).await?;
    let mut headers = parts.headers;
    if headers
        .get(HOST)
        .is_some_and(|host| host == way.own.as_str())
    {
        headers.insert(HOST, HeaderValue::from_str(&way.platform)?);
    }
    headers.remove(CONNECTION);
    headers.remove(TRANSFER_ENCODING);
    headers.insert(AUTHORIZATION, way.token.clone());
    let answer = way
        .http
        .request(method, &way.endpoint)
        .headers(headers)
        .body(body)
        .send()
        .await
        .context("reach the platform")?;
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if name != CONNECTION && name != TRANSFER_ENCODING {
            response = response.header(name, value);
        }
    }
    // A stream goes on as it comes.
    Ok(response.body(Body::new(reqwest::Body::from(answer)))?)
}
