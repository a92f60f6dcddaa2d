//! From databases and keys to rooms: the gate, the authorization server and the management API of
//! one replica. Nothing else in the project knows all three.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use portcullis_domain::id::Replica;
use portcullis_domain::observation::Observer;
use portcullis_domain::{Clock, Id};
use portcullis_egress::{Client, EgressError, Limits, SystemResolver, TcpDial, Trust};
use portcullis_keys::{LocalKeys, entropy};
use portcullis_mcp_runtime::connectors::http::{HTTP, HttpConnector};
use portcullis_mcp_runtime::connectors::native::fetch::WebFetch;
use portcullis_mcp_runtime::connectors::{Connectors, native};
use portcullis_mcp_runtime::gate::{Gate, GateSettings, Region};
use portcullis_mcp_runtime::refusals::RefusalCounts;
use portcullis_mcp_runtime::rooms::admit::Turnstiles;
use portcullis_mcp_runtime::seam;
use portcullis_mcp_runtime::snapshot::{DefaultLimits, Snapshots};
use portcullis_mcp_runtime::switchboard::Switchboard;
use portcullis_mcp_runtime::token::{
    NetworkPrefix, PlatformIssuer, TokenVerifier, TrustedProxies, VerifierParts,
};
use portcullis_store::RecordWriter;
use portcullis_store::writer::WriterOptions;
use portcullis_telemetry::{Exporter, Metrics};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::ServeError;
use super::health::Health;
use super::observer::{self, Observed};
use super::readings::{Backlog, GateReadings};
use super::stores::Stores;
use super::{admin, edge, health};
use crate::config::{Admission, Config, Server};
use crate::oauth::{self, OAuth, OAuthSettings, RequestRate};
use crate::v1;

/// The policy that a new tenant begins with.
const POLICY: &str = include_str!("../../../../policies/default.yaml");
/// The name of the connector that runs the platform's own tools.
pub const NATIVE: &str = "native";
/// How many uses of tokens a replica remembers; each takes about a kilobyte.
const TOKENS_REMEMBERED: usize = 65_536;
/// How long to wait for the database that remembers tokens before one is refused.
const BINDING_TIMEOUT: Duration = Duration::from_secs(2);

/// What every room shares.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) stores: Stores,
    pub(super) keys: Arc<LocalKeys>,
    pub(super) clock: Arc<dyn Clock>,
}

/// A replica's rooms, put together.
pub(super) struct Composed {
    pub(super) gate: Arc<Gate>,
    /// What clients reach.
    pub(super) router: Router,
    /// What the operator's own tools reach.
    pub(super) admin: Router,
    pub(super) backlog: Arc<Backlog>,
    /// What sends to the collector, where one is configured.
    pub(super) exporter: Option<Exporter>,
}

impl Parts {
    /// The gate and every route. `stopping` is cancelled when the replica is asked to stop.
    pub(super) fn compose(self, stopping: CancellationToken) -> Result<Composed, ServeError> {
        let readings = GateReadings::default();
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"), readings.clone()));
        let replica = Id::mint(self.clock.now(), entropy::random()?);
        let otlp = self.config.telemetry.otlp.as_ref();
        let sending = otlp
            .map(|otlp| observer::exporter(otlp, replica, &self.keys, &metrics, &self.clock))
            .transpose()?;
        let (exporter, spans) = sending.unzip();
        let observer = Observed {
            metrics: Arc::clone(&metrics),
            spans,
        };
        let gate = Arc::new(self.gate(replica, Arc::new(observer))?);
        let api = api_state(&self.config, &self.stores, &self.clock);
        let guarded =
            v1::router(api).merge(oauth::router(Arc::new(self.oauth(&gate.switchboard)?)));
        let guarded = edge::guarded(guarded, &self.config.server);
        // The seam checks host and origin itself: its refusals are JSON-RPC.
        let health = Health::new(
            Arc::clone(&gate),
            self.stores.regions,
            readings.backlog(),
            stopping,
        );
        readings.of(&gate, &health);
        let details = health::details(&health);
        let names = self.config.admin.allowed_hosts.clone();
        let admin = admin::router(metrics, details, names);
        // Probes call by address, so these two are not guarded.
        let router = seam::router(Arc::clone(&gate))
            .merge(guarded)
            .merge(health::router(&health));
        let strict = edge::StrictTransport::of(&self.config.server);
        Ok(Composed {
            gate,
            router: edge::around(router, strict),
            admin: edge::around(admin, edge::StrictTransport::Never),
            backlog: readings.backlog(),
            exporter,
        })
    }

    fn gate(&self, replica: Id<Replica>, observer: Arc<dyn Observer>) -> Result<Gate, ServeError> {
        let Stores { control, regions } = &self.stores;
        let regions = regions.iter().map(|(pool, store)| {
            let region = Region {
                store: store.clone(),
                writer: RecordWriter::start(store, WriterOptions::default()),
            };
            (*pool, region)
        });
        let snapshots = Snapshots::new(
            control.clone(),
            Arc::clone(&self.keys),
            Arc::clone(&self.clock),
            default_limits(&self.config.admission),
        );
        Ok(Gate {
            settings: self.gate_settings()?,
            replica,
            clock: Arc::clone(&self.clock),
            keys: Arc::clone(&self.keys),
            control: control.clone(),
            regions: regions.collect::<HashMap<_, _>>(),
            snapshots,
            switchboard: Switchboard::default(),
            verifier: self.verifier(),
            turnstiles: Turnstiles::default(),
            refusals: RefusalCounts::default(),
            observer,
            connectors: self.connectors()?,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        })
    }

    /// Every connector, and the one way out to destinations that tenants and callers name.
    fn connectors(&self) -> Result<Connectors, ServeError> {
        let egress = &self.config.egress;
        let trust = egress
            .ca_files
            .iter()
            .try_fold(Trust::public(), |trust, path| trust.with_file(path))
            .map_err(EgressError::SetUp)?;
        let client = Client::new(
            Arc::new(resolver(&self.config)),
            Arc::new(TcpDial),
            trust,
            Limits {
                max_response_bytes: egress.max_response_bytes,
                connect_timeout: Duration::from_secs(egress.connect_timeout_seconds),
            },
        )?;
        let (client, networks) = (Arc::new(client), Arc::new(egress.networks()));
        let fetch = WebFetch::new(Arc::clone(&client), Arc::clone(&networks));
        let http = HttpConnector::new(client, networks);
        Ok(Connectors::native()
            .with(Arc::new(fetch))
            .named(HTTP, Arc::new(http)))
    }

    fn gate_settings(&self) -> Result<GateSettings, ServeError> {
        let Config { server, tokens, .. } = &self.config;
        Ok(GateSettings {
            public_url: server.origin().to_owned(),
            allowed_hosts: server.served_hosts(),
            allowed_origins: server.allowed_origins.clone(),
            max_body_bytes: server.max_body_bytes,
            network_prefix: NetworkPrefix::new(tokens.network_prefix_v4, tokens.network_prefix_v6)?,
            body_deadline: Duration::from_secs(server.body_timeout_seconds),
            call_deadline: Duration::from_secs(server.call_timeout_seconds),
            read_only: server.read_only,
        })
    }

    fn verifier(&self) -> TokenVerifier {
        let issuer = PlatformIssuer::new(
            self.config.server.origin(),
            Arc::clone(&self.keys),
            Arc::clone(&self.clock),
        );
        TokenVerifier::new(VerifierParts {
            issuers: Arc::new(issuer),
            bindings: Arc::new(self.stores.control.clone()),
            keys: Arc::clone(&self.keys),
            clock: Arc::clone(&self.clock),
            proxies: proxies(&self.config.server),
            cache_entries: TOKENS_REMEMBERED,
            binding_timeout: BINDING_TIMEOUT,
        })
    }

    fn oauth(&self, switchboard: &Switchboard) -> Result<OAuth, ServeError> {
        let settings = OAuthSettings {
            public_url: self.config.server.origin().to_owned(),
            lifetime: time::Duration::seconds(i64::from(self.config.tokens.lifetime_seconds)),
            proxies: proxies(&self.config.server),
            requests: RequestRate {
                per_minute: self.config.tokens.requests_per_minute,
                burst: self.config.tokens.request_burst,
            },
        };
        Ok(OAuth::new(
            Arc::new(self.stores.control.clone()),
            Arc::clone(&self.keys),
            Arc::clone(&self.clock),
            switchboard.clone(),
            settings,
        )?)
    }
}

/// What the management API works with.
pub fn api_state(config: &Config, stores: &Stores, clock: &Arc<dyn Clock>) -> v1::State {
    let Config { admission, .. } = config;
    let tools = native::definitions()
        .into_iter()
        .map(|definition| (NATIVE.to_owned(), definition));
    v1::State::new(v1::Parts {
        control: stores.control.clone(),
        regions: stores.regions.clone(),
        clock: Arc::clone(clock),
        proxies: proxies(&config.server),
        public_url: config.server.origin().to_owned(),
        defaults: v1::Defaults {
            tenant: (admission.tenant(), admission.stop_rules()),
            principal: (admission.principal(), admission.stop_rules()),
        },
        baseline: v1::Baseline {
            policy: Some(POLICY.to_owned()),
            tools: tools.collect(),
        },
        networks: Arc::new(config.egress.networks()),
        resolver: Arc::new(resolver(config)),
    })
}

fn resolver(config: &Config) -> SystemResolver {
    SystemResolver::asking(config.egress.name_servers.clone())
}

fn proxies(server: &Server) -> TrustedProxies {
    TrustedProxies::new(server.trusted_proxies.clone())
}

fn default_limits(admission: &Admission) -> DefaultLimits {
    DefaultLimits {
        principal: admission.principal(),
        tenant: admission.tenant(),
        stop_rules: admission.stop_rules(),
    }
}
