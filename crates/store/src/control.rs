//! The control database and its two kinds of transaction. Neither can be changed into the other, and
//! neither gives its connection away.

use std::time::Duration;

use portcullis_domain::Id;
use portcullis_domain::id::Tenant;
use secrecy::SecretString;
use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::connect::{self, ConnectError, ConnectOptions, Connections, Posture};
use crate::epoch::EpochListener;
use crate::error::{StoreError, sort};
use crate::pooled::{ConnectionPool, Tx};
use crate::roles;

const DATABASE: &str = "control";
/// Connections of a store that is apart: one that is used, and room for those that a silent line holds
/// until they are given up.
const APART: u32 = 4;
/// How long a store that is apart waits for a connection, and its server works on a statement.
const IMPATIENCE: Duration = Duration::from_secs(2);

/// The control database, as the role that serves.
#[derive(Debug, Clone)]
pub struct ControlStore {
    pool: ConnectionPool,
    url: SecretString,
    options: ConnectOptions,
}

impl ControlStore {
    /// Connects as `portcullis_app`.
    ///
    /// # Errors
    /// Refuses a role that bypasses row-level security, and any role but `portcullis_app`; fails
    /// where the database cannot be reached.
    pub async fn connect(url: SecretString, options: ConnectOptions) -> Result<Self, ConnectError> {
        let pool = connect::open(DATABASE, roles::APP, &url, &options).await?;
        Ok(Self { pool, url, options })
    }

    /// Opens a transaction in which only `tenant`'s rows exist.
    ///
    /// # Errors
    /// Fails where the database cannot be reached in time.
    pub async fn begin(&self, tenant: Id<Tenant>) -> Result<ControlTx, StoreError> {
        let tx = begin(&self.pool, "begin", Some(tenant)).await?;
        Ok(ControlTx { tx, tenant })
    }

    /// Opens a transaction that reads one moment of `tenant`'s rows and changes nothing.
    ///
    /// # Errors
    /// Fails where the database cannot be reached in time.
    pub async fn begin_snapshot(&self, tenant: Id<Tenant>) -> Result<ControlTx, StoreError> {
        let start = "begin isolation level repeatable read read only";
        let tx = begin(&self.pool, start, Some(tenant)).await?;
        Ok(ControlTx { tx, tenant })
    }

    /// Opens a transaction without a tenant: it sees the platform tables and no tenant's rows.
    ///
    /// # Errors
    /// Fails where the database cannot be reached in time.
    pub async fn platform(&self) -> Result<PlatformTx, StoreError> {
        let tx = begin(&self.pool, "begin", None).await?;
        Ok(PlatformTx { tx })
    }

    /// The same database on connections of their own, which are opened when they are needed: for what
    /// must not wait behind callers. Few and impatient: a line that is silent is given up in seconds.
    ///
    /// # Errors
    /// The address is no `postgres://` URL.
    pub fn apart(&self) -> Result<Self, ConnectError> {
        let options = ConnectOptions {
            max_connections: APART,
            min_connections: 0,
            acquire_timeout: IMPATIENCE,
            statement_timeout: IMPATIENCE,
            idle_in_transaction_timeout: IMPATIENCE,
            application_name: "portcullis-epoch",
        };
        let address = connect::address(DATABASE, &self.url, &options)?;
        Ok(Self {
            pool: ConnectionPool::new(address, &options).map_err(connect::unavailable(DATABASE))?,
            url: self.url.clone(),
            options,
        })
    }

    /// Hears of new epochs, on a connection of its own.
    ///
    /// # Errors
    /// Fails where the database cannot be reached in time.
    pub async fn listen(&self) -> Result<EpochListener, StoreError> {
        let operation = "listen for epochs";
        let address = connect::address(DATABASE, &self.url, &self.options).map_err(|source| {
            StoreError::Internal {
                operation,
                source: Box::new(sqlx::Error::Configuration(Box::new(source)).into()),
            }
        })?;
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(self.options.acquire_timeout)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(address);
        let listener = PgListener::connect_with(&pool)
            .await
            .map_err(sort(operation))?;
        EpochListener::start(listener).await
    }

    /// Whether the server keeps what it acknowledged.
    ///
    /// # Errors
    /// Fails where the database cannot be reached in time.
    pub async fn posture(&self) -> Result<Posture, StoreError> {
        let mut tx = self.platform().await?;
        connect::posture(tx.connection())
            .await
            .map_err(sort("read the durability settings"))
    }

    /// How many connections there are, and how many of them nobody uses.
    pub fn connections(&self) -> Connections {
        self.pool.connections()
    }

    pub(crate) const fn pool(&self) -> &ConnectionPool {
        &self.pool
    }

    /// Closes every connection, waiting for those in use.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// A transaction in the control database, of one tenant.
#[derive(Debug)]
pub struct ControlTx {
    tx: Tx,
    tenant: Id<Tenant>,
}

impl ControlTx {
    /// Whose rows exist here.
    pub const fn tenant(&self) -> Id<Tenant> {
        self.tenant
    }

    /// Keeps the changes.
    ///
    /// # Errors
    /// Fails where the database went away; the changes are then probably lost, but may be kept.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.tx.commit().await.map_err(sort("commit"))
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        self.tx.connection()
    }
}

/// A transaction in the control database, of no tenant: for the platform tables alone.
#[derive(Debug)]
pub struct PlatformTx {
    tx: Tx,
}

impl PlatformTx {
    /// Keeps the changes.
    ///
    /// # Errors
    /// Fails where the database went away; the changes are then probably lost, but may be kept.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.tx.commit().await.map_err(sort("commit"))
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        self.tx.connection()
    }
}

/// The transaction of a change that a tenant or the platform makes.
#[derive(Debug)]
pub enum Within<'a> {
    /// In a tenant.
    Tenant(&'a mut ControlTx),
    /// In no tenant.
    Platform(&'a mut PlatformTx),
}

impl<'a> From<&'a mut ControlTx> for Within<'a> {
    fn from(tx: &'a mut ControlTx) -> Self {
        Self::Tenant(tx)
    }
}

impl<'a> From<&'a mut PlatformTx> for Within<'a> {
    fn from(tx: &'a mut PlatformTx) -> Self {
        Self::Platform(tx)
    }
}

impl Within<'_> {
    /// Whose rows exist; `None` for the platform.
    pub const fn tenant(&self) -> Option<Id<Tenant>> {
        match self {
            Self::Tenant(tx) => Some(tx.tenant()),
            Self::Platform(_) => None,
        }
    }

    /// The same for a shorter time.
    pub const fn again(&mut self) -> Within<'_> {
        match self {
            Self::Tenant(tx) => Within::Tenant(tx),
            Self::Platform(tx) => Within::Platform(tx),
        }
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        match self {
            Self::Tenant(tx) => tx.connection(),
            Self::Platform(tx) => tx.connection(),
        }
    }
}

/// Begins, and names the tenant, in one round trip. The setting ends with the transaction.
///
/// A connection may have died in the pool, with the server that it was to; nothing has happened in it
/// yet, so the next one is tried.
pub(crate) async fn begin(
    pool: &ConnectionPool,
    start: &'static str,
    tenant: Option<Id<Tenant>>,
) -> Result<Tx, StoreError> {
    let mut tries = pool.tries();
    loop {
        // Safe: a UUID is written with hexadecimal digits and hyphens alone, and `start` is a literal.
        let statement = AssertSqlSafe(match tenant {
            Some(tenant) => format!(
                "{start}; select set_config('app.tenant_id', '{}', true)",
                tenant.as_uuid()
            ),
            None => start.to_owned(),
        });
        match Tx::begin(pool, statement).await {
            Ok(tx) => return Ok(tx),
            Err(error) if tries > 0 && connect::is_lost(&error) => tries = tries.saturating_sub(1),
            Err(error) => return Err(sort("begin")(error)),
        }
    }
}
