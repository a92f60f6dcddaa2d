//! One tool's configuration, checked against its definition and made ready for calls.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portcullis_domain::http_tool::{HttpMethod, HttpToolConfig};
use portcullis_domain::{Pool, ToolDefinition};
use portcullis_egress::{
    Allowance, Allowlist, Destination, Headers, InternalNetworks, Target, Unwatched,
};
use serde_json::{Map, Value};

use super::template::{self, PathTemplate};
use crate::catalog::Violation;

const DEFAULT_SUCCESS: [u16; 4] = [200, 201, 202, 204];
const DEFAULT_TIMEOUT_MS: u32 = 10_000;
const MAX_RETRIES: u8 = 5;
/// The idempotency key is the gate's own argument, not the upstream's.
const IDEMPOTENCY_KEY: &str = "idemKey";
/// Marks the argument that names a change ticket, which is the gate's own as well.
const TICKET: &str = "x-ticket";

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {rule}")]
pub struct ConfigFault {
    /// The field's path.
    pub field: String,
    /// The rule that it breaks.
    pub rule: String,
}

fn fault(field: impl Into<String>, rule: impl Into<String>) -> ConfigFault {
    ConfigFault {
        field: field.into(),
        rule: rule.into(),
    }
}

/// Where a tool's server is, for one pool.
#[derive(Debug, Clone)]
struct Base {
    /// Without a slash at its end.
    url: String,
    target: Target,
    /// Ports of this host that the tenant lists.
    ports: Vec<u16>,
}

/// A tool of the `http` connector, ready for calls.
#[derive(Debug, Clone)]
pub struct HttpTool {
    server: String,
    pub(super) method: HttpMethod,
    pub(super) mutating: bool,
    /// Whether a request may be repeated although an earlier one may have had its effect.
    pub(super) repeatable: bool,
    path: PathTemplate,
    query: BTreeMap<String, String>,
    body: Option<BTreeMap<String, String>>,
    bases: BTreeMap<Pool, Base>,
    pub(super) headers: Headers,
    pub(super) success: Vec<u16>,
    pub(super) retries: u8,
    pub(super) backoff: Duration,
    pub(super) timeout: Duration,
    pub(super) output: Map<String, Value>,
    pub(super) tenant: String,
    pub(super) name: String,
    all_listed: bool,
}

/// What a call sends.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) target: Target,
    pub(super) ports: Vec<u16>,
    pub(super) body: Option<Value>,
}

impl HttpTool {
    /// Checks a configuration against its tool's definition, for the tenant of this slug.
    ///
    /// # Errors
    /// Names the field and the rule that it breaks.
    pub fn new(
        definition: &ToolDefinition,
        config: &HttpToolConfig,
        tenant: &str,
        allowlist: &Allowlist,
    ) -> Result<Self, ConfigFault> {
        check_plain(definition, config)?;
        let path = PathTemplate::parse(&config.path).map_err(|rule| fault("path", rule))?;
        let body = mapping(definition, config, &path)?;
        let bases = bases(config, allowlist)?;
        check_egress(definition, &bases)?;
        let mut headers = Headers::new();
        for (name, value) in &config.headers {
            headers
                .configured(name, value)
                .map_err(|error| fault("headers", error.to_string()))?;
        }
        let retries = config.retries.unwrap_or_default();
        let timeout = config.timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS);
        let success = if config.success.is_empty() {
            DEFAULT_SUCCESS.to_vec()
        } else {
            config.success.clone()
        };
        Ok(Self {
            server: config.server.clone(),
            method: config.method,
            mutating: definition.mutating,
            repeatable: !definition.mutating
                || definition.idempotent
                || config.method.is_idempotent(),
            path,
            query: config.query.clone(),
            body,
            all_listed: bases.values().all(|base| allowlist.lists(&base.target)),
            bases,
            headers,
            success,
            retries: retries.count,
            backoff: Duration::from_millis(u64::from(retries.backoff_ms)),
            timeout: Duration::from_millis(u64::from(timeout)),
            output: definition.output_schema.clone(),
            tenant: tenant.to_owned(),
            name: definition.name.clone(),
        })
    }

    /// The tool server's name within the tenant.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Whether the tool has a server for this pool.
    pub fn serves(&self, pool: Pool) -> bool {
        self.bases.contains_key(&pool)
    }

    /// The host that is called, where it is the same for every pool.
    pub fn domain(&self) -> Option<String> {
        let hosts: BTreeSet<_> = self.bases.values().map(|base| base.target.host()).collect();
        let mut hosts = hosts.into_iter();
        match (hosts.next(), hosts.next()) {
            (Some(host), None) => Some(host),
            (None, _) | (Some(_), Some(_)) => None,
        }
    }

    /// The host of a pool's server.
    pub fn host(&self, pool: Pool) -> Option<String> {
        Some(self.bases.get(&pool)?.target.host())
    }

    /// Whether the tenant lists the server of every pool.
    pub const fn is_listed(&self) -> bool {
        self.all_listed
    }

    /// What the operator opened of the inside to this tool.
    pub(super) fn allowance(&self, networks: &InternalNetworks) -> Allowance {
        networks.allowance(&self.tenant, &self.server)
    }

    /// Checks what can be known of the servers before they are asked.
    ///
    /// # Errors
    /// Names the base URL and why it may not be reached.
    pub fn check_reach(&self, networks: &InternalNetworks) -> Result<(), ConfigFault> {
        let allowance = self.allowance(networks);
        for (pool, base) in &self.bases {
            let destination = Destination {
                target: &base.target,
                ports: &base.ports,
                allowance: &allowance,
                watch: &Unwatched,
            };
            destination
                .check()
                .map_err(|refusal| fault(format!("base_urls.{pool}"), refusal.to_string()))?;
        }
        Ok(())
    }

    /// Checks the arguments that go into the URL.
    pub(super) fn check(&self, arguments: &Map<String, Value>) -> Result<(), Violation> {
        self.path.fill(arguments)?;
        for name in self.query.values() {
            if let Some(text) = arguments.get(name).and_then(template::scalar) {
                template::check_text(name, &text)?;
            }
        }
        Ok(())
    }

    /// What a call with these arguments sends in this pool; none where they do not fit, which the
    /// check before it has refused.
    pub(super) fn call(&self, pool: Pool, arguments: &Map<String, Value>) -> Option<Call> {
        let base = self.bases.get(&pool)?;
        let path = self.path.fill(arguments).ok()?;
        let query: Vec<_> = self
            .query
            .iter()
            .filter_map(|(parameter, name)| {
                let text = arguments.get(name).and_then(template::scalar)?;
                let (parameter, text) = (template::encode(parameter), template::encode(&text));
                Some(format!("{parameter}={text}"))
            })
            .collect();
        let mut url = format!("{}{path}", base.url);
        if !query.is_empty() {
            url = format!("{url}?{}", query.join("&"));
        }
        let target = Target::parse(&url).ok()?;
        // The base decides who is called; nothing that was put after it can.
        let same = target.authority() == base.target.authority()
            && target.is_https() == base.target.is_https();
        same.then(|| Call {
            target,
            ports: base.ports.clone(),
            body: self.body.as_ref().map(|members| body(members, arguments)),
        })
    }
}

fn body(members: &BTreeMap<String, String>, arguments: &Map<String, Value>) -> Value {
    let filled = members.iter().filter_map(|(member, name)| {
        let value = arguments.get(name)?;
        Some((member.clone(), value.clone()))
    });
    Value::Object(filled.collect())
}

fn check_plain(definition: &ToolDefinition, config: &HttpToolConfig) -> Result<(), ConfigFault> {
    let server = &config.server;
    let named = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !server.starts_with(|c: char| c.is_ascii_lowercase())
        || server.len() > 63
        || !server.bytes().all(named)
        || server == crate::connectors::NATIVE
    {
        let rule = "must be 1 to 63 of a-z, 0-9 and -, begin with a letter, and not be `native`";
        return Err(fault("server", rule));
    }
    match (definition.mutating, config.method) {
        (true, HttpMethod::Get) => {
            return Err(fault("method", "must not be GET for a mutating tool"));
        }
        (false, HttpMethod::Put | HttpMethod::Patch | HttpMethod::Delete) => {
            let rule = "must be GET, or POST for a search, unless the tool is mutating";
            return Err(fault("method", rule));
        }
        (true, _) | (false, HttpMethod::Get | HttpMethod::Post) => {}
    }
    if config.success.len() > 20 || config.success.iter().any(|s| !(200..=299).contains(s)) {
        return Err(fault("success", "must be statuses from 200 to 299"));
    }
    if let Some(retries) = config.retries
        && (retries.count > MAX_RETRIES || !(10..=10_000).contains(&retries.backoff_ms))
    {
        let rule = "must have a `count` of at most 5 and a `backoff_ms` from 10 to 10000";
        return Err(fault("retries", rule));
    }
    if config
        .timeout_ms
        .is_some_and(|ms| !(100..=60_000).contains(&ms))
    {
        return Err(fault("timeout_ms", "must be from 100 to 60000"));
    }
    if config.headers.len() > 20 {
        return Err(fault("headers", "must be at most 20"));
    }
    Ok(())
}

/// The members of the body, none where there is no body. Every argument has to go somewhere, once.
fn mapping(
    definition: &ToolDefinition,
    config: &HttpToolConfig,
    path: &PathTemplate,
) -> Result<Option<BTreeMap<String, String>>, ConfigFault> {
    let empty = Map::new();
    let properties = definition
        .input_schema
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    for name in path.arguments() {
        check_scalar("path", name, properties)?;
        if !always_given(definition, properties, name) {
            let rule =
                format!("needs the argument `{name}`, which must be required or have a default");
            return Err(fault("path", rule));
        }
    }
    for (parameter, name) in &config.query {
        check_scalar("query", name, properties)?;
        if parameter.is_empty() || parameter.len() > 128 {
            return Err(fault("query", "must have parameters of 1 to 128 bytes"));
        }
    }
    let in_url: BTreeSet<&str> = path
        .arguments()
        .chain(config.query.values().map(String::as_str))
        .collect();
    let own = |name: &str, schema: &Value| name == IDEMPOTENCY_KEY || schema.get(TICKET).is_some();
    let rest = properties
        .iter()
        .filter(|(name, schema)| !in_url.contains(name.as_str()) && !own(name, schema))
        .map(|(name, _)| (name.clone(), name.clone()));
    match (&config.body, config.method.has_body()) {
        (None, true) => Ok(Some(rest.collect())),
        (Some(_), false) => Err(fault("body", "must be left out: the method has none")),
        (None, false) => {
            all_used("query", rest.map(|(name, _)| name), |_| false)?;
            Ok(None)
        }
        (Some(members), true) => {
            if let Some(name) = members
                .values()
                .find(|name| !properties.contains_key(*name))
            {
                return Err(fault(
                    "body",
                    format!("names `{name}`, which is no argument"),
                ));
            }
            let used: BTreeSet<_> = members.values().collect();
            all_used("body", rest.map(|(name, _)| name), |name| {
                used.contains(name)
            })?;
            Ok(Some(members.clone()))
        }
    }
}

fn all_used(
    field: &str,
    mut names: impl Iterator<Item = String>,
    used: impl Fn(&String) -> bool,
) -> Result<(), ConfigFault> {
    match names.find(|name| !used(name)) {
        None => Ok(()),
        Some(name) => Err(fault(
            field,
            format!("leaves the argument `{name}` without a place in the request"),
        )),
    }
}

fn check_scalar(
    field: &str,
    name: &str,
    properties: &Map<String, Value>,
) -> Result<(), ConfigFault> {
    let Some(schema) = properties.get(name) else {
        let rule = format!("names `{name}`, which is no argument of the input schema");
        return Err(fault(field, rule));
    };
    match schema.get("type").and_then(Value::as_str) {
        Some("string" | "integer" | "number" | "boolean") => Ok(()),
        Some(_) | None => Err(fault(
            field,
            format!("names `{name}`, whose type must be string, integer, number or boolean"),
        )),
    }
}

fn always_given(definition: &ToolDefinition, properties: &Map<String, Value>, name: &str) -> bool {
    let required = definition
        .input_schema
        .get("required")
        .and_then(Value::as_array);
    let required = required.is_some_and(|names| names.iter().any(|one| one == name));
    let default = properties
        .get(name)
        .is_some_and(|schema| schema.get("default").is_some());
    required || default
}

fn bases(
    config: &HttpToolConfig,
    allowlist: &Allowlist,
) -> Result<BTreeMap<Pool, Base>, ConfigFault> {
    if config.base_urls.is_empty() {
        return Err(fault("base_urls", "must have a URL for at least one pool"));
    }
    let mut bases = BTreeMap::new();
    for (pool, text) in &config.base_urls {
        let field = || format!("base_urls.{pool}");
        let target = Target::parse(text).map_err(|error| fault(field(), error.to_string()))?;
        if target.has_query() || text.contains('?') {
            return Err(fault(field(), "must not have a query"));
        }
        let ports = allowlist.ports(&target.host());
        let url = text.trim_end_matches('/').to_owned();
        bases.insert(*pool, Base { url, target, ports });
    }
    Ok(bases)
}

/// The definition says whom the tool calls; the configuration must not call anybody else.
fn check_egress(
    definition: &ToolDefinition,
    bases: &BTreeMap<Pool, Base>,
) -> Result<(), ConfigFault> {
    let called: BTreeSet<_> = bases.values().map(|base| base.target.host()).collect();
    let declared: BTreeSet<_> = definition.egress.iter().cloned().collect();
    if called == declared {
        return Ok(());
    }
    let called: Vec<_> = called.into_iter().collect();
    Err(fault(
        "definition.egress",
        format!(
            "must list the hosts of the base URLs and no others: {}",
            called.join(", ")
        ),
    ))
}
