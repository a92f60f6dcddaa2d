//! The named jobs that cross tenants, as the role that may do them and nothing else: its policies show
//! it only rows that are old enough to go, and no table with payloads.

use portcullis_domain::Pool;
use portcullis_domain::id::{Claim, Id, Tenant};
use secrecy::SecretString;
use sqlx::AssertSqlSafe;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::connect::{self, ConnectError, ConnectOptions};
use crate::error::{StoreError, sort};
use crate::pooled::{ConnectionPool, Tx};
use crate::region::DATABASE as REGION;
use crate::roles;

/// The sweeper of the control database.
#[derive(Debug, Clone)]
pub struct ControlSweeper {
    pool: ConnectionPool,
}

impl ControlSweeper {
    /// Connects as `portcullis_sweeper`, with one connection.
    ///
    /// # Errors
    /// Refuses every other role; fails where the database cannot be reached.
    pub async fn connect(url: SecretString) -> Result<Self, ConnectError> {
        let pool = connect::open("control", roles::SWEEPER, &url, &options()).await?;
        Ok(Self { pool })
    }

    /// Removes at most `limit` bindings of tokens that expired more than fifteen minutes ago, by the
    /// database's clock. Gives back how many; fewer than `limit` means that none are left.
    ///
    /// # Errors
    /// Fails where the database cannot be reached.
    pub async fn remove_expired_bindings(&self, limit: u32) -> Result<u64, StoreError> {
        let operation = "remove expired token bindings";
        let mut connection = self.pool.get().await.map_err(sort(operation))?;
        let done = sqlx::query!(
            "delete from token_bindings where (tenant_id, iss, jti) in (
               select tenant_id, iss, jti from token_bindings
               where expires_at < now() - interval '15 minutes'
               order by expires_at limit $1)",
            i64::from(limit)
        )
        .execute(connection.get())
        .await
        .map_err(sort(operation))?;
        connection.give_back();
        Ok(done.rows_affected())
    }

    /// Removes at most `limit` answers to idempotency keys that are older than a day.
    ///
    /// # Errors
    /// Fails where the database cannot be reached.
    pub async fn remove_old_replies(&self, limit: u32) -> Result<u64, StoreError> {
        let operation = "remove old answers";
        let mut connection = self.pool.get().await.map_err(sort(operation))?;
        let done = sqlx::query!(
            "delete from replies where (token_id, key) in (
               select token_id, key from replies
               where created_at < now() - interval '1 day'
               order by created_at limit $1)",
            i64::from(limit)
        )
        .execute(connection.get())
        .await
        .map_err(sort(operation))?;
        connection.give_back();
        Ok(done.rows_affected())
    }

    /// Removes at most `limit` entries of the change log that are older than a day.
    ///
    /// # Errors
    /// Fails where the database cannot be reached.
    pub async fn remove_old_changes(&self, limit: u32) -> Result<u64, StoreError> {
        let operation = "remove old changes";
        let mut connection = self.pool.get().await.map_err(sort(operation))?;
        let done = sqlx::query!(
            "delete from epoch_log where epoch in (
               select epoch from epoch_log where at < now() - interval '1 day'
               order by epoch limit $1)",
            i64::from(limit)
        )
        .execute(connection.get())
        .await
        .map_err(sort(operation))?;
        connection.give_back();
        Ok(done.rows_affected())
    }
}

/// The sweeper of a region's database.
#[derive(Debug, Clone)]
pub struct RegionSweeper {
    pool: Pool,
    database: ConnectionPool,
}

impl RegionSweeper {
    /// Connects as `portcullis_sweeper`, with one connection.
    ///
    /// # Errors
    /// Refuses every other role; fails where the database cannot be reached.
    pub async fn connect(pool: Pool, url: SecretString) -> Result<Self, ConnectError> {
        let database = connect::open(REGION, roles::SWEEPER, &url, &options()).await?;
        Ok(Self { pool, database })
    }

    /// Which pool this is.
    pub const fn pool(&self) -> Pool {
        self.pool
    }

    /// Makes what is missing of the partitions of records: this month's and the next twelve. Gives
    /// back how many were made.
    ///
    /// # Errors
    /// Fails where the database cannot be reached.
    pub async fn ensure_partitions(&self, now: OffsetDateTime) -> Result<i32, StoreError> {
        let operation = "make the partitions of records";
        let mut connection = self.database.get().await.map_err(sort(operation))?;
        let made = sqlx::query_scalar!(r#"select ensure_record_partitions($1) as "made!""#, now)
            .fetch_one(connection.get())
            .await
            .map_err(sort(operation))?;
        connection.give_back();
        Ok(made)
    }

    /// Removes at most `limit` claims that were completed more than a day ago, by the database's clock.
    /// A claim whose outcome is unknown stays until somebody resolves it.
    ///
    /// # Errors
    /// Fails where the database cannot be reached.
    pub async fn remove_completed_claims(&self, limit: u32) -> Result<u64, StoreError> {
        let operation = "remove completed claims";
        let mut connection = self.database.get().await.map_err(sort(operation))?;
        let done = sqlx::query!(
            "delete from claims where (tenant_id, id) in (
               select tenant_id, id from claims
               where state = 'done' and completed_at < now() - interval '24 hours'
               order by completed_at limit $1)",
            i64::from(limit)
        )
        .execute(connection.get())
        .await
        .map_err(sort(operation))?;
        connection.give_back();
        Ok(done.rows_affected())
    }

    /// Removes at most `limit` stored answers whose claims are gone.
    ///
    /// # Errors
    /// Fails where the database cannot be reached.
    pub async fn remove_old_answers(&self, limit: u32) -> Result<u64, StoreError> {
        let operation = "remove old answers";
        let mut connection = self.database.get().await.map_err(sort(operation))?;
        let done = sqlx::query!(
            "delete from stored_answers where (tenant_id, outcome_id) in (
               select tenant_id, outcome_id from stored_answers
               where stored_at < now() - interval '25 hours'
               order by stored_at limit $1)",
            i64::from(limit)
        )
        .execute(connection.get())
        .await
        .map_err(sort(operation))?;
        connection.give_back();
        Ok(done.rows_affected())
    }

    /// At most `limit` claims whose leases have ended, longest ago first, and not those of `aside`; none
    /// where another sweeper is at it. The turn lasts until it is dropped.
    ///
    /// # Errors
    /// Fails where the database cannot be reached.
    pub async fn expired_claims(
        &self,
        limit: u32,
        aside: &[Id<Claim>],
    ) -> Result<Option<ExpiredClaims>, StoreError> {
        let operation = "look for expired claims";
        let aside: Vec<Uuid> = aside.iter().map(Id::as_uuid).collect();
        // Safe: a literal.
        let begun = Tx::begin(&self.database, AssertSqlSafe("begin".to_owned())).await;
        let mut turn = begun.map_err(sort(operation))?;
        let ours = sqlx::query_scalar!(
            r#"select pg_try_advisory_xact_lock(hashtext('portcullis.reaper')) as "ours!""#
        )
        .fetch_one(turn.connection())
        .await
        .map_err(sort(operation))?;
        if !ours {
            return Ok(None);
        }
        let rows = sqlx::query!(
            "select tenant_id, id from claims where state = 'claimed' and lease_until < now()
               and id <> all($2)
             order by lease_until limit $1",
            i64::from(limit),
            &aside
        )
        .fetch_all(turn.connection())
        .await
        .map_err(sort(operation))?;
        let ids = rows
            .into_iter()
            .map(|row| (Id::from_row(row.tenant_id), Id::from_row(row.id)))
            .collect();
        Ok(Some(ExpiredClaims { ids, _turn: turn }))
    }
}

/// Claims whose leases have ended, and the turn to close them: while this lives, no other sweeper of
/// the region finds any.
#[derive(Debug)]
pub struct ExpiredClaims {
    /// Whose they are, and which.
    pub ids: Vec<(Id<Tenant>, Id<Claim>)>,
    _turn: Tx,
}

fn options() -> ConnectOptions {
    ConnectOptions {
        max_connections: 1,
        application_name: "portcullis-sweeper",
        ..ConnectOptions::default()
    }
}
