//! The hosts that a tenant's tools may call, as policy sees them. What egress refuses stays refused,
//! whatever is listed here.

use std::collections::BTreeMap;

use sqlx::types::Json;
use time::OffsetDateTime;

use crate::control::ControlTx;
use crate::error::{StoreError, sort};

/// A tenant's allow-list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowlistRow {
    /// For every tool: `host` or `*.host`, each with a port or without.
    pub hosts: Vec<String>,
    /// For single tools, by their names.
    pub tools: Json<BTreeMap<String, Vec<String>>>,
    /// Changes with each update.
    pub version: i64,
    /// When it was last set.
    pub updated_at: OffsetDateTime,
}

/// The allow-list, if one was set.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn get(tx: &mut ControlTx) -> Result<Option<AllowlistRow>, StoreError> {
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        AllowlistRow,
        r#"select hosts, tools as "tools: Json<BTreeMap<String, Vec<String>>>", version, updated_at
           from egress_allowlists where tenant_id = $1"#,
        tenant
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort("read the egress allow-list"))
}

/// Sets the allow-list if it is still in the version that the caller read; one that was never set is
/// in version 0. Without a version, whatever its version.
///
/// # Errors
/// `Stale` where it is in another version, `NotFound` where the tenant does not exist.
#[expect(
    clippy::as_conversions,
    reason = "sqlx is told the type of a JSON parameter so"
)]
pub async fn set(
    tx: &mut ControlTx,
    hosts: &[String],
    tools: &BTreeMap<String, Vec<String>>,
    version: Option<i64>,
    now: OffsetDateTime,
) -> Result<AllowlistRow, StoreError> {
    let operation = "set the egress allow-list";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        AllowlistRow,
        r#"insert into egress_allowlists (tenant_id, hosts, updated_at, tools) values ($1, $2, $3, $5)
         on conflict (tenant_id) do update set
           hosts = excluded.hosts, tools = excluded.tools, version = egress_allowlists.version + 1,
           updated_at = excluded.updated_at
           where $4::bigint is null or egress_allowlists.version = $4
         returning hosts, tools as "tools: Json<BTreeMap<String, Vec<String>>>", version,
                   updated_at"#,
        tenant,
        hosts,
        now,
        version,
        Json(tools) as Json<&BTreeMap<String, Vec<String>>>
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort(operation))?
    .ok_or(StoreError::Stale { operation })
}
