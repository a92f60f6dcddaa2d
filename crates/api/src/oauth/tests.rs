//! The endpoints from outside, over a directory in memory; tokens are held against the verifier that
//! room 1 uses.

mod assertions;
mod documents;
mod issued;
mod refused;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, StatusCode};
use portcullis_domain::ManualClock;
use portcullis_domain::id::{ClientSecret, Id, Principal, Tenant};
use portcullis_keys::LocalKeys;
use portcullis_mcp_runtime::switchboard::Switchboard;
use portcullis_mcp_runtime::token::{AssertionUse, TrustedProxies};
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tower::ServiceExt;
use uuid::Uuid;

use super::{
    Client, ClientGrant, Directory, DirectoryError, OAuth, OAuthSettings, Proof, StoredSecret,
    router,
};
use crate::credential;

pub(super) const NOW: i64 = 1_760_000_040;
pub(super) const URL: &str = "https://gate.example.com";
pub(super) const RESOURCE: &str = "https://gate.example.com/t/acme/mcp";
pub(super) const SECRET: &str = "pcs_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
pub(super) const PEER: &str = "192.0.2.1:4711";

/// A directory in memory that counts how often it is asked.
#[derive(Debug, Default)]
pub(super) struct MemoryDirectory {
    pub(super) clients: Mutex<HashMap<Id<Principal>, Client>>,
    pub(super) grants: Mutex<Vec<ClientGrant>>,
    /// The ids of assertions that were used.
    pub(super) assertions: Mutex<HashSet<(Id<Principal>, String)>>,
    /// By which secrets clients proved themselves.
    pub(super) proofs: Mutex<Vec<Proof>>,
    pub(super) asked: AtomicUsize,
    pub(super) broken: AtomicBool,
}

impl MemoryDirectory {
    fn ask(&self) -> Result<(), DirectoryError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.broken.load(Ordering::SeqCst) {
            return Err(DirectoryError("hunter2 at db:5432".into()));
        }
        Ok(())
    }
}

impl Directory for MemoryDirectory {
    fn client(&self, id: Id<Principal>) -> BoxFuture<'_, Result<Option<Client>, DirectoryError>> {
        async move {
            self.ask()?;
            Ok(self.clients.lock().unwrap().get(&id).cloned())
        }
        .boxed()
    }

    fn first_use<'a>(
        &'a self,
        client: &'a Client,
        assertion: &'a AssertionUse,
        _now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<bool, DirectoryError>> {
        async move {
            self.ask()?;
            let used = (client.principal, assertion.token_id.clone());
            Ok(self.assertions.lock().unwrap().insert(used))
        }
        .boxed()
    }

    fn proved<'a>(
        &'a self,
        _client: &'a Client,
        by: Proof,
        _now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Vec<ClientGrant>, DirectoryError>> {
        async move {
            self.ask()?;
            self.proofs.lock().unwrap().push(by);
            Ok(self.grants.lock().unwrap().clone())
        }
        .boxed()
    }
}

pub(super) fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

/// The id of the n-th client.
pub(super) fn client_id(n: u128) -> Id<Principal> {
    Id::from_row(Uuid::from_u128(n))
}

/// The id of the n-th secret.
pub(super) fn secret_id(n: u128) -> Id<ClientSecret> {
    Id::from_row(Uuid::from_u128(n))
}

pub(super) fn acme() -> Id<Tenant> {
    Id::from_row(Uuid::from_u128(0xac))
}

fn grant(scope: &str, purpose: Option<&str>) -> ClientGrant {
    ClientGrant {
        scope: scope.parse().unwrap(),
        purpose: purpose.map(str::to_owned),
        expires_at: None,
    }
}

/// A running authorization server with client 1 of the tenant acme.
pub(super) struct Server {
    router: Router,
    pub(super) directory: Arc<MemoryDirectory>,
    pub(super) keys: Arc<LocalKeys>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) switchboard: Switchboard,
}

/// An answer, read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            body: axum::body::to_bytes(body, 1 << 20).await.unwrap(),
        }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The `error` of an OAuth refusal.
    pub(super) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    pub(super) fn token(&self) -> String {
        assert_eq!(self.status, StatusCode::OK, "{:?}", self.body);
        self.json()["access_token"].as_str().unwrap().to_owned()
    }
}

pub(super) fn local_keys() -> Arc<LocalKeys> {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("keys.json");
    Arc::new(LocalKeys::open_or_create(&path, at(NOW)).unwrap())
}

pub(super) fn settings() -> OAuthSettings {
    OAuthSettings {
        public_url: URL.to_owned(),
        lifetime: Duration::seconds(600),
        proxies: TrustedProxies::default(),
        requests: super::RequestRate::default(),
    }
}

impl Server {
    pub(super) fn new() -> Self {
        Self::with(local_keys(), settings())
    }

    pub(super) fn with(keys: Arc<LocalKeys>, settings: OAuthSettings) -> Self {
        let client = Client {
            tenant: acme(),
            tenant_slug: "acme".to_owned(),
            principal: client_id(1),
            name: "agent:copilot".parse().unwrap(),
            active: true,
            secrets: vec![StoredSecret {
                id: secret_id(1),
                hash: credential::hash(SECRET),
                expires_at: None,
            }],
            keys: Vec::new(),
        };
        let directory = Arc::new(MemoryDirectory {
            clients: Mutex::new(HashMap::from([(client_id(1), client)])),
            grants: Mutex::new(vec![
                grant("orders.read", None),
                grant("flags.write:staging", None),
                grant("refunds.write", Some("support")),
            ]),
            ..MemoryDirectory::default()
        });
        let clock = Arc::new(ManualClock::at(NOW));
        let switchboard = Switchboard::default();
        let oauth = OAuth::new(
            Arc::<MemoryDirectory>::clone(&directory),
            Arc::clone(&keys),
            Arc::<ManualClock>::clone(&clock),
            switchboard.clone(),
            settings,
        );
        Self {
            router: router(Arc::new(oauth.unwrap())),
            directory,
            keys,
            clock,
            switchboard,
        }
    }

    /// Changes client 1.
    pub(super) fn change(&self, change: impl FnOnce(&mut Client)) {
        let mut clients = self.directory.clients.lock().unwrap();
        change(clients.get_mut(&client_id(1)).unwrap());
    }

    pub(super) async fn send(&self, mut request: Request<Body>, peer: &str) -> Answer {
        let peer: SocketAddr = peer.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        Answer::of(self.router.clone().oneshot(request).await.unwrap()).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).body(Body::empty()).unwrap();
        self.send(request, PEER).await
    }

    /// A token request with credentials in the header.
    pub(super) async fn ask_as(&self, id: &str, secret: &str, form: &str, peer: &str) -> Answer {
        let request = post()
            .header(AUTHORIZATION, basic(id, secret))
            .body(Body::from(form.to_owned()))
            .unwrap();
        self.send(request, peer).await
    }

    /// A token request of client 1, with more parameters than the grant type.
    pub(super) async fn ask(&self, more: &str) -> Answer {
        let form = format!("grant_type=client_credentials{more}");
        let id = client_id(1).to_string();
        self.ask_as(&id, SECRET, &form, PEER).await
    }

    pub(super) async fn ask_with(&self, headers: &[(&str, &str)], form: &str) -> Answer {
        let mut request = Request::builder().method(Method::POST).uri("/oauth/token");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(form.to_owned())).unwrap(), PEER)
            .await
    }
}

pub(super) const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn post() -> http::request::Builder {
    Request::builder()
        .method(Method::POST)
        .uri("/oauth/token")
        .header(CONTENT_TYPE, FORM.1)
}

pub(super) fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

/// A part of a compact JWS, unverified.
pub(super) fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
