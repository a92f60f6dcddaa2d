//! One replica over one control and one regional database, with a tool that does as it is told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Request, Response, StatusCode};
use portcullis_api::credential;
use portcullis_api::oauth::{OAuth, OAuthSettings, router as oauth_router};
use portcullis_domain::id::{Id, Principal, Tenant};
use portcullis_domain::observation::Unobserved;
use portcullis_domain::{
    Clock, Jurisdiction, Limits, ManualClock, MicroUsd, Pool, ReplayMode, StopRules,
};
use portcullis_evidence::{Receipt, Record, VerifyingKey, canonical_bytes};
use portcullis_keys::{LocalKeys, entropy};
use portcullis_mcp_runtime::catalog::Violation;
use portcullis_mcp_runtime::connectors::native;
use portcullis_mcp_runtime::connectors::{
    Connector, Connectors, Effects, Invocation, NATIVE, ToolError, ToolFuture, ToolOutput, ToolRef,
};
use portcullis_mcp_runtime::gate::{Gate, GateSettings, Region};
use portcullis_mcp_runtime::reaper;
use portcullis_mcp_runtime::refusals::RefusalCounts;
use portcullis_mcp_runtime::rooms::admit::Turnstiles;
use portcullis_mcp_runtime::seam;
use portcullis_mcp_runtime::snapshot::{DefaultLimits, Snapshots};
use portcullis_mcp_runtime::switchboard::Switchboard;
use portcullis_mcp_runtime::token::{
    NetworkPrefix, PlatformIssuer, TokenVerifier, TrustedProxies, VerifierParts,
};
use portcullis_redaction::FieldRule;
use portcullis_store::claims::ClaimRow;
use portcullis_store::grants::NewGrant;
use portcullis_store::policies::NewPolicy;
use portcullis_store::records::{self, RecordRow};
use portcullis_store::sweeper::RegionSweeper;
use portcullis_store::tools::NewTool;
use portcullis_store::writer::WriterOptions;
use portcullis_store::{
    ConnectOptions, ControlStore, ControlTx, Page, RecordWriter, RegionStore, claims, clients,
    epoch, grants, migrate, orders, policies, principals, roles, tenants, tools,
};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::cluster::{Cluster, binaries};
use crate::writes::{self, Writes};

const NOW: i64 = 1_760_000_040;
const URL: &str = "https://gate.example.com";
const SECRET: &str = "pcs_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const POLICY: &str = include_str!("../../../../policies/default.yaml");

/// Runs `orders.get` as the order's id says.
#[derive(Debug, Default)]
pub(crate) struct Puppet {
    /// Told when a call that hangs has begun.
    pub(crate) begun: Notify,
}

impl Connector for Puppet {
    fn tools(&self) -> Vec<String> {
        vec!["orders.get".to_owned()]
    }

    fn effects(&self) -> Effects {
        Effects::Transactional
    }

    fn check(&self, _tool: ToolRef<'_>, _arguments: &Map<String, Value>) -> Result<(), Violation> {
        Ok(())
    }

    fn obligations(&self, _tool: ToolRef<'_>, _arguments: &Value) -> Vec<FieldRule> {
        Vec::new()
    }

    fn region(&self, _tool: ToolRef<'_>, _arguments: &Value) -> Option<Jurisdiction> {
        None
    }

    fn invoke<'a>(&'a self, invocation: Invocation<'a>) -> ToolFuture<'a> {
        Box::pin(async move {
            match invocation.arguments["orderId"].as_str() {
                Some("panics") => panic!("with dana@example.com in its words"),
                Some("hangs") => {
                    self.begun.notify_one();
                    std::future::pending().await
                }
                Some("lies") => Ok(ToolOutput::read(
                    json!({ "found": "perhaps", "leak": "dana@example.com" }),
                )),
                Some("leaks") => Ok(ToolOutput::read(json!({ "found": true, "order": {
                    "orderId": "1", "customerId": "c", "total": 1, "currency": "EUR",
                    "status": "paid", "placedOn": "2025-08-25", "email": "dana@example.com",
                    "note": "call +49 30 23125 584 or 4111 1111 1111 1111",
                } }))),
                _ => Err(ToolError::NoConnector),
            }
        })
    }
}

/// Who calls.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Agent {
    One,
    Two,
}

/// A replica and what a test needs of it.
pub(crate) struct Platform {
    pub(crate) gate: Arc<Gate>,
    pub(crate) puppet: Arc<Puppet>,
    pub(crate) counter: Arc<Writes>,
    pub(crate) remote: Arc<Writes>,
    pub(crate) tenant: Id<Tenant>,
    pub(crate) clock: Arc<ManualClock>,
    client: Id<Principal>,
    pub(crate) router: Router,
    pub(crate) tokens: [String; 2],
    // Last, so that the connections are gone before the server.
    cluster: Cluster,
}

fn tokens() -> OAuthSettings {
    OAuthSettings {
        public_url: URL.to_owned(),
        lifetime: time::Duration::seconds(600),
        proxies: TrustedProxies::default(),
        requests: portcullis_api::oauth::RequestRate::default(),
    }
}

impl Platform {
    pub(crate) async fn start(call_deadline: StdDuration) -> Self {
        let cluster = Cluster::start().await;
        let clock = Arc::new(ManualClock::at(NOW));
        let control = cluster.open().await;
        let regions = open_regions(&cluster, clock.now()).await;
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("keys.json");
        let keys = Arc::new(LocalKeys::open_or_create(&path, clock.now()).unwrap());
        let (tenant, [client, other]) = seed(&control, clock.as_ref()).await;
        let puppet = Arc::new(Puppet::default());
        let connector: Arc<Puppet> = Arc::clone(&puppet);
        let (counter, remote) = (Arc::new(Writes::new(false)), Arc::new(Writes::new(true)));
        let connectors = Connectors::native()
            .with(connector)
            .with(Arc::<Writes>::clone(&counter))
            .named("remote", Arc::<Writes>::clone(&remote));
        let manual = Arc::clone(&clock);
        let clock: Arc<dyn Clock> = clock;
        let gate = Arc::new(Gate {
            settings: settings(call_deadline),
            replica: Id::mint(clock.now(), [7; 10]),
            snapshots: Snapshots::new(
                control.clone(),
                Arc::clone(&keys),
                Arc::clone(&clock),
                limits(),
            ),
            switchboard: Switchboard::default(),
            verifier: verifier(&control, &keys, &clock),
            regions,
            keys: Arc::clone(&keys),
            clock: Arc::clone(&clock),
            control: control.clone(),
            turnstiles: Turnstiles::default(),
            refusals: RefusalCounts::default(),
            observer: Arc::new(Unobserved),
            connectors,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        });
        let switchboard = gate.switchboard.clone();
        let oauth = OAuth::new(Arc::new(control), keys, clock, switchboard, tokens()).unwrap();
        let router = seam::router(Arc::clone(&gate)).merge(oauth_router(Arc::new(oauth)));
        let tokens = [token(&router, client).await, token(&router, other).await];
        Self {
            gate,
            puppet,
            counter,
            remote,
            tenant,
            clock: manual,
            client,
            router,
            tokens,
            cluster,
        }
    }

    /// Calls `orders.get` with an order id that tells the tool what to do.
    pub(crate) async fn call(&self, what: &str) -> (StatusCode, Value) {
        self.send_body(Body::from(json!({ "orderId": what }).to_string()))
            .await
    }

    /// Calls `orders.get` with a body.
    pub(crate) async fn send_body(&self, body: Body) -> (StatusCode, Value) {
        let request = self.request(Agent::One, "/t/acme/tools/orders.get");
        send(&self.router, request.body(body).unwrap()).await
    }

    /// Calls a mutating tool with a key in the header.
    pub(crate) async fn write(
        &self,
        agent: Agent,
        tool: &str,
        key: &str,
        arguments: &Value,
    ) -> (StatusCode, Value) {
        let request = self
            .request(agent, &format!("/t/acme/tools/{tool}"))
            .header("idempotency-key", key)
            .body(Body::from(arguments.to_string()));
        send(&self.router, request.unwrap()).await
    }

    /// Calls a mutating tool with nothing beside its arguments.
    pub(crate) async fn bare(&self, tool: &str, arguments: &Value) -> (StatusCode, Value) {
        let request = self
            .request(Agent::One, &format!("/t/acme/tools/{tool}"))
            .body(Body::from(arguments.to_string()));
        send(&self.router, request.unwrap()).await
    }

    /// Calls a mutating tool over MCP, with a key in `_meta`.
    pub(crate) async fn mcp(&self, tool: &str, key: Option<Value>, arguments: &Value) -> Value {
        let mut params = json!({ "name": tool, "arguments": arguments });
        if let Some(key) = key {
            params["_meta"] = json!({ "dev.portcullis/idempotency-key": key });
        }
        let message =
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let request = self
            .request(Agent::One, "/t/acme/mcp")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25")
            .body(Body::from(message.to_string()));
        send(&self.router, request.unwrap()).await.1
    }

    pub(crate) fn request(&self, agent: Agent, path: &str) -> http::request::Builder {
        // No job follows the epoch here: the test itself says what changed.
        self.gate.snapshots.confirm(tokio::time::Instant::now());
        let token = match agent {
            Agent::One => &self.tokens[0],
            Agent::Two => &self.tokens[1],
        };
        Request::post(path)
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(CONTENT_TYPE, "application/json")
    }

    /// Publishes what `change` makes of the policy that the tenant began with.
    pub(crate) async fn publish(&self, change: impl FnOnce(String) -> String) {
        let now = self.gate.clock.now();
        let source = change(policy());
        let mut tx = self.gate.control.begin(self.tenant).await.unwrap();
        publish(&mut tx, &source, now).await;
        let epoch = epoch::bump(&mut tx, "policy", now).await.unwrap();
        tx.commit().await.unwrap();
        self.gate.snapshots.note_change(self.tenant, epoch);
    }

    /// The tenant's claims.
    pub(crate) async fn claims(&self) -> Vec<ClaimRow> {
        let store = &self.gate.regions[&Pool::EuWest].store;
        let mut tx = store.begin(self.tenant).await.unwrap();
        claims::list(&mut tx, None, Page::first(100)).await.unwrap()
    }

    /// How many orders a pool has: the effects of `counter.add`.
    pub(crate) async fn orders(&self, pool: Pool) -> i64 {
        let store = &self.gate.regions[&pool].store;
        let mut tx = store.begin(self.tenant).await.unwrap();
        orders::count(&mut tx).await.unwrap()
    }

    /// Ends every lease, as if each replica had died ten seconds ago.
    pub(crate) fn expire(&self) {
        let sql = "update claims set lease_until = now() - interval '1 second'";
        self.administer(Pool::EuWest, sql);
    }

    /// Closes the one expired claim, as the job does.
    pub(crate) async fn reap(&self) -> bool {
        let url = self.cluster.url(roles::SWEEPER, database(Pool::EuWest));
        let sweeper = RegionSweeper::connect(Pool::EuWest, url).await.unwrap();
        let expired = sweeper.expired_claims(10, &[]).await.unwrap().unwrap();
        let [(tenant, claim)] = expired.ids.as_slice() else {
            return false;
        };
        reaper::close(&self.gate, Pool::EuWest, *tenant, *claim)
            .await
            .unwrap()
    }

    /// Does what no role of ours may.
    pub(crate) fn administer(&self, pool: Pool, sql: &str) {
        let url = self.cluster.url("postgres", database(pool));
        let done = std::process::Command::new(binaries().join("psql"))
            .args([url.expose_secret(), "-v", "ON_ERROR_STOP=1", "-c", sql])
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{words}");
    }

    /// Calls without a token.
    pub(crate) async fn call_as_a_stranger(&self) -> StatusCode {
        self.gate.snapshots.confirm(tokio::time::Instant::now());
        let request = Request::post("/t/acme/tools/orders.get").body(Body::empty());
        send(&self.router, request.unwrap()).await.0
    }

    /// Suspends the one agent, as the management API does, and lets the replica hear of it.
    pub(crate) async fn suspend(&self) {
        let now = self.gate.clock.now();
        let mut tx = self.gate.control.begin(self.tenant).await.unwrap();
        let suspended = principals::PrincipalStatus::Suspended;
        principals::set_status(&mut tx, self.client, None, suspended, now)
            .await
            .unwrap();
        let epoch = epoch::bump(&mut tx, "principal", now).await.unwrap();
        tx.commit().await.unwrap();
        self.gate.snapshots.note_change(self.tenant, epoch);
    }

    /// Changes the tenant's configuration to what it is, and lets the replica hear of it.
    pub(crate) async fn change(&self) {
        let mut tx = self.gate.control.begin(self.tenant).await.unwrap();
        let now = self.gate.clock.now();
        let epoch = epoch::bump(&mut tx, "grant", now).await.unwrap();
        tx.commit().await.unwrap();
        self.gate.snapshots.note_change(self.tenant, epoch);
    }

    /// Every record of the tenant, newest first, each checked against its signature.
    pub(crate) async fn records(&self) -> Vec<(RecordRow, Value)> {
        self.records_in(Pool::EuWest).await
    }

    /// The same, of one pool.
    pub(crate) async fn records_in(&self, pool: Pool) -> Vec<(RecordRow, Value)> {
        let store = &self.gate.regions[&pool].store;
        let mut tx = store.begin(self.tenant).await.unwrap();
        let filter = records::RecordFilter {
            from: time::OffsetDateTime::UNIX_EPOCH,
            until: self.gate.clock.now() + time::Duration::DAY,
            principal: None,
            before: None,
            limit: 100,
        };
        let rows = records::list(&mut tx, filter).await.unwrap();
        tx.commit().await.unwrap();
        let key = VerifyingKey::from_bytes(self.gate.keys.receipt_key().public()).unwrap();
        let checked = rows.into_iter().map(|row| {
            let signature = row.signature.clone().try_into().unwrap();
            let signature = portcullis_evidence::receipt::Signature::from_bytes(signature);
            let receipt = Receipt::of_stored(&row.canonical, &row.key_id, signature).unwrap();
            receipt.verify(&key).unwrap();
            Record::parse(&row.canonical).unwrap();
            let value = serde_json::from_slice(&row.canonical).unwrap();
            (row, value)
        });
        checked.collect()
    }
}

const fn database(pool: Pool) -> &'static str {
    match pool {
        Pool::EuWest => "portcullis_eu_west",
        Pool::UsEast => "portcullis_us_east",
    }
}

/// Every pool's database, empty.
async fn open_regions(cluster: &Cluster, now: time::OffsetDateTime) -> HashMap<Pool, Region> {
    let mut regions = HashMap::new();
    for pool in Pool::ALL {
        let store = open_region(cluster, pool, now).await;
        let writer = RecordWriter::start(&store, WriterOptions::default());
        regions.insert(pool, Region { store, writer });
    }
    regions
}

async fn open_region(cluster: &Cluster, pool: Pool, now: time::OffsetDateTime) -> RegionStore {
    let database = database(pool);
    let administrator = cluster.url("postgres", "postgres");
    roles::create_database(&administrator, database)
        .await
        .unwrap();
    migrate::region(&cluster.url(roles::OWNER, database), pool, now)
        .await
        .unwrap();
    let app = cluster.url(roles::APP, database);
    let recorder = cluster.url(roles::RECORDER, database);
    RegionStore::connect(pool, app, recorder, ConnectOptions::default())
        .await
        .unwrap()
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> (StatusCode, Value) {
    let response = answer(router, request).await;
    let status = response.status();
    (status, json_of(response).await)
}

pub(crate) async fn json_of(response: Response<Body>) -> Value {
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await;
    serde_json::from_slice(&body.unwrap()).unwrap()
}

pub(crate) async fn answer(router: &Router, mut request: Request<Body>) -> Response<Body> {
    let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
    request.extensions_mut().insert(ConnectInfo(peer));
    let host = "gate.example.com".parse().unwrap();
    request.headers_mut().insert(HOST, host);
    router.clone().oneshot(request).await.unwrap()
}

async fn token(router: &Router, client: Id<Principal>) -> String {
    let form = format!("grant_type=client_credentials&client_id={client}&client_secret={SECRET}");
    let request = Request::post("/oauth/token")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form));
    let (status, body) = send(router, request.unwrap()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body["access_token"].as_str().unwrap().to_owned()
}

pub(crate) fn id<K>() -> Id<K> {
    let now = time::OffsetDateTime::from_unix_timestamp(NOW).unwrap();
    Id::mint(now, entropy::random().unwrap())
}

/// A tenant with the native tools and those of the tests, the default policy and two agents that may
/// use them.
async fn seed(control: &ControlStore, clock: &dyn Clock) -> (Id<Tenant>, [Id<Principal>; 2]) {
    let now = clock.now();
    let mut tx = control.begin(id()).await.unwrap();
    let new = tenants::NewTenant {
        slug: "acme",
        name: "Acme",
        home_pool: Pool::EuWest,
        region: Jurisdiction::Eu,
        replay: ReplayMode::Network,
    };
    tenants::create(&mut tx, &new, now).await.unwrap();
    let agents = [
        agent(&mut tx, "agent:copilot", now).await,
        agent(&mut tx, "agent:pilot", now).await,
    ];
    let native = native::definitions().into_iter();
    let all = native.map(|definition| (NATIVE, definition));
    for (connector, definition) in all.chain(writes::definitions()) {
        let canonical = canonical_bytes(&definition).unwrap();
        let new = NewTool {
            id: id(),
            name: &definition.name,
            connector,
            definition: std::str::from_utf8(canonical.as_bytes()).unwrap(),
            sha256: *canonical.sha256().as_bytes(),
            config: None,
            created_by: "user:operator",
        };
        tools::register(&mut tx, &new, now).await.unwrap();
    }
    publish(&mut tx, &policy(), now).await;
    let tenant = tx.tenant();
    tx.commit().await.unwrap();
    (tenant, agents)
}

/// An agent that may read orders and use the tools of the tests.
async fn agent(tx: &mut ControlTx, name: &str, now: time::OffsetDateTime) -> Id<Principal> {
    let name = name.parse().unwrap();
    let principal = principals::create(tx, id(), &name, Jurisdiction::Eu, now);
    let principal = principal.await.unwrap().id;
    let hash = credential::hash(SECRET);
    clients::create_secret(tx, id(), principal, &hash, None, now)
        .await
        .unwrap();
    for scope in ["orders.read", "counters.write"] {
        let grant = NewGrant {
            id: id(),
            principal,
            scope: &scope.parse().unwrap(),
            purpose: None,
            granted_by: "user:operator",
            expires_at: None,
        };
        grants::create(tx, &grant, now).await.unwrap();
    }
    principal
}

/// The default policy, with rules for the tools of the tests.
fn policy() -> String {
    POLICY.replacen("rules:\n", writes::RULES, 1)
}

async fn publish(tx: &mut ControlTx, source: &str, now: time::OffsetDateTime) {
    let new = NewPolicy {
        id: id(),
        source,
        sha256: Sha256::digest(source).into(),
        created_by: "user:operator",
    };
    let draft = policies::draft(tx, &new, now).await.unwrap();
    policies::publish(tx, draft.number, "user:operator", now)
        .await
        .unwrap();
}

fn limits() -> DefaultLimits {
    let limits = Limits {
        rpm: 6_000,
        burst: 1_000,
        concurrency: 100,
        daily_cost: MicroUsd(50_000_000),
    };
    DefaultLimits {
        principal: limits,
        tenant: limits,
        stop_rules: StopRules {
            max_plan_depth: 12,
            max_retries: 3,
        },
    }
}

fn settings(call_deadline: StdDuration) -> GateSettings {
    GateSettings {
        public_url: URL.to_owned(),
        allowed_hosts: vec!["gate.example.com".to_owned()],
        allowed_origins: Vec::new(),
        max_body_bytes: 1 << 20,
        network_prefix: NetworkPrefix::default(),
        body_deadline: StdDuration::from_secs(5),
        call_deadline,
        read_only: false,
    }
}

fn verifier(
    control: &ControlStore,
    keys: &Arc<LocalKeys>,
    clock: &Arc<dyn Clock>,
) -> TokenVerifier {
    let issuer = PlatformIssuer::new(URL, Arc::clone(keys), Arc::clone(clock));
    TokenVerifier::new(VerifierParts {
        issuers: Arc::new(issuer),
        bindings: Arc::new(control.clone()),
        keys: Arc::clone(keys),
        clock: Arc::clone(clock),
        proxies: TrustedProxies::default(),
        cache_entries: 1_000,
        binding_timeout: StdDuration::from_mins(1),
    })
}
