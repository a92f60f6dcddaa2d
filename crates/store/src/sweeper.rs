//! The named jobs that cross tenants, as the role that may do them and nothing else: its policies show
//! it only rows that are old enough to go, and no table with payloads.

use portcullis_domain::Pool;
use secrecy::SecretString;
use sqlx::postgres::PgPool;
use time::OffsetDateTime;

use crate::connect::{self, ConnectError, ConnectOptions};
use crate::error::{StoreError, sort};
use crate::region::DATABASE as REGION;
use crate::roles;

/// The sweeper of the control database.
#[derive(Debug, Clone)]
pub struct ControlSweeper {
    pool: PgPool,
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
        let done = sqlx::query!(
            "delete from token_bindings where (tenant_id, iss, jti) in (
               select tenant_id, iss, jti from token_bindings
               where expires_at < now() - interval '15 minutes'
               order by expires_at limit $1)",
            i64::from(limit)
        )
        .execute(&self.pool)
        .await
        .map_err(sort("remove expired token bindings"))?;
        Ok(done.rows_affected())
    }

    /// Removes at most `limit` answers to idempotency keys that are older than a day.
    ///
    /// # Errors
    /// Fails where the database cannot be reached.
    pub async fn remove_old_replies(&self, limit: u32) -> Result<u64, StoreError> {
        let done = sqlx::query!(
            "delete from replies where (token_id, key) in (
               select token_id, key from replies
               where created_at < now() - interval '1 day'
               order by created_at limit $1)",
            i64::from(limit)
        )
        .execute(&self.pool)
        .await
        .map_err(sort("remove old answers"))?;
        Ok(done.rows_affected())
    }

    /// Removes at most `limit` entries of the change log that are older than a day.
    ///
    /// # Errors
    /// Fails where the database cannot be reached.
    pub async fn remove_old_changes(&self, limit: u32) -> Result<u64, StoreError> {
        let done = sqlx::query!(
            "delete from epoch_log where epoch in (
               select epoch from epoch_log where at < now() - interval '1 day'
               order by epoch limit $1)",
            i64::from(limit)
        )
        .execute(&self.pool)
        .await
        .map_err(sort("remove old changes"))?;
        Ok(done.rows_affected())
    }
}

/// The sweeper of a region's database.
#[derive(Debug, Clone)]
pub struct RegionSweeper {
    pool: Pool,
    database: PgPool,
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
        sqlx::query_scalar!(r#"select ensure_record_partitions($1) as "made!""#, now)
            .fetch_one(&self.database)
            .await
            .map_err(sort("make the partitions of records"))
    }
}

fn options() -> ConnectOptions {
    ConnectOptions {
        max_connections: 1,
        application_name: "portcullis-sweeper",
        ..ConnectOptions::default()
    }
}
