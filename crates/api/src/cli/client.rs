//! The HTTP client of the command line. It follows no redirect, uses no proxy of the environment and
//! sends no credential over plain HTTP to another machine.

use std::path::Path as FilePath;
use std::time::Duration;

use http::header::{ETAG, IF_MATCH};
use http::{Method, StatusCode};
use portcullis_wire::Problem;
use portcullis_wire::api::Page;
use reqwest::{ClientBuilder, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::{Host, Url};

use super::error::CliError;

const DEADLINE: Duration = Duration::from_secs(30);
const MAX_ANSWER_BYTES: usize = 64 << 20;
const PAGE_ROWS: &str = "200";

/// The last parts of a path, each encoded.
pub type Path<'a> = &'a [&'a str];

/// A connection to one server with one service token.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    server: Url,
    token: SecretString,
}

/// A thing and its version.
#[derive(Debug)]
pub struct Answer<T> {
    /// The thing.
    pub value: T,
    /// Its `ETag`.
    pub etag: Option<String>,
}

/// Refuses a server that credentials would reach in the clear.
///
/// # Errors
/// The URL is plain HTTP to another machine, or no HTTP at all.
pub fn check(server: &Url) -> Result<(), CliError> {
    let loopback = match server.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if server.scheme() == "https" || (server.scheme() == "http" && loopback) {
        return Ok(());
    }
    Err(CliError::Usage(format!(
        "{server} would carry credentials in the clear: use an https:// URL (plain http:// \
         only to this machine)"
    )))
}

/// A client that obeys the rules of this module and gives up after half a minute.
///
/// # Errors
/// The server's URL would carry credentials in the clear, the file of authorities cannot be used, or the
/// TLS library does not start.
pub fn http(server: &Url, ca_file: Option<&FilePath>) -> Result<reqwest::Client, CliError> {
    build(server, ca_file, |builder| builder.timeout(DEADLINE))
}

/// A client for questions that are answered at once or not at all, which remembers the certificate that
/// it was shown.
///
/// # Errors
/// As [`http()`].
pub fn brief_http(
    server: &Url,
    ca_file: Option<&FilePath>,
    deadline: Duration,
) -> Result<reqwest::Client, CliError> {
    build(server, ca_file, |builder| {
        builder.timeout(deadline).tls_info(true)
    })
}

/// A client for answers that may take their time, as long as something arrives within `silence`.
///
/// # Errors
/// As [`http()`].
pub fn patient_http(
    server: &Url,
    ca_file: Option<&FilePath>,
    silence: Duration,
) -> Result<reqwest::Client, CliError> {
    build(server, ca_file, |builder| builder.read_timeout(silence))
}

fn build(
    server: &Url,
    ca_file: Option<&FilePath>,
    limits: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Result<reqwest::Client, CliError> {
    check(server)?;
    let mut builder = reqwest::Client::builder();
    if let Some(path) = ca_file {
        builder = builder.tls_certs_merge(authorities(path)?);
    }
    limits(builder)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|source| unreachable_server(server, source))
}

fn authorities(path: &FilePath) -> Result<Vec<reqwest::Certificate>, CliError> {
    let pem = std::fs::read(path).map_err(|source| CliError::File {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err(CliError::Usage(format!(
            "{} holds no PEM certificate: name the file of your server's authority with --ca-file",
            path.display()
        ))),
    }
}

/// Sends a request and reads the answer, of any status.
///
/// # Errors
/// The server cannot be reached or breaks off.
pub async fn exchange(
    server: &Url,
    request: RequestBuilder,
) -> Result<(StatusCode, Option<String>, Vec<u8>), CliError> {
    let failed = |source| unreachable_server(server, source);
    let mut response: Response = request.send().await.map_err(failed)?;
    let status = response.status();
    let etag = response
        .headers()
        .get(ETAG)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len().saturating_add(chunk.len()) > MAX_ANSWER_BYTES {
            return Err(foreign(server, status));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, etag, body))
}

/// A server that cannot be reached, or broke off.
pub fn unreachable_server(server: &Url, source: reqwest::Error) -> CliError {
    CliError::Unreachable {
        server: server.to_string(),
        // The URL may hold ids; the server is named already.
        source: source.without_url(),
    }
}

/// An answer that no server of this version gives.
pub fn foreign(server: &Url, status: StatusCode) -> CliError {
    CliError::Foreign {
        server: server.to_string(),
        status: status.as_u16(),
    }
}

/// A URL below the server's.
///
/// # Errors
/// The server's URL can have no path.
pub fn below(server: &Url, path: Path<'_>) -> Result<Url, CliError> {
    let mut url = server.clone();
    match url.path_segments_mut() {
        Ok(mut segments) => {
            segments.pop_if_empty().extend(path);
        }
        Err(()) => {
            return Err(CliError::Usage(format!("{server} is no URL of a server")));
        }
    }
    Ok(url)
}

impl Client {
    /// A client of `server` that shows `token`.
    ///
    /// # Errors
    /// The server's URL would carry the token in the clear.
    pub fn new(
        server: Url,
        ca_file: Option<&FilePath>,
        token: SecretString,
    ) -> Result<Self, CliError> {
        Ok(Self {
            http: http(&server, ca_file)?,
            server,
            token,
        })
    }

    fn request(&self, method: Method, path: Path<'_>) -> Result<RequestBuilder, CliError> {
        let api = below(&self.server, &["api", "v1"])?;
        let url = below(&api, path)?;
        Ok(self
            .http
            .request(method, url)
            .bearer_auth(self.token.expose_secret()))
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<Answer<T>, CliError> {
        let (status, etag, body) = exchange(&self.server, request).await?;
        if !status.is_success() {
            return Err(match serde_json::from_slice::<Problem>(&body) {
                Ok(problem) => CliError::Refused(Box::new(problem)),
                Err(_) => foreign(&self.server, status),
            });
        }
        // An empty answer stands for nothing, which `()` reads from `null`.
        let text = if body.is_empty() {
            b"null".as_slice()
        } else {
            &body
        };
        match serde_json::from_slice(text) {
            Ok(value) => Ok(Answer { value, etag }),
            Err(_) => Err(foreign(&self.server, status)),
        }
    }

    /// Reads a thing.
    ///
    /// # Errors
    /// The server refuses or cannot be reached.
    pub async fn get<T: DeserializeOwned>(&self, path: Path<'_>) -> Result<Answer<T>, CliError> {
        self.send(self.request(Method::GET, path)?).await
    }

    /// Reads the answer to a question.
    ///
    /// # Errors
    /// The server refuses or cannot be reached.
    pub async fn get_with<T: DeserializeOwned>(
        &self,
        path: Path<'_>,
        query: &[(&str, String)],
    ) -> Result<Answer<T>, CliError> {
        self.send(self.request(Method::GET, path)?.query(query))
            .await
    }

    /// Reads a list, all pages of it, up to `most` things.
    ///
    /// # Errors
    /// The server refuses or cannot be reached.
    pub async fn list<T: DeserializeOwned>(
        &self,
        path: Path<'_>,
        query: &[(&str, String)],
        most: usize,
    ) -> Result<Vec<T>, CliError> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut request = self
                .request(Method::GET, path)?
                .query(query)
                .query(&[("limit", PAGE_ROWS)]);
            if let Some(cursor) = &cursor {
                request = request.query(&[("cursor", cursor)]);
            }
            let page: Answer<Page<T>> = self.send(request).await?;
            items.extend(page.value.items);
            cursor = page.value.next_cursor;
            if cursor.is_none() || items.len() >= most {
                items.truncate(most);
                return Ok(items);
            }
        }
    }

    /// Creates something. The request carries a fresh idempotency key, so that it is safely sent a
    /// second time where the connection breaks before the answer.
    ///
    /// # Errors
    /// The server refuses or cannot be reached.
    pub async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: Path<'_>,
        body: &B,
    ) -> Result<Answer<T>, CliError> {
        let request = self.request(Method::POST, path)?.json(body);
        self.send_once(request).await
    }

    /// Creates something from a YAML text.
    ///
    /// # Errors
    /// The server refuses or cannot be reached.
    pub async fn post_yaml<T: DeserializeOwned>(
        &self,
        path: Path<'_>,
        text: String,
    ) -> Result<Answer<T>, CliError> {
        let request = self
            .request(Method::POST, path)?
            .header(http::header::CONTENT_TYPE, "application/yaml")
            .body(text);
        self.send_once(request).await
    }

    /// Asks for an action on one version of a thing.
    ///
    /// # Errors
    /// The server refuses or cannot be reached.
    pub async fn post_to_version<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: Path<'_>,
        etag: Option<&str>,
        body: &B,
    ) -> Result<Answer<T>, CliError> {
        let request = self.request(Method::POST, path)?.json(body);
        self.send_once(if_match(request, etag)).await
    }

    async fn send_once<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<Answer<T>, CliError> {
        let key = hex::encode(portcullis_keys::entropy::random::<16>()?);
        let request = request.header("Idempotency-Key", format!("\"{key}\""));
        let again = request.try_clone();
        match (self.send(request).await, again) {
            (Err(CliError::Unreachable { source, .. }), Some(again)) if !source.is_connect() => {
                self.send(again).await
            }
            (result, _) => result,
        }
    }

    /// Changes one version of a thing.
    ///
    /// # Errors
    /// The server refuses, the thing has changed meanwhile, or the server cannot be reached.
    pub async fn change<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        method: Method,
        path: Path<'_>,
        etag: Option<&str>,
        body: &B,
    ) -> Result<Answer<T>, CliError> {
        let request = self.request(method, path)?.json(body);
        self.send(if_match(request, etag)).await
    }

    /// Revokes a thing.
    ///
    /// # Errors
    /// The server refuses or cannot be reached.
    pub async fn delete(&self, path: Path<'_>) -> Result<(), CliError> {
        let request = self.request(Method::DELETE, path)?;
        self.send::<()>(request).await.map(drop)
    }
}

fn if_match(request: RequestBuilder, etag: Option<&str>) -> RequestBuilder {
    match etag {
        Some(etag) => request.header(IF_MATCH, etag),
        None => request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_another_machine_only_under_tls() {
        for ok in [
            "https://gate.example.com",
            "http://127.0.0.1:7443",
            "http://localhost:7443",
            "http://[::1]:7443",
        ] {
            http(&ok.parse().unwrap(), None).unwrap();
        }
        for bad in [
            "http://gate.example.com",
            "http://10.0.0.7:7443",
            "http://localhost.example.com",
            "ftp://127.0.0.1",
        ] {
            let error = http(&bad.parse().unwrap(), None).unwrap_err();
            assert!(matches!(error, CliError::Usage(_)), "{bad}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_the_path() {
        let server: Url = "http://127.0.0.1:7443/".parse().unwrap();
        let url = below(&server, &["tenants", "../service-tokens?x=1#y"]).unwrap();
        assert_eq!(url.path(), "/tenants/..%2Fservice-tokens%3Fx=1%23y");
        assert_eq!((url.query(), url.fragment()), (None, None));
    }
}
