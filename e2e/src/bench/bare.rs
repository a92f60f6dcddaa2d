//! What both bare servers share: the same statements as the platform's `orders.get` and `flag.set`,
//! through the same connectors and connection pool, committed, and nothing else of the platform.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use portcullis_domain::id::{Id, Tenant};
use portcullis_domain::{Pool, PrincipalName, SpanId, TraceId};
use portcullis_mcp_runtime::connectors::{
    Connectors, EffectMark, Invocation, NATIVE, SideEffect, ToolRef,
};
use portcullis_store::{ConnectOptions, RegionStore};
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::net::TcpListener;

/// What a bare server is told.
#[derive(Debug, Parser)]
pub struct Arguments {
    /// The data directory of the platform beside which it runs.
    #[arg(long)]
    pub data_dir: PathBuf,
    /// Whose orders it reads.
    #[arg(long)]
    pub tenant: Id<Tenant>,
    /// Members that it shows with these values, so that its answers are as long as the platform's.
    #[arg(long, default_value = "{}")]
    pub shown: String,
}

/// The tools of one tenant in its home pool.
#[derive(Debug)]
pub struct Tools {
    region: RegionStore,
    connectors: Connectors,
    tenant: Id<Tenant>,
    principal: PrincipalName,
    shown: Map<String, Value>,
}

impl Tools {
    /// Connects with the addresses of the platform's configuration file.
    ///
    /// # Errors
    /// The file cannot be read, or the database cannot be reached.
    pub async fn connect(arguments: &Arguments) -> Result<Self> {
        let pool = Pool::EuWest;
        let path = arguments.data_dir.join("portcullis.toml");
        let text = std::fs::read_to_string(&path).context("read the configuration")?;
        let file: toml::Table = text.parse().context("read the configuration")?;
        let section = file.get("regions").and_then(|all| all.get(pool.as_str()));
        let section = section.context("find the region in the configuration")?;
        let options = ConnectOptions {
            // As many as the platform opens for a region, unless it is told otherwise.
            max_connections: 8,
            application_name: "bench",
            ..ConnectOptions::default()
        };
        let region = RegionStore::connect(
            pool,
            address(section, "app")?,
            address(section, "recorder")?,
            options,
        );
        Ok(Self {
            region: region.await.context("connect to the region")?,
            connectors: Connectors::native(),
            tenant: arguments.tenant,
            principal: "agent:bench".parse().context("name the caller")?,
            shown: serde_json::from_str(&arguments.shown).context("read --shown")?,
        })
    }

    /// What a tool returns; what it changed is committed.
    ///
    /// # Errors
    /// The database fails.
    pub async fn call(&self, tool: &str, arguments: &Value) -> Result<Value> {
        let now = now();
        let invocation = Invocation {
            tenant: self.tenant,
            principal: Id::from_row(self.tenant.as_uuid()),
            principal_name: &self.principal,
            tool: ToolRef {
                name: tool,
                connector: NATIVE,
                config: None,
                reach: None,
            },
            arguments,
            region: &self.region,
            ticket: None,
            intent: Some(Id::mint(now, rand::random())),
            upstream_key: None,
            trace_id: TraceId::from_bytes([1; 16]),
            trace_state: None,
            span_id: SpanId::from_bytes([1; 8]),
            now,
            mark: &EffectMark::default(),
            watch: &portcullis_egress::Unwatched,
        };
        let output = self.connectors.invoke(invocation).await;
        let output = output.with_context(|| format!("run {tool}"))?;
        if let SideEffect::Pending(tx) = output.effect {
            tx.commit().await.context("commit")?;
        }
        let mut result = output.value;
        if let Some(Value::Object(order)) = result.get_mut("order") {
            order.extend(self.shown.clone());
        }
        Ok(result)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a bare server has nothing of the platform, and so not its clock"
)]
fn now() -> time::OffsetDateTime {
    std::time::SystemTime::now().into()
}

/// A role's address with its password.
fn address(section: &toml::Value, role: &str) -> Result<SecretString> {
    let text = |name: String| {
        let value = section.get(&name).and_then(toml::Value::as_str);
        value
            .with_context(|| format!("find {name}"))
            .map(str::to_owned)
    };
    let url = text(format!("{role}_url"))?;
    let file = text(format!("{role}_password_file"))?;
    let password = std::fs::read_to_string(Path::new(&file)).context("read a password")?;
    // It is base64url, which needs no escapes in a URL.
    let with_password = url.replacen('@', &format!(":{}@", password.trim()), 1);
    Ok(SecretString::from(with_password))
}

/// Listens on a free port and says which on standard output, for the program that started us.
///
/// # Errors
/// Nothing can be listened on.
pub async fn listen() -> Result<TcpListener> {
    use std::io::Write;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", listener.local_addr()?)?;
    out.flush()?;
    Ok(listener)
}
