//! A region's database and its transaction. A store must never be opened on another pool's database.

use portcullis_domain::id::Tenant;
use portcullis_domain::{Id, Pool};
use secrecy::SecretString;
use sqlx::{Connection, PgConnection};

use crate::connect::{self, ConnectError, ConnectOptions, Connections, Posture};
use crate::control::begin;
use crate::error::{StoreError, sort};
use crate::pooled::{ConnectionPool, Tx};
use crate::roles;

pub(crate) const DATABASE: &str = "region";

/// A pool's database, as the role that serves, with the address of the role that records.
#[derive(Debug, Clone)]
pub struct RegionStore {
    pool: Pool,
    app: ConnectionPool,
    recorder_url: SecretString,
    options: ConnectOptions,
}

impl RegionStore {
    /// Connects as `portcullis_app`, and checks that `recorder_url` is `portcullis_recorder` on the
    /// database of the same pool.
    ///
    /// # Errors
    /// Refuses a role that bypasses row-level security or is not the one named, and a database that
    /// was migrated for another pool; fails where the database cannot be reached.
    pub async fn connect(
        pool: Pool,
        app_url: SecretString,
        recorder_url: SecretString,
        options: ConnectOptions,
    ) -> Result<Self, ConnectError> {
        let app = connect::open(DATABASE, roles::APP, &app_url, &options).await?;
        let mut connection = connect::fresh(DATABASE, &app_url, &options).await?;
        check_pool(pool, &mut connection).await?;
        connection
            .close()
            .await
            .map_err(connect::unavailable(DATABASE))?;
        let mut connection = connect::fresh(DATABASE, &recorder_url, &options).await?;
        connect::check_role(DATABASE, roles::RECORDER, &mut connection).await?;
        check_pool(pool, &mut connection).await?;
        connection
            .close()
            .await
            .map_err(connect::unavailable(DATABASE))?;
        Ok(Self {
            pool,
            app,
            recorder_url,
            options,
        })
    }

    /// Which pool this is.
    pub const fn pool(&self) -> Pool {
        self.pool
    }

    /// Opens a transaction in which only `tenant`'s rows exist.
    ///
    /// # Errors
    /// Fails where the database cannot be reached in time.
    pub async fn begin(&self, tenant: Id<Tenant>) -> Result<RegionTx, StoreError> {
        let tx = begin(&self.app, "begin", Some(tenant)).await?;
        Ok(RegionTx { tx, tenant })
    }

    /// Whether the server keeps what it acknowledged.
    ///
    /// # Errors
    /// Fails where the database cannot be reached in time.
    pub async fn posture(&self) -> Result<Posture, StoreError> {
        let mut tx = begin(&self.app, "begin", None).await?;
        connect::posture(tx.connection())
            .await
            .map_err(sort("read the durability settings"))
    }

    /// How many connections there are, and how many of them nobody uses.
    pub fn connections(&self) -> Connections {
        self.app.connections()
    }

    /// Closes every connection, waiting for those in use.
    pub async fn close(&self) {
        self.app.close().await;
    }

    /// For a statement alone that names its tenant itself.
    pub(crate) const fn app(&self) -> &ConnectionPool {
        &self.app
    }

    pub(crate) async fn recorder(&self) -> Result<PgConnection, ConnectError> {
        connect::fresh(DATABASE, &self.recorder_url, &self.options).await
    }
}

/// A transaction in a region's database, of one tenant.
#[derive(Debug)]
pub struct RegionTx {
    tx: Tx,
    tenant: Id<Tenant>,
}

impl RegionTx {
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

async fn check_pool(pool: Pool, connection: &mut PgConnection) -> Result<(), ConnectError> {
    let found = sqlx::query_scalar!("select pool from pool_identity")
        .fetch_optional(connection)
        .await
        .map_err(connect::unavailable(DATABASE))?
        .unwrap_or_default();
    if found == pool.as_str() {
        Ok(())
    } else {
        Err(ConnectError::WrongPool {
            expected: pool.as_str(),
            found,
        })
    }
}
