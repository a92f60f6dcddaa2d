//! The sections of the configuration file, one struct each. Units stand in the names.
//!
//! These are plain data: what a value may be is checked in `check`, so that every violation is told
//! at once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use portcullis_domain::limits::PrincipalLimits;
use portcullis_domain::{Limits, MicroUsd, StopRules};
use portcullis_egress::{InternalNetwork, InternalNetworks};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::ConfigError;

/// What may be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// One machine, keys in a file, plain HTTP: what `portcullis up` makes.
    Local,
    /// Refuses to start on anything that only `local` may do.
    Production,
}

/// Where and how the replica is reached.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The origin that clients call: scheme, host and, where it is not the default, port. It is the
    /// issuer's id and the front of every token's audience, so all replicas name the same one.
    pub public_url: Url,
    /// The address that this replica listens on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// HTTPS. Without this section the replica speaks plain HTTP.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Networks whose `Forwarded` header is believed. Danger: whoever is in them chooses the client
    /// address that a token is bound to.
    #[serde(default)]
    pub trusted_proxies: Vec<IpNet>,
    /// Web origins whose pages may call. None by default: programs send no `Origin`.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    /// Values of `Host` that are served, `host` or `host:port`. By default those of `public_url` and
    /// of `listen`.
    #[serde(default)]
    pub allowed_hosts: Vec<String>,
    /// The largest request body.
    #[serde(default = "default_max_body_bytes")]
    pub max_body_bytes: usize,
    /// The largest request head: request line and headers.
    #[serde(default = "default_max_head_bytes")]
    pub max_head_bytes: usize,
    /// Connections served at once; more wait in the kernel's queue.
    #[serde(default = "default_max_connections")]
    pub max_connections: usize,
    /// How long a request head may take to arrive; also how long an idle connection is kept.
    #[serde(default = "default_head_timeout_seconds")]
    pub head_timeout_seconds: u64,
    /// How long a request body may take to arrive.
    #[serde(default = "default_body_timeout_seconds")]
    pub body_timeout_seconds: u64,
    /// How long an answer may wait for its reader without any progress.
    #[serde(default = "default_write_timeout_seconds")]
    pub write_timeout_seconds: u64,
    /// How long a call may take, from its admission to its record.
    #[serde(default = "default_call_timeout_seconds")]
    pub call_timeout_seconds: u64,
    /// How long a replica that is asked to stop says that it is not ready and goes on serving, so
    /// that whoever sends it requests can turn to others first.
    #[serde(default = "default_lame_duck_seconds")]
    pub lame_duck_seconds: u64,
    /// How long calls under way may go on after that.
    #[serde(default = "default_drain_seconds")]
    pub drain_seconds: u64,
    /// Whether this replica refuses every call that changes something, whatever the database says.
    #[serde(default)]
    pub read_only: bool,
}

/// HTTPS, TLS 1.2 and 1.3.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM: the server's certificate, then those that lead to its authority. What comes to stand there
    /// is taken in within seconds, without a restart.
    pub certificate_file: PathBuf,
    /// PEM: the private key of the first certificate, unencrypted.
    pub private_key_file: PathBuf,
    /// An address of its own for HTTPS: `server.listen` then goes on in plain HTTP, which only the
    /// local profile may do. By default HTTPS is what `server.listen` speaks.
    pub listen: Option<SocketAddr>,
}

const fn default_max_body_bytes() -> usize {
    1_048_576
}
const fn default_max_head_bytes() -> usize {
    32_768
}
const fn default_max_connections() -> usize {
    4_096
}
const fn default_head_timeout_seconds() -> u64 {
    30
}
const fn default_body_timeout_seconds() -> u64 {
    30
}
const fn default_write_timeout_seconds() -> u64 {
    30
}
const fn default_call_timeout_seconds() -> u64 {
    30
}
const fn default_lame_duck_seconds() -> u64 {
    5
}
const fn default_drain_seconds() -> u64 {
    10
}

/// The control database.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// `postgres://…` of the role that serves.
    pub app_url: SecretString,
    /// The file that holds that role's password.
    pub app_password_file: Option<PathBuf>,
    /// `postgres://…` of the role that does the named jobs across tenants.
    pub sweeper_url: SecretString,
    /// The file that holds that role's password.
    pub sweeper_password_file: Option<PathBuf>,
    /// `postgres://…` of the role that migrates; only `migrate` and `up` need it.
    pub owner_url: Option<SecretString>,
    /// The file that holds that role's password.
    pub owner_password_file: Option<PathBuf>,
    /// Connections that a replica opens as `app`.
    #[serde(default = "default_control_connections")]
    pub max_connections: u32,
}

/// A regional database.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// `postgres://…` of the role that serves.
    pub app_url: SecretString,
    /// The file that holds that role's password.
    pub app_password_file: Option<PathBuf>,
    /// `postgres://…` of the role that only inserts records.
    pub recorder_url: SecretString,
    /// The file that holds that role's password.
    pub recorder_password_file: Option<PathBuf>,
    /// `postgres://…` of the role that does the named jobs across tenants.
    pub sweeper_url: SecretString,
    /// The file that holds that role's password.
    pub sweeper_password_file: Option<PathBuf>,
    /// `postgres://…` of the role that migrates; only `migrate` and `up` need it.
    pub owner_url: Option<SecretString>,
    /// The file that holds that role's password.
    pub owner_password_file: Option<PathBuf>,
    /// Connections that a replica opens as `app`.
    #[serde(default = "default_region_connections")]
    pub max_connections: u32,
}

const fn default_control_connections() -> u32 {
    8
}
const fn default_region_connections() -> u32 {
    8
}

/// Where the keys are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The key file of the local profile, readable by its owner alone. Never in production.
    pub file: PathBuf,
}

/// Access tokens.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tokens {
    /// How long a token that we issue is valid; at most 600.
    pub lifetime_seconds: u32,
    /// Bits of an IPv4 client address that a bearer token is bound to.
    pub network_prefix_v4: u8,
    /// Bits of an IPv6 client address that a bearer token is bound to.
    pub network_prefix_v6: u8,
    /// Token requests a minute of one address, or of one /64 of IPv6, in the long run.
    pub requests_per_minute: u32,
    /// Token requests of one address that may come at once.
    pub request_burst: u32,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            lifetime_seconds: 600,
            network_prefix_v4: 24,
            network_prefix_v6: 64,
            requests_per_minute: 600,
            request_burst: 200,
        }
    }
}

/// The limits of a principal that has none of its own, where the configuration says nothing.
const LIMITS: &str = include_str!("../../../../policies/limits.json");

/// Limits of a principal or a tenant that has none of its own.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admission {
    /// Calls a minute of one principal.
    pub principal_rpm: u32,
    /// Calls of one principal that may come at once.
    pub principal_burst: u32,
    /// Calls of one principal under way at once.
    pub principal_concurrency: u32,
    /// What one principal's day may cost, in whole dollars.
    pub principal_daily_cost_usd: u32,
    /// Calls a minute of a whole tenant.
    pub tenant_rpm: u32,
    /// Calls of a whole tenant that may come at once.
    pub tenant_burst: u32,
    /// Calls of a whole tenant under way at once.
    pub tenant_concurrency: u32,
    /// What a tenant's day may cost, in whole dollars.
    pub tenant_daily_cost_usd: u32,
    /// The deepest nesting of plans that may call a tool.
    pub max_plan_depth: u32,
    /// The highest number of repeats of one step.
    pub max_retries: u32,
}

impl Default for Admission {
    fn default() -> Self {
        // A text that cannot be read admits nothing, and the check of the configuration says so.
        let shipped = serde_json::from_str::<PrincipalLimits>(LIMITS).ok();
        let limits = shipped.as_ref().map(|file| file.limits);
        let stop_rules = shipped.as_ref().map(|file| file.stop_rules);
        let dollars = |cost: MicroUsd| u32::try_from(cost.0 / 1_000_000).unwrap_or(0);
        Self {
            principal_rpm: limits.map_or(0, |limits| limits.rpm),
            principal_burst: limits.map_or(0, |limits| limits.burst),
            principal_concurrency: limits.map_or(0, |limits| limits.concurrency),
            principal_daily_cost_usd: limits.map_or(0, |limits| dollars(limits.daily_cost)),
            tenant_rpm: 6_000,
            tenant_burst: 1_000,
            tenant_concurrency: 200,
            tenant_daily_cost_usd: 1_000,
            max_plan_depth: stop_rules.map_or(0, |rules| rules.max_plan_depth),
            max_retries: stop_rules.map_or(0, |rules| rules.max_retries),
        }
    }
}

fn whole_dollars(usd: u32) -> MicroUsd {
    MicroUsd(u64::from(usd).saturating_mul(1_000_000))
}

impl Admission {
    /// The limits of a principal that has none of its own.
    pub fn principal(&self) -> Limits {
        Limits {
            rpm: self.principal_rpm,
            burst: self.principal_burst,
            concurrency: self.principal_concurrency,
            daily_cost: whole_dollars(self.principal_daily_cost_usd),
        }
    }

    /// The limits of a tenant that has none of its own.
    pub fn tenant(&self) -> Limits {
        Limits {
            rpm: self.tenant_rpm,
            burst: self.tenant_burst,
            concurrency: self.tenant_concurrency,
            daily_cost: whole_dollars(self.tenant_daily_cost_usd),
        }
    }

    /// When a plan has to stop.
    pub const fn stop_rules(&self) -> StopRules {
        StopRules {
            max_plan_depth: self.max_plan_depth,
            max_retries: self.max_retries,
        }
    }
}

/// Calls to other systems that tenants name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Egress {
    /// The largest answer of another system that is read.
    pub max_response_bytes: usize,
    /// How long one address may take to accept a connection.
    pub connect_timeout_seconds: u64,
    /// Name servers that are asked in place of the system's, each as `address:port`; none asks those of
    /// the system.
    pub name_servers: Vec<SocketAddr>,
    /// PEM files of further certificate authorities, for tool servers inside.
    pub ca_files: Vec<PathBuf>,
    /// Networks inside that named tool servers of named tenants may reach. Danger: whoever is
    /// named can send requests there. Metadata services stay closed.
    pub internal_networks: Vec<OpenedNetwork>,
}

impl Default for Egress {
    fn default() -> Self {
        Self {
            max_response_bytes: 1_048_576,
            connect_timeout_seconds: 3,
            name_servers: Vec::new(),
            ca_files: Vec::new(),
            internal_networks: Vec::new(),
        }
    }
}

/// A network inside, and who may reach it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenedNetwork {
    /// The addresses, as a CIDR block.
    pub network: IpNet,
    /// The ports.
    pub ports: Vec<u16>,
    /// Slugs of the tenants.
    pub tenants: Vec<String>,
    /// Names of their tool servers.
    pub servers: Vec<String>,
}

impl Egress {
    /// What was opened of the inside.
    pub fn networks(&self) -> InternalNetworks {
        let opened = self.internal_networks.iter().cloned();
        InternalNetworks::new(
            opened
                .map(|one| InternalNetwork {
                    network: one.network,
                    ports: one.ports,
                    tenants: one.tenants,
                    servers: one.servers,
                })
                .collect(),
        )
    }
}

/// The listener for the operator's own tools: metrics and health in detail. It asks for no token.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// The address that it listens on, never the public one; port 0 takes a free one. Without it there
    /// is no such listener.
    pub listen: Option<SocketAddr>,
    /// Hosts, without port, that requests may name besides addresses and `localhost`.
    pub allowed_hosts: Vec<String>,
}

/// What the replica tells its operator.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Which log lines are written: a level, or `tracing` directives such as
    /// `info,portcullis_store=debug`.
    pub log_level: String,
    /// The collector that spans and metrics are sent to. Without this section none is.
    pub otlp: Option<Otlp>,
}

/// The collector that spans and metrics are sent to. It is infrastructure: nobody else can name one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// `http://` or `https://`, host and port; over HTTP a path may follow, to which `/v1/traces` and
    /// `/v1/metrics` are added.
    pub endpoint: Url,
    /// How OTLP is spoken there.
    #[serde(default)]
    pub protocol: OtlpProtocol,
    /// A file of header fields that go with each request, `name: value` a line: the collector's token.
    pub headers_file: Option<PathBuf>,
    /// A PEM file of the authorities whose certificates are believed instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The share of calls that got what they asked for whose spans are sent; 0 to 1. Refusals and failures
    /// are sent whatever it is.
    #[serde(default = "default_sampling_ratio")]
    pub sampling_ratio: f64,
    /// So many more of those calls a second, whose callers say that they keep their own span.
    #[serde(default = "default_sampled_calls_per_second")]
    pub sampled_calls_per_second: u32,
    /// How often metrics are sent.
    #[serde(default = "default_metrics_interval_seconds")]
    pub metrics_interval_seconds: u64,
}

const fn default_sampling_ratio() -> f64 {
    0.1
}
const fn default_sampled_calls_per_second() -> u32 {
    10
}
const fn default_metrics_interval_seconds() -> u64 {
    15
}

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OtlpProtocol {
    /// gRPC.
    #[default]
    Grpc,
    /// Protobuf over HTTP.
    Http,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Json,
            log_level: "info".to_owned(),
            otlp: None,
        }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The URL of a role with its password in it, where that stands in a file of its own.
fn login(
    field: &str,
    url: &SecretString,
    password_file: Option<&Path>,
) -> Result<SecretString, ConfigError> {
    let Some(path) = password_file else {
        return Ok(url.clone());
    };
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::PasswordFile {
        field: field.to_owned(),
        path: path.to_owned(),
        source,
    })?;
    let password = SecretString::from(text.trim_end_matches(['\r', '\n']));
    with_password(url, &password).ok_or_else(|| ConfigError::PasswordPlace {
        field: field.to_owned(),
    })
}

/// A database URL with a password put into it.
fn with_password(url: &SecretString, password: &SecretString) -> Option<SecretString> {
    let mut url = Url::parse(url.expose_secret()).ok()?;
    url.set_password(Some(password.expose_secret())).ok()?;
    Some(SecretString::from(url.to_string()))
}

impl Control {
    /// The URL of the role that serves, with its password.
    ///
    /// # Errors
    /// The password file cannot be read, or the URL names no host to put it before.
    pub fn app(&self) -> Result<SecretString, ConfigError> {
        let file = self.app_password_file.as_deref();
        login("control.app_password_file", &self.app_url, file)
    }

    /// The URL of the role that does the named jobs, with its password.
    ///
    /// # Errors
    /// As [`Self::app`].
    pub fn sweeper(&self) -> Result<SecretString, ConfigError> {
        let file = self.sweeper_password_file.as_deref();
        login("control.sweeper_password_file", &self.sweeper_url, file)
    }

    /// The URL of the role that migrates, with its password, if there is one.
    ///
    /// # Errors
    /// As [`Self::app`].
    pub fn owner(&self) -> Result<Option<SecretString>, ConfigError> {
        let file = self.owner_password_file.as_deref();
        self.owner_url
            .as_ref()
            .map(|url| login("control.owner_password_file", url, file))
            .transpose()
    }
}

impl Region {
    /// The URL of the role that serves, with its password.
    ///
    /// # Errors
    /// The password file cannot be read, or the URL names no host to put it before.
    pub fn app(&self) -> Result<SecretString, ConfigError> {
        let file = self.app_password_file.as_deref();
        login("regions.*.app_password_file", &self.app_url, file)
    }

    /// The URL of the role that inserts records, with its password.
    ///
    /// # Errors
    /// As [`Self::app`].
    pub fn recorder(&self) -> Result<SecretString, ConfigError> {
        let file = self.recorder_password_file.as_deref();
        login("regions.*.recorder_password_file", &self.recorder_url, file)
    }

    /// The URL of the role that does the named jobs, with its password.
    ///
    /// # Errors
    /// As [`Self::app`].
    pub fn sweeper(&self) -> Result<SecretString, ConfigError> {
        let file = self.sweeper_password_file.as_deref();
        login("regions.*.sweeper_password_file", &self.sweeper_url, file)
    }

    /// The URL of the role that migrates, with its password, if there is one.
    ///
    /// # Errors
    /// As [`Self::app`].
    pub fn owner(&self) -> Result<Option<SecretString>, ConfigError> {
        let file = self.owner_password_file.as_deref();
        self.owner_url
            .as_ref()
            .map(|url| login("regions.*.owner_password_file", url, file))
            .transpose()
    }
}
