//! Replicas over one control database, with two tenants.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration as StdDuration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Request, StatusCode};
use portcullis_api::credential;
use portcullis_api::oauth::{OAuth, OAuthSettings, router};
use portcullis_domain::id::{ClientSecret, Grant, Id, Principal, Tenant};
use portcullis_domain::{Jurisdiction, ManualClock, Pool, ReplayMode};
use portcullis_keys::LocalKeys;
use portcullis_mcp_runtime::switchboard::Switchboard;
use portcullis_mcp_runtime::token::{
    Checked, NetworkPrefix, PlatformIssuer, Presented, TenantKey, TokenError, TokenVerifier,
    TrustedProxies, VerifiedToken, VerifierParts,
};
use portcullis_store::{ControlStore, clients, grants, principals, tenants};
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tower::ServiceExt;

use crate::cluster::Cluster;

pub(crate) const NOW: i64 = 1_760_000_040;
const URL: &str = "https://gate.example.com";

pub(crate) fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW + seconds).unwrap()
}

/// An id that no other thing of this process has.
fn id<K>() -> Id<K> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut random = [0; 10];
    random[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    Id::mint(at(0), random)
}

/// A client with the text of its secret.
pub(crate) struct Known {
    pub(crate) tenant: Id<Tenant>,
    pub(crate) principal: Id<Principal>,
    pub(crate) secret_id: Id<ClientSecret>,
    pub(crate) secret: String,
}

/// Some replicas of one platform.
pub(crate) struct Platform {
    pub(crate) store: ControlStore,
    pub(crate) clock: Arc<ManualClock>,
    replicas: Vec<TokenVerifier>,
    /// Each replica's own connections.
    pub(crate) bindings: Vec<ControlStore>,
    router: axum::Router,
    // Last, so that the connections are gone before the server.
    _cluster: Cluster,
}

impl Platform {
    pub(crate) async fn start(replicas: usize) -> Self {
        let cluster = Cluster::start().await;
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("keys.json");
        let keys = Arc::new(LocalKeys::open_or_create(&path, at(0)).unwrap());
        let clock = Arc::new(ManualClock::at(NOW));
        let store = cluster.open().await;
        let settings = OAuthSettings {
            public_url: URL.to_owned(),
            lifetime: Duration::seconds(600),
            proxies: TrustedProxies::default(),
            requests: portcullis_api::oauth::RequestRate::default(),
        };
        let oauth = OAuth::new(
            Arc::new(store.clone()),
            Arc::clone(&keys),
            Arc::<ManualClock>::clone(&clock),
            Switchboard::default(),
            settings,
        );
        let mut bindings = Vec::new();
        for _ in 0..replicas {
            bindings.push(cluster.open().await);
        }
        let replicas = bindings
            .iter()
            .map(|store| verifier(store.clone(), &keys, &clock))
            .collect();
        Self {
            store,
            clock,
            replicas,
            bindings,
            router: router(Arc::new(oauth.unwrap())),
            _cluster: cluster,
        }
    }

    /// Makes a tenant with a client that is granted `orders.read`.
    pub(crate) async fn tenant(&self, slug: &str) -> Known {
        let mut tx = self.store.begin(id()).await.unwrap();
        let new = tenants::NewTenant {
            slug,
            name: "A tenant",
            home_pool: Pool::EuWest,
            region: Jurisdiction::Eu,
            replay: ReplayMode::Network,
        };
        tenants::create(&mut tx, &new, at(0)).await.unwrap();
        let name = "agent:copilot".parse().unwrap();
        let principal = principals::create(&mut tx, id(), &name, Jurisdiction::Eu, at(0))
            .await
            .unwrap()
            .id;
        let tenant = tx.tenant();
        tx.commit().await.unwrap();
        let secret = format!("pcs_{slug:A<43}");
        let secret_id = self.secret(tenant, principal, &secret).await;
        self.grant(tenant, principal, "orders.read", None).await;
        Known {
            tenant,
            principal,
            secret_id,
            secret,
        }
    }

    pub(crate) async fn secret(
        &self,
        tenant: Id<Tenant>,
        principal: Id<Principal>,
        secret: &str,
    ) -> Id<ClientSecret> {
        let mut tx = self.store.begin(tenant).await.unwrap();
        let hash = credential::hash(secret);
        let made = id();
        clients::create_secret(&mut tx, made, principal, &hash, None, at(0))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        made
    }

    pub(crate) async fn grant(
        &self,
        tenant: Id<Tenant>,
        principal: Id<Principal>,
        scope: &str,
        expires_at: Option<OffsetDateTime>,
    ) -> Id<Grant> {
        let mut tx = self.store.begin(tenant).await.unwrap();
        let new = grants::NewGrant {
            id: id(),
            principal,
            scope: &scope.parse().unwrap(),
            purpose: None,
            granted_by: "user:dana",
            expires_at,
        };
        let made = grants::create(&mut tx, &new, at(0)).await.unwrap();
        tx.commit().await.unwrap();
        made.id
    }

    /// Asks for a token; gives the status and the body.
    pub(crate) async fn ask(&self, client: &Known, more: &str) -> (StatusCode, Value) {
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}{more}",
            client.principal, client.secret
        );
        let mut request = Request::post("/oauth/token")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form))
            .unwrap();
        let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
        request.extensions_mut().insert(ConnectInfo(peer));
        self.send(request).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await;
        (status, serde_json::from_slice(&body.unwrap()).unwrap())
    }

    /// A token of a client.
    pub(crate) async fn token(&self, client: &Known) -> String {
        let (status, body) = self.ask(client, "").await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["access_token"].as_str().unwrap().to_owned()
    }

    /// A request with a token at a replica.
    pub(crate) async fn present(
        &self,
        replica: usize,
        token: &str,
        peer: IpAddr,
        tenant: &TenantKey,
    ) -> Result<Arc<VerifiedToken>, TokenError> {
        let value = format!("Bearer {token}").parse().unwrap();
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        let replica = &self.replicas[replica];
        match replica.check(&Presented::of(&headers, peer), tenant)? {
            Checked::Known(token) => Ok(token),
            Checked::New(unbound) => replica.bind(*unbound).await,
        }
    }
}

fn verifier(store: ControlStore, keys: &Arc<LocalKeys>, clock: &Arc<ManualClock>) -> TokenVerifier {
    TokenVerifier::new(VerifierParts {
        issuers: Arc::new(PlatformIssuer::new(
            URL,
            Arc::clone(keys),
            Arc::<ManualClock>::clone(clock),
        )),
        bindings: Arc::new(store),
        keys: Arc::clone(keys),
        clock: Arc::<ManualClock>::clone(clock),
        proxies: TrustedProxies::default(),
        cache_entries: 10_000,
        binding_timeout: StdDuration::from_mins(1),
    })
}

/// What a tenant's URL asks of a token.
pub(crate) fn key(tenant: Id<Tenant>, slug: &str, replay: ReplayMode) -> TenantKey {
    TenantKey {
        id: tenant,
        audience: format!("{URL}/t/{slug}/mcp"),
        replay,
        prefix: NetworkPrefix::default(),
    }
}
