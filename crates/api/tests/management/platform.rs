//! One replica's management API over databases of its own, with the tenants `acme` and `globex`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH};
use http::{HeaderMap, Method, Request, StatusCode};
use portcullis_api::credential::{self, NewSecret};
use portcullis_api::v1::{self, Baseline, Defaults, Parts, State};
use portcullis_domain::id::Id;
use portcullis_domain::{Limits, ManualClock, MicroUsd, Pool, StopRules};
use portcullis_mcp_runtime::connectors::native;
use portcullis_mcp_runtime::token::TrustedProxies;
use portcullis_store::service_tokens::{self, NewServiceToken};
use portcullis_store::{ControlStore, RegionStore};
use portcullis_wire::api::Role;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tower::ServiceExt;
use zeroize::Zeroizing;

use crate::cluster::{Cluster, Superuser};
use crate::conformity;

const NOW: i64 = 1_760_000_040;
/// Where the platform says that it is.
pub(crate) const URL: &str = "https://gate.example.com";
/// The policy that a new tenant begins with, as shipped.
pub(crate) const POLICY: &str = include_str!("../../../../policies/default.yaml");

/// So many seconds after the tests' present.
pub(crate) fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW + seconds).unwrap()
}

/// That time as JSON has it.
pub(crate) fn text_at(seconds: i64) -> String {
    at(seconds)
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap()
}

/// An id that no other thing of this process has.
pub(crate) fn id<K>() -> Id<K> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut random = [0; 10];
    random[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    Id::mint(at(0), random)
}

/// The id that a service token names.
pub(crate) fn token_id(token: &str) -> String {
    credential::service_token_id(token).unwrap().to_string()
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    pub(crate) fn etag(&self) -> String {
        self.headers[ETAG].to_str().unwrap().to_owned()
    }

    /// The last part of the problem's type.
    pub(crate) fn slug(&self) -> String {
        let json = self.json();
        let kind = json["type"].as_str().unwrap_or_default();
        kind.trim_start_matches("/problems/").to_owned()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        let told = String::from_utf8_lossy(&self.bytes);
        assert_eq!(self.status.as_u16(), status, "{told}");
        self
    }

    /// That it is refused in this way.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, slug: &str) -> Self {
        let reply = self.expect(status);
        assert_eq!(reply.slug(), slug);
        assert_eq!(
            reply.headers[CONTENT_TYPE].to_str().unwrap(),
            "application/problem+json"
        );
        reply
    }
}

/// A request to be sent.
pub(crate) struct Ask {
    method: Method,
    path: String,
    token: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The last part of the caller's address.
    host: u8,
}

impl Ask {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            token: None,
            headers: Vec::new(),
            body: Vec::new(),
            host: 1,
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: impl Into<String>, body: Value) -> Self {
        Self::new(Method::POST, path).json(body)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// An update of the version that `etag` names.
    pub(crate) fn change(method: Method, path: impl Into<String>, etag: &str, body: Value) -> Self {
        Self::new(method, path)
            .json(body)
            .header(IF_MATCH.as_str(), etag)
    }

    pub(crate) fn json(self, body: Value) -> Self {
        self.text("application/json", &body.to_string())
    }

    pub(crate) fn text(mut self, kind: &str, body: &str) -> Self {
        self.body = body.as_bytes().to_vec();
        self.header(CONTENT_TYPE.as_str(), kind)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// From another address.
    pub(crate) fn from(mut self, host: u8) -> Self {
        self.host = host;
        self
    }

    pub(crate) fn by(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    fn request(self) -> Request<Body> {
        let mut request = Request::new(Body::from(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = format!("/api/v1{}", self.path).parse().unwrap();
        for (name, value) in self.headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let peer = SocketAddr::from(([192, 0, 2, self.host], 4711));
        request.extensions_mut().insert(ConnectInfo(peer));
        if let Some(token) = self.token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        request
    }
}

/// The platform of one test.
pub(crate) struct Platform {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) control: ControlStore,
    pub(crate) superuser: Superuser,
    /// The platform's own token.
    pub(crate) root: String,
    /// The owners' tokens of the two tenants.
    pub(crate) acme: String,
    pub(crate) globex: String,
    router: axum::Router,
}

impl Platform {
    /// Without regional databases.
    pub(crate) async fn start() -> Self {
        Self::over(BTreeMap::new(), URL).await
    }

    /// With these regional databases, reached at this URL.
    pub(crate) async fn over(regions: BTreeMap<Pool, RegionStore>, url: &str) -> Self {
        let (control, superuser) = Cluster::shared().await.control().await;
        let clock = Arc::new(ManualClock::at(NOW));
        let state = State::new(Parts {
            control: control.clone(),
            regions,
            clock: Arc::<ManualClock>::clone(&clock),
            proxies: TrustedProxies::default(),
            public_url: url.to_owned(),
            defaults: Defaults {
                tenant: limits(6_000),
                principal: limits(60),
            },
            baseline: Baseline {
                policy: Some(POLICY.to_owned()),
                tools: native::definitions()
                    .into_iter()
                    .map(|definition| ("native".to_owned(), definition))
                    .collect(),
            },
            networks: Arc::default(),
            resolver: Arc::new(portcullis_egress::SystemResolver::new()),
        });
        let mut platform = Self {
            clock,
            root: first_token(&control).await,
            control,
            superuser,
            acme: String::new(),
            globex: String::new(),
            router: v1::router(state),
        };
        platform.acme = platform.tenant("acme", "eu-west").await;
        platform.globex = platform.tenant("globex", "us-east").await;
        platform
    }

    /// Creates a tenant; gives its first owner's token.
    async fn tenant(&self, slug: &str, pool: &str) -> String {
        let body = json!({"slug": slug, "name": slug, "home_pool": pool});
        let ask = Ask::post("/tenants", body).by(&self.root);
        self.send(ask).await.expect(201);
        self.token(&self.root, slug, Role::Owner).await
    }

    /// Has the holder of `by` make a token of a role.
    pub(crate) async fn token(&self, by: &str, tenant: &str, role: Role) -> String {
        let body = json!({
            "name": "a test",
            "role": role,
            "tenant": tenant,
            "expires_at": text_at(86_400),
        });
        let reply = self.send(Ask::post("/service-tokens", body).by(by)).await;
        reply.expect(201).json()["token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Creates a principal of acme; gives its id.
    pub(crate) async fn principal(&self, name: &str) -> String {
        let body = json!({"name": name});
        let ask = Ask::post("/tenants/acme/principals", body).by(&self.acme);
        let reply = self.send(ask).await.expect(201);
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    /// Sends a request, and holds the answer against the API's description.
    pub(crate) async fn send(&self, ask: Ask) -> Reply {
        let (method, path) = (ask.method.clone(), ask.path.clone());
        let response = self.router.clone().oneshot(ask.request()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 16 << 20).await.unwrap();
        let reply = Reply {
            status: parts.status,
            headers: parts.headers,
            bytes: bytes.to_vec(),
        };
        conformity::hold(&method, &path, &reply);
        reply
    }

    /// The router, to be served on a socket.
    pub(crate) fn router(&self) -> axum::Router {
        self.router.clone()
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.advance(Duration::seconds(seconds));
    }

    /// How many changes are written down.
    pub(crate) async fn changes(&self) -> i64 {
        let sql = "select (select count(*) from outbox) + (select count(*) from platform_outbox)";
        self.superuser.count(sql).await
    }

    /// The epoch of now.
    pub(crate) async fn epoch(&self) -> i64 {
        self.superuser.count("select epoch from epoch").await
    }
}

fn limits(rpm: u32) -> (Limits, StopRules) {
    let limits = Limits {
        rpm,
        burst: 100,
        concurrency: 5,
        daily_cost: MicroUsd(50_000_000),
    };
    let stop_rules = StopRules {
        max_plan_depth: 12,
        max_retries: 3,
    };
    (limits, stop_rules)
}

/// The token that the platform's operator begins with, made as `up` makes it.
async fn first_token(control: &ControlStore) -> String {
    let id = id();
    let secret = NewSecret::service_token(id, Zeroizing::new([7; 32]));
    let mut tx = control.platform().await.unwrap();
    let new = NewServiceToken {
        id,
        name: "the operator",
        role: Role::Platform.as_str(),
        hash: secret.hash,
        created_by: "up",
        expires_at: at(30 * 86_400),
    };
    service_tokens::create_platform(&mut tx, &new, at(0))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    secret.text.expose_secret().to_owned()
}
