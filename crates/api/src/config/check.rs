//! The rules that the values must keep, all of them told at once.

use std::fmt::Display;
use std::net::IpAddr;

use portcullis_domain::Limits;
use portcullis_egress::address;
use secrecy::{ExposeSecret, SecretString};
use tracing_subscriber::EnvFilter;
use url::{Host, Url};

use super::{Config, Egress, Environment, Otlp, OtlpProtocol, Profile, Server, Tls, Violation};

struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, field: impl Display, rule: impl Display, remedy: impl Display) {
        self.0.push(Violation {
            field: field.to_string(),
            rule: rule.to_string(),
            remedy: remedy.to_string(),
        });
    }

    fn between<N: PartialOrd + Display>(&mut self, field: &str, value: N, least: N, most: N) {
        if value < least || value > most {
            self.add(
                field,
                format_args!("must be between {least} and {most}, not {value}"),
                "Choose a value in that range",
            );
        }
    }
}

/// Every rule that the configuration breaks.
pub(super) fn violations(config: &Config, environment: &Environment) -> Vec<Violation> {
    let mut found = Findings(Vec::new());
    server(&config.server, &mut found);
    server_bounds(&config.server, &mut found);
    databases(config, &mut found);
    tokens_and_limits(config, &mut found);
    egress(&config.egress, &mut found);
    admin(config, &mut found);
    if let Some(collector) = &config.telemetry.otlp {
        otlp(collector, config.profile, &mut found);
    }
    if let Err(error) = EnvFilter::try_new(&config.telemetry.log_level) {
        found.add(
            "telemetry.log_level",
            format_args!("is no log filter: {error}"),
            "Write a level such as `info`, or directives such as `info,portcullis_store=debug`",
        );
    }
    match config.profile {
        Profile::Local => {}
        Profile::Production => production(config, environment, &mut found),
    }
    found.0
}

fn server(server: &Server, found: &mut Findings) {
    let url = &server.public_url;
    let bare = matches!(url.scheme(), "http" | "https")
        && url.host().is_some()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !bare {
        found.add(
            "server.public_url",
            "must be http:// or https://, a host and maybe a port, and nothing after",
            "Write it like `https://gate.example.com`",
        );
    }
    for origin in &server.allowed_origins {
        let same =
            Url::parse(origin).is_ok_and(|url| url.origin().ascii_serialization() == *origin);
        if !same {
            found.add(
                "server.allowed_origins",
                format_args!("`{origin}` is no web origin"),
                "Write scheme, host and port in lower case, like `https://app.example.com`",
            );
        }
    }
    for host in &server.allowed_hosts {
        let parsed = Url::parse(&format!("http://{host}/"));
        let plain = parsed.is_ok_and(|url| url.username().is_empty() && url.path() == "/");
        if !plain || host.contains(['/', '@', '?', '#', ' ', '*']) {
            found.add(
                "server.allowed_hosts",
                format_args!("`{host}` is no host or host:port"),
                "Write it as clients send it in `Host`, without scheme or wildcard",
            );
        }
    }
    for network in &server.trusted_proxies {
        if network.prefix_len() == 0 {
            found.add(
                "server.trusted_proxies",
                format_args!("{network} would let every client choose the address it is bound to"),
                "List only the networks of your own proxies",
            );
        }
    }
}

fn server_bounds(server: &Server, found: &mut Findings) {
    found.between(
        "server.max_body_bytes",
        server.max_body_bytes,
        1_024,
        16 << 20,
    );
    found.between(
        "server.max_head_bytes",
        server.max_head_bytes,
        8_192,
        1 << 20,
    );
    found.between(
        "server.max_connections",
        server.max_connections,
        1,
        1_000_000,
    );
    found.between(
        "server.head_timeout_seconds",
        server.head_timeout_seconds,
        1,
        300,
    );
    for (field, value) in [
        ("server.body_timeout_seconds", server.body_timeout_seconds),
        ("server.write_timeout_seconds", server.write_timeout_seconds),
        ("server.call_timeout_seconds", server.call_timeout_seconds),
    ] {
        found.between(field, value, 1, 600);
    }
    for (field, value) in [
        ("server.lame_duck_seconds", server.lame_duck_seconds),
        ("server.drain_seconds", server.drain_seconds),
    ] {
        found.between(field, value, 0, 600);
    }
}

/// Every database URL with its field's name.
fn database_urls(config: &Config) -> Vec<(String, &SecretString)> {
    let mut urls = vec![
        ("control.app_url".to_owned(), &config.control.app_url),
        (
            "control.sweeper_url".to_owned(),
            &config.control.sweeper_url,
        ),
    ];
    let owner = config.control.owner_url.as_ref();
    urls.extend(owner.map(|url| ("control.owner_url".to_owned(), url)));
    for (pool, region) in &config.regions {
        urls.push((format!("regions.{pool}.app_url"), &region.app_url));
        urls.push((format!("regions.{pool}.recorder_url"), &region.recorder_url));
        urls.push((format!("regions.{pool}.sweeper_url"), &region.sweeper_url));
        let owner = region.owner_url.as_ref();
        urls.extend(owner.map(|url| (format!("regions.{pool}.owner_url"), url)));
    }
    urls
}

fn databases(config: &Config, found: &mut Findings) {
    if config.regions.is_empty() {
        found.add(
            "regions",
            "must name at least one pool, or no call has a place to run",
            "Add a section like `[regions.eu-west]`",
        );
    }
    for (field, url) in database_urls(config) {
        let parsed = Url::parse(url.expose_secret());
        let postgres = parsed.is_ok_and(|url| matches!(url.scheme(), "postgres" | "postgresql"));
        if !postgres {
            found.add(
                field,
                "must be a postgres:// URL",
                "Write postgres://role@host:5432/database, the password in the field's *_password_file",
            );
        }
    }
    let control = config.control.max_connections;
    found.between("control.max_connections", control, 1, 1_000);
    for (pool, region) in &config.regions {
        let field = format!("regions.{pool}.max_connections");
        found.between(&field, region.max_connections, 1, 1_000);
    }
}

fn tokens_and_limits(config: &Config, found: &mut Findings) {
    let tokens = &config.tokens;
    found.between("tokens.lifetime_seconds", tokens.lifetime_seconds, 1, 600);
    found.between("tokens.network_prefix_v4", tokens.network_prefix_v4, 8, 32);
    found.between(
        "tokens.network_prefix_v6",
        tokens.network_prefix_v6,
        32,
        128,
    );
    found.between(
        "tokens.requests_per_minute",
        tokens.requests_per_minute,
        1,
        1_000_000,
    );
    found.between("tokens.request_burst", tokens.request_burst, 1, 100_000);
    limits("admission.principal", config.admission.principal(), found);
    limits("admission.tenant", config.admission.tenant(), found);
    found.between(
        "admission.max_plan_depth",
        config.admission.max_plan_depth,
        1,
        1_000,
    );
    found.between(
        "admission.max_retries",
        config.admission.max_retries,
        0,
        1_000,
    );
}

fn egress(egress: &Egress, found: &mut Findings) {
    found.between(
        "egress.max_response_bytes",
        egress.max_response_bytes,
        1_024,
        16 << 20,
    );
    found.between(
        "egress.connect_timeout_seconds",
        egress.connect_timeout_seconds,
        1,
        60,
    );
    for opened in &egress.internal_networks {
        let empty =
            opened.ports.is_empty() || opened.tenants.is_empty() || opened.servers.is_empty();
        if empty || opened.ports.contains(&0) {
            found.add(
                "egress.internal_networks",
                format_args!(
                    "{} must name at least one port, one tenant and one tool server",
                    opened.network
                ),
                "Fill `ports`, `tenants` and `servers`, or leave the network out",
            );
        }
        if !address::may_be_opened(opened.network) {
            found.add(
                "egress.internal_networks",
                format_args!(
                    "{} does not lie within one network of private use, loopback, shared address \
                     space or unique-local addresses",
                    opened.network
                ),
                "Name the network of the tool server itself, such as 10.20.0.0/16",
            );
        }
    }
}

/// Whoever reaches the admin listener may read it.
fn admin(config: &Config, found: &mut Findings) {
    let Some(listen) = config.admin.listen else {
        return;
    };
    if listen == config.server.listen && listen.port() != 0 {
        found.add(
            "admin.listen",
            "must not be the address of server.listen, which is public",
            "Choose another port",
        );
    }
    let near = match listen.ip() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    if config.profile == Profile::Production && !near {
        found.add(
            "admin.listen",
            format_args!("production refuses {listen}: metrics would be read without a token"),
            "Name one address of a private network or of this machine, such as the pod's own",
        );
    }
}

/// The collector hears who called what, and is sent its token.
fn otlp(otlp: &Otlp, profile: Profile, found: &mut Findings) {
    let url = &otlp.endpoint;
    let bare = matches!(url.scheme(), "http" | "https")
        && url.host().is_some()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let path = otlp.protocol == OtlpProtocol::Http || url.path() == "/";
    if !bare || !path {
        found.add(
            "telemetry.otlp.endpoint",
            "must be http:// or https://, a host and a port; a path only with protocol = \"http\"",
            "Write it like `https://collector.internal:4317`, a token into headers_file",
        );
    }
    if profile == Profile::Production && url.scheme() == "http" && !is_this_machine(url) {
        found.add(
            "telemetry.otlp.endpoint",
            "production refuses plain HTTP to another machine",
            "Give an https:// URL, with ca_file where the authority is your own",
        );
    }
    let ratio = "telemetry.otlp.sampling_ratio";
    found.between(ratio, otlp.sampling_ratio, 0.0, 1.0);
    if otlp.sampling_ratio.is_nan() {
        found.add(ratio, "must be a number", "Choose one between 0 and 1");
    }
    found.between(
        "telemetry.otlp.sampled_calls_per_second",
        otlp.sampled_calls_per_second,
        0,
        10_000,
    );
    found.between(
        "telemetry.otlp.metrics_interval_seconds",
        otlp.metrics_interval_seconds,
        1,
        3_600,
    );
}

/// Whether a URL names this machine.
fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn limits(front: &str, limits: Limits, found: &mut Findings) {
    if let Err(error) = limits.check() {
        found.add(
            format_args!("{front}_*"),
            error,
            "Choose a value in that range",
        );
    }
}

/// What only the local profile may do. Until keys in a KMS are built, one of these holds for
/// every configuration, and its remedy says so.
fn production(config: &Config, environment: &Environment, found: &mut Findings) {
    found.add(
        "keys.file",
        "production refuses a signing key in a local file",
        "Keys in a KMS are not built yet, so this release cannot start with profile = \"production\": \
         run it with profile = \"local\"",
    );
    match &config.server.tls {
        None => found.add(
            "server.tls",
            "production refuses plain HTTP",
            "Add a section [server.tls] with certificate_file and private_key_file",
        ),
        Some(Tls {
            listen: Some(_), ..
        }) => found.add(
            "server.tls.listen",
            "production refuses plain HTTP, which server.listen would go on to speak",
            "Leave it out: server.listen then speaks HTTPS",
        ),
        Some(_) => {}
    }
    if config.server.public_url.scheme() != "https" {
        found.add(
            "server.public_url",
            "production refuses plain HTTP",
            "Give an https:// URL",
        );
    }
    for entry in environment.secrets() {
        found.add(
            &entry.name,
            "production refuses secrets in the environment",
            "Unset it and write the URL into the configuration file, its password into the \
             field's *_password_file",
        );
    }
    for (field, url) in database_urls(config) {
        if !encrypted_or_local(url) {
            found.add(
                field,
                "production refuses a database connection without a verified certificate",
                "Add ?sslmode=verify-full, or name a Unix socket",
            );
        }
    }
}

fn encrypted_or_local(url: &SecretString) -> bool {
    Url::parse(url.expose_secret()).is_ok_and(|url| {
        url.query_pairs().any(|(key, value)| {
            (key == "sslmode" && value == "verify-full")
                || (key == "host" && value.starts_with('/'))
        })
    })
}

impl Server {
    /// The public origin as it stands in tokens and documents: no slash at its end.
    pub fn origin(&self) -> &str {
        self.public_url.as_str().trim_end_matches('/')
    }

    /// The values of `Host` that are served.
    pub fn served_hosts(&self) -> Vec<String> {
        if !self.allowed_hosts.is_empty() {
            return self.allowed_hosts.clone();
        }
        let mut hosts = Vec::new();
        if let Some(host) = self.public_url.host_str() {
            hosts.push(match self.public_url.port() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            });
        }
        let https = self.tls.as_ref().and_then(|tls| tls.listen);
        for listen in std::iter::once(self.listen).chain(https) {
            hosts.push(listen.to_string());
            if listen.ip().is_loopback() {
                hosts.push(format!("localhost:{}", listen.port()));
            }
        }
        hosts
    }

    /// Whether `listen` speaks HTTPS.
    pub fn listens_https(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.listen.is_none())
    }

    /// Whether only this machine can call.
    pub fn is_loopback(&self) -> bool {
        is_this_machine(&self.public_url) && self.listen.ip().is_loopback()
    }
}
