//! Where the scenarios are played: replicas on one cluster, each with a line of its own to the control
//! database, and a tool server outside of everything that counts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::agent::{Agent, Grants, PATIENCE};
use crate::container::Postgres;
use crate::database::Database;
use crate::http::{Http, Reply};
use crate::management::Management;
use crate::mcp::McpClient;
use crate::platform::{Options, Platform};
use crate::proxy::Proxy;
use crate::replica::Replica;
use crate::upstream::{EFFECT, Upstream};

/// The tenant of every scenario.
pub const TENANT: &str = "acme";
/// A mutating tool whose effect is counted outside of the platform.
pub const TOOL: &str = "effects.make";
/// The tool server behind it.
pub const SERVER: &str = "effects";
/// The scope that it needs.
pub const SCOPE: &str = "effects.write";
/// The platform's own mutating tool, whose effect is in the transaction that ends its call.
pub const FLAG: &str = "flag.set";
/// The scope that it needs.
const FLAG_SCOPE: &str = "flags.write:staging";
/// The control database's name.
const CONTROL: &str = "portcullis_control";

/// A caller of the tool, by plain HTTP, at any replica.
#[derive(Debug, Clone)]
pub struct Caller {
    http: Http,
    agent: Agent,
    token: Arc<Mutex<String>>,
}

impl Caller {
    async fn new(agent: Agent) -> Result<Self> {
        let token = agent.token().await?;
        Ok(Self {
            http: Http::new()?,
            agent,
            token: Arc::new(Mutex::new(token)),
        })
    }

    /// The principal.
    pub const fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Gets a fresh token: the one before lives for ten minutes.
    ///
    /// # Errors
    /// The token endpoint refuses.
    pub async fn renew(&self) -> Result<()> {
        let fresh = self.agent.token().await?;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// The token.
    pub fn token(&self) -> String {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        token.clone()
    }

    /// Calls any tool at a replica.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn call(
        &self,
        url: &str,
        tool: &str,
        arguments: &Value,
        key: Option<&str>,
    ) -> Result<Reply> {
        let url = format!("{url}/t/{TENANT}/tools/{tool}");
        let mut request = self.http.post(&url).bearer_auth(self.token());
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        Reply::to(request.json(arguments)).await
    }

    /// Asks for an effect, under a key of the same name.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn make(&self, url: &str, effect: &str) -> Result<Reply> {
        self.call(url, TOOL, &json!({ EFFECT: effect }), Some(effect))
            .await
    }

    /// Sets a flag of a name of its own, under a key of the same name.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn set_flag(&self, url: &str, name: &str) -> Result<Reply> {
        let arguments = json!({"name": name, "env": "staging", "rolloutPct": 50});
        self.call(url, FLAG, &arguments, Some(name)).await
    }

    /// The same caller as an MCP client of a replica.
    ///
    /// # Errors
    /// The origin names no address.
    pub fn mcp(&self, url: &str) -> Result<McpClient> {
        let address = url.trim_start_matches("http://").parse();
        let client = McpClient::new(&self.http, self.agent.mcp_url().to_owned(), self.token());
        Ok(client.at(address.with_context(|| format!("find an address in {url}"))?))
    }
}

/// The replicas and what surrounds them.
#[derive(Debug)]
pub struct Stage {
    /// The tool server that counts.
    pub upstream: Upstream,
    /// The replicas under test.
    pub replicas: Vec<Replica>,
    /// The line of each replica to the control database, in the same order.
    pub lines: Vec<Proxy>,
    /// The caller.
    pub caller: Caller,
    /// The management API of a replica that no scenario touches.
    pub owner: Management,
    // Declared last, so that the databases go after the replicas.
    ground: Ground,
}

/// What the replicas stand on.
#[derive(Debug)]
struct Ground {
    /// Serves beside the replicas, and is never disturbed.
    entry: Replica,
    container: Option<Postgres>,
    /// The replicas' configuration file.
    settings: PathBuf,
    platform: Platform,
}

impl Ground {
    async fn lay(upstream: &Upstream) -> Result<Self> {
        let mut platform = Platform::start_with(Options::default().roomy()).await?;
        let settings = settings(&platform, upstream)?;
        let container = Postgres::if_wanted().await?;
        let mut own = Vec::new();
        if let Some(container) = &container {
            container.take_over(&platform)?;
            let status = platform.stop(Signal::SIGTERM).await?;
            ensure!(status.success(), "the platform ended with {status}");
            own = logins(container.address(), container.address());
        }
        let entry = Replica::configured(&platform, &settings, &borrowed(&own)).await?;
        Ok(Self {
            entry,
            container,
            settings,
            platform,
        })
    }

    fn database(&self, name: &str) -> Database {
        match &self.container {
            Some(container) => container.database(&self.platform, name),
            None => self.platform.database(name),
        }
    }

    /// The origin of the replica that no scenario touches.
    fn url(&self) -> String {
        self.entry.url()
    }

    async fn agent(&self, owner: &Management, scopes: &[&str]) -> Result<Agent> {
        let (issuer, public) = (self.url(), self.platform.url());
        Agent::create(owner, (&issuer, public), TENANT, &Grants::of(scopes)).await
    }

    /// A replica, and its own line to the control database.
    async fn replica(&self) -> Result<(Replica, Proxy)> {
        let line = Proxy::before(self.database(CONTROL).server()?).await?;
        let own = match &self.container {
            Some(container) => logins(line.address(), container.address()),
            None => control_logins(line.address()),
        };
        let own = borrowed(&own);
        let replica = Replica::configured(&self.platform, &self.settings, &own).await?;
        Ok((replica, line))
    }
}

/// The platform's configuration, with the tool server's place opened: it is on this machine, which no
/// tenant reaches otherwise.
///
/// # Errors
/// The configuration cannot be read or written.
pub fn settings(platform: &Platform, upstream: &Upstream) -> Result<PathBuf> {
    let written = platform.data().join("portcullis.toml");
    let text = std::fs::read_to_string(&written).context("read the configuration")?;
    let address = upstream.address();
    let opened = format!(
        "\n[[egress.internal_networks]]\nnetwork = \"{}/32\"\nports = [{}]\n\
         tenants = [\"{TENANT}\"]\nservers = [\"{SERVER}\"]\n",
        address.ip(),
        address.port()
    );
    let own = platform.data().join("replicas.toml");
    std::fs::write(&own, format!("{text}{opened}")).context("write the replicas' configuration")?;
    Ok(own)
}

/// Where the roles of a replica log in at the control database.
fn control_logins(control: SocketAddr) -> Vec<(String, String)> {
    let roles = ["app", "sweeper"].into_iter();
    roles
        .map(|role| {
            let name = format!("PORTCULLIS_CONTROL_{}_URL", role.to_uppercase());
            (name, login(role, control, CONTROL))
        })
        .collect()
}

/// Where the roles of a replica log in at every database.
fn logins(control: SocketAddr, regions: SocketAddr) -> Vec<(String, String)> {
    let mut all = control_logins(control);
    for pool in ["eu_west", "us_east"] {
        for role in ["app", "recorder", "sweeper"] {
            let name = format!("PORTCULLIS_REGIONS_{pool}_{role}_URL").to_uppercase();
            all.push((name, login(role, regions, &format!("portcullis_{pool}"))));
        }
    }
    all
}

fn login(role: &str, address: SocketAddr, database: &str) -> String {
    format!("postgres://portcullis_{role}@{address}/{database}?sslmode=disable")
}

fn borrowed(own: &[(String, String)]) -> Vec<(&str, &str)> {
    own.iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

impl Stage {
    /// Sets the stage with so many replicas.
    ///
    /// # Errors
    /// Something does not start, or the management API refuses a step.
    pub async fn set(replicas: usize) -> Result<Self> {
        let upstream = Upstream::start().await?;
        let ground = Ground::lay(&upstream).await?;
        let token = ground.platform.operator().owner_token(TENANT)?;
        let owner = Management::new(&ground.url(), token)?;
        register(&owner, &upstream).await?;
        raise(&owner).await?;
        let (mut running, mut lines) = (Vec::new(), Vec::new());
        for _ in 0..replicas {
            let (replica, line) = ground.replica().await?;
            running.push(replica);
            lines.push(line);
        }
        let agent = ground
            .agent(&owner, &[SCOPE, FLAG_SCOPE, "orders.read"])
            .await?;
        let stage = Self {
            upstream,
            replicas: running,
            lines,
            caller: Caller::new(agent).await?,
            owner,
            ground,
        };
        stage.all_serve().await?;
        Ok(stage)
    }

    /// Which PostgreSQL everything stands on.
    pub fn postgres(&self) -> &'static str {
        match &self.ground.container {
            Some(_) => "PostgreSQL in a container",
            None => "the embedded PostgreSQL",
        }
    }

    /// A database, as the superuser.
    pub fn database(&self, name: &str) -> Database {
        self.ground.database(name)
    }

    /// Kills a replica, counted round and round, and starts it again.
    ///
    /// # Errors
    /// It cannot be killed or does not come back.
    pub async fn kill(&mut self, number: usize) -> Result<()> {
        let place = number.checked_rem(self.replicas.len()).unwrap_or(0);
        let replica = self.replicas.get_mut(place).context("find a replica")?;
        replica.kill()?;
        replica.start_again(&self.ground.platform).await
    }

    /// Stops a replica, counted round and round, and starts it again; tells how it ended.
    ///
    /// # Errors
    /// It does not stop or does not come back.
    pub async fn restart(&mut self, number: usize) -> Result<ExitStatus> {
        let place = number.checked_rem(self.replicas.len()).unwrap_or(0);
        let replica = self.replicas.get_mut(place).context("find a replica")?;
        let status = replica.stop().await?;
        replica.start_again(&self.ground.platform).await?;
        Ok(status)
    }

    /// Another principal of the same tenant.
    ///
    /// # Errors
    /// The management API refuses a step.
    pub async fn another_caller(&self) -> Result<Caller> {
        let agent = self.ground.agent(&self.owner, &[SCOPE]).await?;
        let caller = Caller::new(agent).await?;
        for replica in &self.replicas {
            served(replica, &caller).await?;
        }
        Ok(caller)
    }

    /// One more replica, which reaches the database of the tenant's home pool over a line of its own
    /// where it serves.
    ///
    /// # Errors
    /// It does not start.
    pub async fn replica_with_a_line(&self) -> Result<(Replica, Proxy)> {
        const URL: &str = "PORTCULLIS_REGIONS_EU_WEST_APP_URL";
        const REGION: &str = "portcullis_eu_west";
        let line = Proxy::before(self.database(REGION).server()?).await?;
        let mut own = match &self.ground.container {
            Some(container) => logins(container.address(), container.address()),
            None => Vec::new(),
        };
        own.retain(|(name, _)| name != URL);
        own.push((URL.to_owned(), login("app", line.address(), REGION)));
        let Ground {
            platform, settings, ..
        } = &self.ground;
        let replica = Replica::configured(platform, settings, &borrowed(&own)).await?;
        served(&replica, &self.caller).await?;
        Ok((replica, line))
    }

    /// The origin of a replica, counted round and round.
    pub fn url(&self, number: usize) -> String {
        let place = number.checked_rem(self.replicas.len()).unwrap_or(0);
        self.replicas
            .get(place)
            .map(Replica::url)
            .unwrap_or_default()
    }

    /// Waits until every replica makes effects for the caller.
    ///
    /// # Errors
    /// One does not.
    pub async fn all_serve(&self) -> Result<()> {
        for replica in &self.replicas {
            served(replica, &self.caller).await?;
        }
        Ok(())
    }
}

async fn served(replica: &Replica, caller: &Caller) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = caller.make(&replica.url(), &unique("trial")).await?;
        if reply.status == 200 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "no effects: {}", reply.told());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A name that nothing else of this process has.
pub fn unique(of: &str) -> String {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    format!("{of}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Limits of the tenant that no scenario meets: its own were written when it was made.
async fn raise(owner: &Management) -> Result<()> {
    let limits = json!({
        "rpm": 10_000_000, "burst": 1_000_000, "concurrency": 10_000, "daily_cost_usd": 1_000_000
    });
    let stop_rules = json!({"max_plan_depth": 12, "max_retries": 3});
    let whole = json!({"limits": limits, "stop_rules": stop_rules});
    let path = format!("/tenants/{TENANT}/limits");
    owner.put(&path, &whole).await.map(drop)
}

/// Adds the tool to the tenant's catalog, lets it be called, and lets its server be reached.
///
/// # Errors
/// The management API refuses a step.
pub async fn register(owner: &Management, upstream: &Upstream) -> Result<()> {
    let effect = json!({"type": "string", "minLength": 1, "maxLength": 100});
    let definition = json!({
        "name": TOOL,
        "title": "Make an effect",
        "description": "Does something in another system, which counts it.",
        "inputSchema": {
            "type": "object",
            "properties": {EFFECT: effect.clone()},
            "required": [EFFECT],
            "additionalProperties": false,
        },
        "outputSchema": {
            "type": "object",
            "properties": {EFFECT: effect, "times": {"type": "integer"}},
            "required": [EFFECT, "times"],
            "additionalProperties": false,
        },
        "examples": [{"title": "One effect", "arguments": {EFFECT: "one"}}],
        "scope": SCOPE,
        "mutating": true,
        "risk": "low",
        "data": {"classes": [], "jurisdictions": []},
        "cost": {"micro_usd": 0, "max_micro_usd": 0},
        "idempotent": false,
        "egress": [upstream.address().ip().to_string()],
    });
    let base = format!("http://{}", upstream.address());
    let config = json!({
        "server": SERVER,
        "method": "POST",
        "path": "/effects",
        "base_urls": {"eu-west": base},
        "timeout_ms": 10_000,
    });
    let reached = json!({"hosts": [upstream.address().to_string()]});
    let allowed = format!("/tenants/{TENANT}/egress-allowlist");
    owner.put(&allowed, &reached).await?;
    let tool = json!({"connector": "http", "definition": definition, "config": config});
    let made = owner
        .create(&format!("/tenants/{TENANT}/tools"), &tool)
        .await?;
    ensure!(made.is_object(), "the tool is not there: {made}");
    let policy = include_str!("../../../policies/default.yaml");
    let rule =
        format!("  - rule: effects\n    when: {{ tool: \"{TOOL}\" }}\n    decision: allow\n");
    let policy = policy.replacen("\ntests:\n", &format!("\n{rule}\ntests:\n"), 1);
    owner.publish(TENANT, &policy).await
}
