//! What both bare servers share: the same statements as the platform's `orders.get` and `flag.set`, on a
//! plain pool as the driver's documentation builds one, committed, and nothing else of the platform.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;
use portcullis_domain::Pool;
use portcullis_domain::id::{Id, Tenant};
use portcullis_store::flags::{FlagKey, NewFlagChange};
use portcullis_store::plain::PlainRegion;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokio::net::TcpListener;

/// As many connections as the platform opens for a region, unless it is told otherwise.
const CONNECTIONS: u32 = 8;

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
    region: PlainRegion,
    tenant: Id<Tenant>,
    shown: Map<String, Value>,
}

impl Tools {
    /// Connects with the addresses of the platform's configuration file.
    ///
    /// # Errors
    /// The file cannot be read, or the database cannot be reached.
    pub async fn connect(arguments: &Arguments) -> Result<Self> {
        let path = arguments.data_dir.join("portcullis.toml");
        let text = std::fs::read_to_string(&path).context("read the configuration")?;
        let file: toml::Table = text.parse().context("read the configuration")?;
        let region = Pool::EuWest.as_str();
        let section = file.get("regions").and_then(|all| all.get(region));
        let section = section.context("find the region in the configuration")?;
        let region = PlainRegion::connect(address(section)?, CONNECTIONS);
        Ok(Self {
            region: region.await.context("connect to the region")?,
            tenant: arguments.tenant,
            shown: serde_json::from_str(&arguments.shown).context("read --shown")?,
        })
    }

    /// What a tool returns; what it changed is committed.
    ///
    /// # Errors
    /// The database fails.
    pub async fn call(&self, tool: &str, arguments: &Value) -> Result<Value> {
        match tool {
            "orders.get" => self.order(arguments).await,
            "flag.set" => self.set_flag(arguments).await,
            other => bail!("there is no tool {other}"),
        }
    }

    async fn order(&self, arguments: &Value) -> Result<Value> {
        let id = text(arguments, "orderId")?;
        let found = self.region.order(self.tenant, id).await;
        let Some(row) = found.context("read an order")? else {
            return Ok(json!({ "found": false }));
        };
        let mut order = json!({
            "orderId": row.id,
            "customerId": row.customer_id,
            "customerName": row.customer_name,
            "email": row.email,
            "phone": row.phone,
            "currency": row.currency,
            "status": row.status,
            "placedOn": row.placed_on.to_string(),
            "total": row.total_cents,
        });
        if let Value::Object(order) = &mut order {
            order.extend(self.shown.clone());
        }
        Ok(json!({ "found": true, "order": order }))
    }

    async fn set_flag(&self, arguments: &Value) -> Result<Value> {
        let to = arguments.get("rolloutPct").and_then(Value::as_i64);
        let to = to.context("read rolloutPct")?;
        let (env, name) = (text(arguments, "env")?, text(arguments, "name")?);
        let now = now();
        let change = NewFlagChange {
            flag: FlagKey { env, name },
            to: to.saturating_mul(100),
            principal: Id::from_row(self.tenant.as_uuid()),
            ticket: None,
            record: Id::mint(now, rand::random()),
        };
        let before = self.region.set_flag(self.tenant, &change, now).await;
        let before = before.context("set a flag")?;
        Ok(json!({
            "name": name,
            "env": env,
            "rolloutPct": to,
            "previousPct": before.map(|before| before / 100),
        }))
    }
}

fn text<'a>(arguments: &'a Value, name: &str) -> Result<&'a str> {
    let value = arguments.get(name).and_then(Value::as_str);
    value.with_context(|| format!("find {name}"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a bare server has nothing of the platform, and so not its clock"
)]
fn now() -> OffsetDateTime {
    std::time::SystemTime::now().into()
}

/// The address of the role that serves, with its password.
fn address(section: &toml::Value) -> Result<SecretString> {
    let text = |name: &str| {
        let value = section.get(name).and_then(toml::Value::as_str);
        value
            .with_context(|| format!("find {name}"))
            .map(str::to_owned)
    };
    let url = text("app_url")?;
    let file = text("app_password_file")?;
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
