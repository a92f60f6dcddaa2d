//! Connections that are kept open and lent to one caller at a time.
//!
//! A connection that did its work goes back as it is, without a round trip: it is known to be outside
//! any transaction, with every answer read, because what it did last said so. Every other one, whose
//! future was dropped half-way or whose statement failed, is rolled back first, by a task of its own.
//! This module must never lend a connection inside somebody's transaction: its tenant would be the
//! next caller's.

use std::fmt;
use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult};
use futures_util::future::try_join_all;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection, Executor, PgConnection};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::connect::{self, ConnectOptions, Connections};

/// Only a connection that was not used for this long can have died unseen.
const RESTED: Duration = Duration::from_secs(1);
/// A connection that was not used for this long is replaced: its server may have good use for the memory.
const IDLE: Duration = Duration::from_mins(10);
/// A connection of this age is replaced, so that no server's process grows for ever.
const AGE: Duration = Duration::from_mins(30);
/// How long ending a transaction may take beyond the statement that runs in it.
const CLEANING: Duration = Duration::from_secs(1);
/// Pauses between the tries to reach a server that is starting.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// The connections of a role to a database.
#[derive(Clone)]
pub(crate) struct ConnectionPool {
    kept: managed::Pool<Opener>,
    /// Who waits for the pool's end waits for every connection that is lent.
    lent: TaskTracker,
    options: ConnectOptions,
}

impl ConnectionPool {
    /// A pool that connects when it is first asked.
    pub(crate) fn new(
        address: PgConnectOptions,
        options: &ConnectOptions,
    ) -> Result<Self, sqlx::Error> {
        let most = usize::try_from(options.max_connections).unwrap_or(usize::MAX);
        let kept = managed::Pool::builder(Opener { address })
            .max_size(most)
            // The one that was used last is warm; those that are too many rest until they are replaced.
            .queue_mode(QueueMode::Lifo)
            .build();
        Ok(Self {
            kept: kept.map_err(|error| sqlx::Error::Configuration(Box::new(error)))?,
            lent: TaskTracker::new(),
            options: options.clone(),
        })
    }

    /// Lends a connection that is outside any transaction.
    pub(crate) async fn get(&self) -> Result<PooledConnection, sqlx::Error> {
        let within = self.options.acquire_timeout;
        match tokio::time::timeout(within, self.kept.get()).await {
            Ok(Ok(held)) => Ok(PooledConnection {
                held: Some(held),
                lent: self.lent.clone(),
                _token: self.lent.token(),
                // The server itself ends a statement that a cancelled caller left; a connection that is
                // silent beyond would keep its place until the kernel gives up on the line.
                restore_within: self.options.statement_timeout.saturating_add(CLEANING),
            }),
            Ok(Err(error)) => Err(sort(error)),
            Err(_elapsed) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    /// Opens connections until there are `number`.
    pub(crate) async fn fill(&self, number: u32) -> Result<(), sqlx::Error> {
        let number = number.min(self.options.max_connections);
        let opened = try_join_all((0..number).map(|_| self.get())).await?;
        opened.into_iter().for_each(PooledConnection::give_back);
        Ok(())
    }

    /// How often a caller may find that a connection had died in the pool.
    pub(crate) const fn tries(&self) -> u32 {
        self.options.max_connections
    }

    /// How many connections there are, and how many of them nobody uses.
    pub(crate) fn connections(&self) -> Connections {
        let status = self.kept.status();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Connections {
            used: count(status.size.saturating_sub(status.available)),
            idle: count(status.available.min(status.size)),
            most: self.options.max_connections,
        }
    }

    /// Closes every connection, waiting for those in use.
    pub(crate) async fn close(&self) {
        let idle = self.kept.retain(|_, _| false).removed;
        self.kept.close();
        for connection in idle {
            if let Err(error) = connection.close().await {
                tracing::debug!(%error, "a connection was gone before it was closed");
            }
        }
        self.lent.close();
        self.lent.wait().await;
    }
}

impl fmt::Debug for ConnectionPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionPool")
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

/// The driver's words for what the pool says.
fn sort(error: PoolError<sqlx::Error>) -> sqlx::Error {
    match error {
        PoolError::Backend(error) => error,
        PoolError::Timeout(_) => sqlx::Error::PoolTimedOut,
        PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
            sqlx::Error::PoolClosed
        }
    }
}

/// Opens connections.
struct Opener {
    address: PgConnectOptions,
}

impl managed::Manager for Opener {
    type Type = PgConnection;
    type Error = sqlx::Error;

    /// Waits for a server that is starting, as long as the caller waits.
    async fn create(&self) -> Result<PgConnection, sqlx::Error> {
        let (mut pause, longest) = PAUSES;
        loop {
            // Connecting is rare and large; every caller's future would carry the room for it.
            match Box::pin(self.address.connect()).await {
                Err(error) if connect::is_starting(&error) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(longest);
                }
                connected => return connected,
            }
        }
    }

    async fn recycle(
        &self,
        connection: &mut PgConnection,
        metrics: &Metrics,
    ) -> RecycleResult<sqlx::Error> {
        let rested = metrics.last_used();
        if rested > IDLE || metrics.age() > AGE {
            return Err(RecycleError::message("the connection is too old"));
        }
        if rested > RESTED {
            connection.ping().await?;
        }
        Ok(())
    }
}

/// A connection that is lent.
pub(crate) struct PooledConnection {
    held: Option<Object<Opener>>,
    lent: TaskTracker,
    _token: TaskTrackerToken,
    restore_within: Duration,
}

impl PooledConnection {
    #[expect(
        clippy::expect_used,
        reason = "it is taken only by `give_back`, which takes all of this, and by the drop"
    )]
    pub(crate) fn get(&mut self) -> &mut PgConnection {
        self.held.as_deref_mut().expect("the connection is held")
    }

    /// Gives the connection back as it is.
    ///
    /// INVARIANT: only after the last thing that it was asked for ended well and left no transaction
    /// open: a commit, or a statement alone.
    pub(crate) fn give_back(mut self) {
        drop(self.held.take());
    }
}

impl fmt::Debug for PooledConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledConnection").finish_non_exhaustive()
    }
}

impl Drop for PooledConnection {
    /// What was not given back may be anywhere.
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let unclean = Unclean(Some(held));
        // Without a runtime nothing can be asked of it; it is closed then.
        if let Ok(runtime) = Handle::try_current() {
            self.lent
                .spawn_on(unclean.restore(self.restore_within), &runtime);
        }
    }
}

/// A connection that may be in a transaction. It never goes back as such: if it cannot be restored, it
/// is closed, which ends the transaction too.
struct Unclean(Option<Object<Opener>>);

impl Unclean {
    async fn restore(mut self, within: Duration) {
        let Some(held) = &mut self.0 else { return };
        let ended = tokio::time::timeout(within, end_transaction(held)).await;
        let fault = match ended {
            Ok(Ok(())) => {
                drop(self.0.take());
                return;
            }
            Ok(Err(error)) => error,
            Err(_elapsed) => sqlx::Error::PoolTimedOut,
        };
        tracing::debug!(%fault, "a connection could not be rolled back, and is closed");
    }
}

impl Drop for Unclean {
    fn drop(&mut self) {
        if let Some(held) = self.0.take() {
            drop(Object::take(held));
        }
    }
}

/// Ends the transaction that a connection may be in.
///
/// A bare `rollback` outside a transaction is a warning in the server's log. After a `begin` it is none;
/// only in a transaction that failed is `begin` refused.
async fn end_transaction(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    if connection.execute("begin; rollback").await.is_err() {
        connection.execute("rollback").await?;
    }
    Ok(())
}

/// A transaction that ends with a commit or, dropped, is rolled back.
#[derive(Debug)]
pub(crate) struct Tx(PooledConnection);

impl Tx {
    /// Runs `start`, which begins.
    pub(crate) async fn begin(
        pool: &ConnectionPool,
        start: AssertSqlSafe<String>,
    ) -> Result<Self, sqlx::Error> {
        let mut connection = pool.get().await?;
        connection.get().execute(start).await?;
        Ok(Self(connection))
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        self.0.get()
    }

    pub(crate) async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.0.get().execute("commit").await?;
        self.0.give_back();
        Ok(())
    }
}
