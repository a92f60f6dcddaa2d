//! Orders, the data of the native tools. They are a tenant's customers' data: nothing here may log a
//! row.

use std::fmt;

use portcullis_domain::id::{Id, Tenant};
use sqlx::PgConnection;
use time::Date;

use crate::connect;
use crate::error::{StoreError, sort};
use crate::region::{RegionStore, RegionTx};

/// An order.
#[derive(Clone, PartialEq, Eq)]
pub struct OrderRow {
    /// Its id, unique within the tenant.
    pub id: String,
    /// The customer's id.
    pub customer_id: String,
    /// The customer's name.
    pub customer_name: String,
    /// The customer's e-mail address.
    pub email: String,
    /// The customer's telephone number.
    pub phone: String,
    /// Whose law the customer's data falls under: `EU`, `US`.
    pub jurisdiction: String,
    /// What was paid, in hundredths of the currency.
    pub total_cents: i64,
    /// ISO 4217.
    pub currency: String,
    /// Where the order stands.
    pub status: String,
    /// The day it was placed, in UTC.
    pub placed_on: Date,
    /// Free text.
    pub note: String,
}

impl fmt::Debug for OrderRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderRow")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Inserts orders; ones that are there already stay as they are. Gives back how many are new.
///
/// # Errors
/// `Internal` where an order is of another jurisdiction than the database, `Invalid` where a value
/// is outside its bounds; then none of them is inserted.
pub async fn insert(tx: &mut RegionTx, orders: &[OrderRow]) -> Result<u64, StoreError> {
    fn column<T>(orders: &[OrderRow], read: impl Fn(&OrderRow) -> T) -> Vec<T> {
        orders.iter().map(read).collect()
    }
    let tenant = tx.tenant().as_uuid();
    let done = sqlx::query!(
        "insert into orders (tenant_id, id, customer_id, customer_name, email, phone, jurisdiction,
                             total_cents, currency, status, placed_on, note)
         select $1, * from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                                  $7::text[], $8::bigint[], $9::text[], $10::text[], $11::date[],
                                  $12::text[])
         on conflict (tenant_id, id) do nothing",
        tenant,
        &column(orders, |o| o.id.clone()),
        &column(orders, |o| o.customer_id.clone()),
        &column(orders, |o| o.customer_name.clone()),
        &column(orders, |o| o.email.clone()),
        &column(orders, |o| o.phone.clone()),
        &column(orders, |o| o.jurisdiction.clone()),
        &column(orders, |o| o.total_cents),
        &column(orders, |o| o.currency.clone()),
        &column(orders, |o| o.status.clone()),
        &column(orders, |o| o.placed_on),
        &column(orders, |o| o.note.clone())
    )
    .execute(tx.connection())
    .await
    .map_err(sort("insert orders"))?;
    Ok(done.rows_affected())
}

/// An order by its id. Another tenant's is as one that does not exist. One statement alone, and so one
/// round trip.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn by_id(
    region: &RegionStore,
    tenant: Id<Tenant>,
    id: &str,
) -> Result<Option<OrderRow>, StoreError> {
    let mut tries = region.app().tries();
    loop {
        match find_alone(region, tenant, id).await {
            Ok(found) => return Ok(found),
            // The connection died in the pool; asking twice harms nothing.
            Err(error) if tries > 0 && connect::is_lost(&error) => tries = tries.saturating_sub(1),
            Err(error) => return Err(sort("read order")(error)),
        }
    }
}

async fn find_alone(
    region: &RegionStore,
    tenant: Id<Tenant>,
    id: &str,
) -> Result<Option<OrderRow>, sqlx::Error> {
    let mut connection = region.app().get().await?;
    let found = find(connection.get(), tenant, id).await?;
    connection.give_back();
    Ok(found)
}

/// The id that is compared is what the setting of the tenant returns: the setting is made before a row
/// is looked at, since the inner query cannot begin without it.
pub(crate) async fn find(
    connection: &mut PgConnection,
    tenant: Id<Tenant>,
    id: &str,
) -> Result<Option<OrderRow>, sqlx::Error> {
    sqlx::query_as!(
        OrderRow,
        "with bound as materialized (
           select set_config('app.tenant_id', $1::uuid::text, true)::uuid as tenant)
         select o.id, o.customer_id, o.customer_name, o.email, o.phone, o.jurisdiction,
                o.total_cents, o.currency, o.status, o.placed_on, o.note
         from bound cross join lateral (
           select * from orders where tenant_id = bound.tenant and id = $2 limit 1) as o",
        tenant.as_uuid(),
        id
    )
    .fetch_optional(connection)
    .await
}

/// The orders placed from `from` to `to`, both included, by day and id; at most `limit`. A caller
/// that has to know whether there are more asks for one more than it shows.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn in_range(
    tx: &mut RegionTx,
    from: Date,
    to: Date,
    limit: u32,
) -> Result<Vec<OrderRow>, StoreError> {
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        OrderRow,
        "select id, customer_id, customer_name, email, phone, jurisdiction, total_cents, currency,
                status, placed_on, note
         from orders where tenant_id = $1 and placed_on between $2 and $3
         order by placed_on, id limit $4",
        tenant,
        from,
        to,
        i64::from(limit)
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort("read orders of a range"))
}

/// How many orders the tenant has here.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn count(tx: &mut RegionTx) -> Result<i64, StoreError> {
    let tenant = tx.tenant().as_uuid();
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from orders where tenant_id = $1"#,
        tenant
    )
    .fetch_one(tx.connection())
    .await
    .map_err(sort("count orders"))
}
