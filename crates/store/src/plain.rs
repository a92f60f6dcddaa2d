//! The statements of two tools on a plain pool, as the driver's documentation builds one: what the
//! benchmark compares the platform with. It is compiled for the benchmark alone.
//!
//! It must never differ from the platform in what it asks the database, only in how it keeps its
//! connections.

use portcullis_domain::id::{Id, Tenant};
use secrecy::SecretString;
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgPool, PgPoolOptions};
use time::OffsetDateTime;

use crate::connect::{self, ConnectError, ConnectOptions};
use crate::error::{StoreError, sort};
use crate::flags::{self, NewFlagChange};
use crate::orders::{self, OrderRow};
use crate::region::DATABASE;

/// A plain pool on a region's database.
#[derive(Debug, Clone)]
pub struct PlainRegion(PgPool);

impl PlainRegion {
    /// Connects with the defaults of the driver's pool, but for the number of connections and the
    /// question before each use whether the server is there, which would cost it a round trip.
    ///
    /// # Errors
    /// The address is none, or the database cannot be reached.
    pub async fn connect(url: SecretString, max_connections: u32) -> Result<Self, ConnectError> {
        let options = ConnectOptions {
            application_name: "bench",
            ..ConnectOptions::default()
        };
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .test_before_acquire(false);
        let pool = pool.connect_with(connect::address(DATABASE, &url, &options)?);
        pool.await.map(Self).map_err(connect::unavailable(DATABASE))
    }

    /// An order by its id.
    ///
    /// # Errors
    /// Fails where the database cannot be reached.
    #[expect(
        clippy::disallowed_methods,
        reason = "the platform's own connections are what this is compared with"
    )]
    pub async fn order(
        &self,
        tenant: Id<Tenant>,
        id: &str,
    ) -> Result<Option<OrderRow>, StoreError> {
        let operation = "read order";
        let mut connection = self.0.acquire().await.map_err(sort(operation))?;
        orders::find(&mut connection, tenant, id)
            .await
            .map_err(sort(operation))
    }

    /// Sets a flag and writes down that it was set, in a transaction.
    ///
    /// # Errors
    /// Fails where the database cannot be reached, or refuses a value.
    pub async fn set_flag(
        &self,
        tenant: Id<Tenant>,
        new: &NewFlagChange<'_>,
        now: OffsetDateTime,
    ) -> Result<Option<i64>, StoreError> {
        let operation = "set a flag";
        // Safe: a UUID is written with hexadecimal digits and hyphens alone.
        let begin = AssertSqlSafe(format!(
            "begin; select set_config('app.tenant_id', '{}', true)",
            tenant.as_uuid()
        ));
        let mut tx = self.0.begin_with(begin).await.map_err(sort(operation))?;
        let before = flags::set_on(&mut tx, tenant, new, now).await?;
        tx.commit().await.map_err(sort(operation))?;
        Ok(before)
    }
}
