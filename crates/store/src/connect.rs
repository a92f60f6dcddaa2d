//! How connections are opened and checked. None must ever serve as a role that bypasses row-level
//! security.

use std::io::ErrorKind;
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};

use crate::error::Fault;
use crate::pooled::ConnectionPool;

/// How a pool behaves.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// The most connections of the pool.
    pub max_connections: u32,
    /// How many of them are opened before the pool is used, and kept: a burst right after the start
    /// then waits for no handshake.
    pub min_connections: u32,
    /// How long a caller waits for a connection.
    pub acquire_timeout: Duration,
    /// How long the server works on one statement.
    pub statement_timeout: Duration,
    /// How long a transaction may wait for its client's next statement.
    pub idle_in_transaction_timeout: Duration,
    /// What the connections are called in `pg_stat_activity`.
    pub application_name: &'static str,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            max_connections: 10,
            min_connections: 0,
            acquire_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(10),
            idle_in_transaction_timeout: Duration::from_secs(10),
            application_name: "portcullis",
        }
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The database cannot be reached, or refuses the connection.
    #[error("{database}: connect: the database cannot be reached; check its address and password")]
    Unavailable {
        /// Which database.
        database: &'static str,
        /// What the driver or the server said.
        #[source]
        source: Box<Fault>,
    },
    /// The address is no `postgres://` URL.
    #[error("{database}: connect: the address is no postgres:// URL")]
    Address {
        /// Which database.
        database: &'static str,
    },
    /// The role is, or may become, one that row-level security does not hold.
    #[error(
        "{database}: connect: role `{role}` is a superuser or bypasses row-level security, or may \
         become one that does; connect as `{expected}`"
    )]
    Bypasses {
        /// Which database.
        database: &'static str,
        /// The role of the address.
        role: String,
        /// The role that belongs here.
        expected: &'static str,
    },
    /// The role is not the one that the policies are written for.
    #[error("{database}: connect: role `{role}` has no work here; connect as `{expected}`")]
    WrongRole {
        /// Which database.
        database: &'static str,
        /// The role of the address.
        role: String,
        /// The role that belongs here.
        expected: &'static str,
    },
    /// The database is another pool's.
    #[error(
        "region: connect: this database is the pool `{found}`, not `{expected}`; check the address"
    )]
    WrongPool {
        /// The pool that the configuration names.
        expected: &'static str,
        /// The pool that the database was migrated for.
        found: String,
    },
}

/// The connections of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Those that are open and used.
    pub used: u32,
    /// Those that are open and wait.
    pub idle: u32,
    /// As many as there may be.
    pub most: u32,
}

/// Whether the server keeps what it acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posture {
    /// `fsync` is on.
    pub fsync: bool,
    /// `full_page_writes` is on.
    pub full_page_writes: bool,
    /// `synchronous_commit` is `on` or stronger.
    pub synchronous_commit: bool,
}

impl Posture {
    /// Whether a commit survives a crash of the machine.
    pub const fn durable(self) -> bool {
        self.fsync && self.full_page_writes && self.synchronous_commit
    }
}

/// The connection options of an address, with what every connection of ours sets.
pub(crate) fn address(
    database: &'static str,
    url: &SecretString,
    options: &ConnectOptions,
) -> Result<PgConnectOptions, ConnectError> {
    let text = url.expose_secret();
    let parsed = PgConnectOptions::from_str(text)
        .ok()
        // The driver takes any scheme.
        .filter(|_| text.starts_with("postgres://") || text.starts_with("postgresql://"))
        .ok_or(ConnectError::Address { database })?;
    Ok(parsed
        .application_name(options.application_name)
        // No statement text in logs: a literal could be anybody's.
        .disable_statement_logging()
        .options([
            ("statement_timeout", millis(options.statement_timeout)),
            (
                "idle_in_transaction_session_timeout",
                millis(options.idle_in_transaction_timeout),
            ),
            ("synchronous_commit", "on".to_owned()),
            // A `begin` in an open transaction is how connections come back clean, no news.
            ("client_min_messages", "error".to_owned()),
        ]))
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

pub(crate) fn unavailable(database: &'static str) -> impl FnOnce(sqlx::Error) -> ConnectError {
    move |error| ConnectError::Unavailable {
        database,
        source: Box::new(Fault::from(error)),
    }
}

/// Whether the connection was gone before the statement reached a server.
pub(crate) fn is_lost(error: &sqlx::Error) -> bool {
    match error.as_database_error() {
        // The server said good-bye: administrator's command, crash of a neighbour.
        Some(refusal) => matches!(refusal.code().as_deref(), Some("57P01" | "57P02")),
        None => matches!(error, sqlx::Error::Io(_)),
    }
}

/// Whether the server is not there yet, or has no room for one more connection yet.
pub(crate) fn is_starting(error: &sqlx::Error) -> bool {
    match error.as_database_error() {
        Some(refusal) => matches!(refusal.code().as_deref(), Some("53300" | "57P03")),
        None => matches!(error, sqlx::Error::Io(cause)
            if cause.kind() == ErrorKind::ConnectionRefused),
    }
}

/// Opens a pool for `expected` and refuses every other role.
pub(crate) async fn open(
    database: &'static str,
    expected: &'static str,
    url: &SecretString,
    options: &ConnectOptions,
) -> Result<ConnectionPool, ConnectError> {
    let pool = ConnectionPool::new(address(database, url, options)?, options)
        .map_err(unavailable(database))?;
    let mut connection = pool.get().await.map_err(unavailable(database))?;
    check_role(database, expected, connection.get()).await?;
    connection.give_back();
    let opened = pool.fill(options.min_connections).await;
    opened.map_err(unavailable(database))?;
    Ok(pool)
}

/// One connection outside any pool.
pub(crate) async fn fresh(
    database: &'static str,
    url: &SecretString,
    options: &ConnectOptions,
) -> Result<PgConnection, ConnectError> {
    let connect = address(database, url, options)?;
    match tokio::time::timeout(options.acquire_timeout, connect.connect()).await {
        Ok(connected) => connected.map_err(unavailable(database)),
        Err(_elapsed) => Err(unavailable(database)(sqlx::Error::PoolTimedOut)),
    }
}

/// Refuses a role that row-level security does not hold, whatever its name.
pub(crate) async fn check_role(
    database: &'static str,
    expected: &'static str,
    connection: &mut PgConnection,
) -> Result<(), ConnectError> {
    let found = sqlx::query!(
        r#"select current_user::text as "role!",
                  exists (select from pg_roles r
                          where (r.rolsuper or r.rolbypassrls)
                            and pg_has_role(current_user, r.oid, 'member')) as "bypasses!""#
    )
    .fetch_one(connection)
    .await
    .map_err(unavailable(database))?;
    if found.bypasses {
        return Err(ConnectError::Bypasses {
            database,
            role: found.role,
            expected,
        });
    }
    if found.role != expected {
        return Err(ConnectError::WrongRole {
            database,
            role: found.role,
            expected,
        });
    }
    Ok(())
}

/// Reads the server's durability settings.
pub(crate) async fn posture(connection: &mut PgConnection) -> Result<Posture, sqlx::Error> {
    let row = sqlx::query!(
        r#"select current_setting('fsync') = 'on' as "fsync!",
                  current_setting('full_page_writes') = 'on' as "full_page_writes!",
                  current_setting('synchronous_commit') in ('on', 'remote_apply')
                    as "synchronous_commit!""#
    )
    .fetch_one(connection)
    .await?;
    Ok(Posture {
        fsync: row.fsync,
        full_page_writes: row.full_page_writes,
        synchronous_commit: row.synchronous_commit,
    })
}
