//! Limits: of the whole tenant, and of each principal.

use portcullis_domain::id::{Id, Principal};
use portcullis_domain::{Limits, MicroUsd, StopRules};
use time::OffsetDateTime;

use crate::control::ControlTx;
use crate::error::{StoreError, sort};
use crate::row::narrow;

/// Limits, and when a plan has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsRow {
    /// Whose they are; none for the whole tenant.
    pub principal: Option<Id<Principal>>,
    /// Rates, concurrency and money.
    pub limits: Limits,
    /// When a plan has to stop.
    pub stop_rules: StopRules,
    /// Changes with each update.
    pub version: i64,
    /// When they were last set.
    pub updated_at: OffsetDateTime,
}

pub(crate) struct Raw {
    pub(crate) principal_id: Option<uuid::Uuid>,
    pub(crate) rpm: i64,
    pub(crate) burst: i64,
    pub(crate) concurrency: i64,
    pub(crate) daily_cost_micro_usd: i64,
    pub(crate) max_plan_depth: i64,
    pub(crate) max_retries: i64,
    pub(crate) version: i64,
    pub(crate) updated_at: OffsetDateTime,
}

impl Raw {
    pub(crate) fn read(self, operation: &'static str) -> Result<LimitsRow, StoreError> {
        Ok(LimitsRow {
            principal: self.principal_id.map(Id::from_row),
            limits: Limits {
                rpm: narrow(operation, "rpm", self.rpm)?,
                burst: narrow(operation, "burst", self.burst)?,
                concurrency: narrow(operation, "concurrency", self.concurrency)?,
                daily_cost: MicroUsd(narrow(
                    operation,
                    "daily_cost_micro_usd",
                    self.daily_cost_micro_usd,
                )?),
            },
            stop_rules: StopRules {
                max_plan_depth: narrow(operation, "max_plan_depth", self.max_plan_depth)?,
                max_retries: narrow(operation, "max_retries", self.max_retries)?,
            },
            version: self.version,
            updated_at: self.updated_at,
        })
    }
}

/// Sets the limits of a principal, or of the whole tenant, whatever they were.
///
/// # Errors
/// `NotFound` where the principal or the tenant does not exist, `Invalid` where a limit is outside
/// its bounds.
pub async fn set(
    tx: &mut ControlTx,
    principal: Option<Id<Principal>>,
    limits: Limits,
    stop_rules: StopRules,
    now: OffsetDateTime,
) -> Result<LimitsRow, StoreError> {
    // What does not fit is beyond every bound of the table, which then refuses it.
    let daily_cost = i64::try_from(limits.daily_cost.0).unwrap_or(-1);
    match principal {
        Some(principal) => set_principal(tx, principal, limits, stop_rules, daily_cost, now).await,
        None => set_tenant(tx, limits, stop_rules, daily_cost, now).await,
    }
}

async fn set_principal(
    tx: &mut ControlTx,
    principal: Id<Principal>,
    limits: Limits,
    stop_rules: StopRules,
    daily_cost: i64,
    now: OffsetDateTime,
) -> Result<LimitsRow, StoreError> {
    let operation = "set a principal's limits";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        r#"insert into principal_limits
             (tenant_id, principal_id, rpm, burst, concurrency, daily_cost_micro_usd,
              max_plan_depth, max_retries, updated_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
           on conflict (tenant_id, principal_id) do update set
             rpm = excluded.rpm, burst = excluded.burst, concurrency = excluded.concurrency,
             daily_cost_micro_usd = excluded.daily_cost_micro_usd,
             max_plan_depth = excluded.max_plan_depth, max_retries = excluded.max_retries,
             version = principal_limits.version + 1, updated_at = excluded.updated_at
           returning principal_id as "principal_id?", rpm, burst, concurrency,
                     daily_cost_micro_usd, max_plan_depth, max_retries, version, updated_at"#,
        tenant,
        principal.as_uuid(),
        i64::from(limits.rpm),
        i64::from(limits.burst),
        i64::from(limits.concurrency),
        daily_cost,
        i64::from(stop_rules.max_plan_depth),
        i64::from(stop_rules.max_retries),
        now
    )
    .fetch_one(tx.connection())
    .await
    .map_err(sort(operation))?
    .read(operation)
}

async fn set_tenant(
    tx: &mut ControlTx,
    limits: Limits,
    stop_rules: StopRules,
    daily_cost: i64,
    now: OffsetDateTime,
) -> Result<LimitsRow, StoreError> {
    let operation = "set the tenant's limits";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        r#"insert into tenant_limits
             (tenant_id, rpm, burst, concurrency, daily_cost_micro_usd,
              max_plan_depth, max_retries, updated_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8)
           on conflict (tenant_id) do update set
             rpm = excluded.rpm, burst = excluded.burst, concurrency = excluded.concurrency,
             daily_cost_micro_usd = excluded.daily_cost_micro_usd,
             max_plan_depth = excluded.max_plan_depth, max_retries = excluded.max_retries,
             version = tenant_limits.version + 1, updated_at = excluded.updated_at
           returning null::uuid as principal_id, rpm, burst, concurrency,
                     daily_cost_micro_usd, max_plan_depth, max_retries, version, updated_at"#,
        tenant,
        i64::from(limits.rpm),
        i64::from(limits.burst),
        i64::from(limits.concurrency),
        daily_cost,
        i64::from(stop_rules.max_plan_depth),
        i64::from(stop_rules.max_retries),
        now
    )
    .fetch_one(tx.connection())
    .await
    .map_err(sort(operation))?
    .read(operation)
}

/// The limits of a principal, or of the whole tenant, if any were set.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn get(
    tx: &mut ControlTx,
    principal: Option<Id<Principal>>,
) -> Result<Option<LimitsRow>, StoreError> {
    let operation = "read limits";
    let tenant = tx.tenant().as_uuid();
    let raw = match principal {
        Some(principal) => {
            sqlx::query_as!(
                Raw,
                r#"select principal_id as "principal_id?", rpm, burst, concurrency,
                          daily_cost_micro_usd, max_plan_depth, max_retries, version, updated_at
                   from principal_limits where tenant_id = $1 and principal_id = $2"#,
                tenant,
                principal.as_uuid()
            )
            .fetch_optional(tx.connection())
            .await
        }
        None => {
            sqlx::query_as!(
                Raw,
                r#"select null::uuid as principal_id, rpm, burst, concurrency,
                          daily_cost_micro_usd, max_plan_depth, max_retries, version, updated_at
                   from tenant_limits where tenant_id = $1"#,
                tenant
            )
            .fetch_optional(tx.connection())
            .await
        }
    };
    raw.map_err(sort(operation))?
        .map(|raw| raw.read(operation))
        .transpose()
}

/// The limits of all principals that have their own, in the order of their ids, at most 100,000.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list(tx: &mut ControlTx) -> Result<Vec<LimitsRow>, StoreError> {
    let operation = "list limits";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        r#"select principal_id as "principal_id?", rpm, burst, concurrency,
                  daily_cost_micro_usd, max_plan_depth, max_retries, version, updated_at
           from principal_limits where tenant_id = $1 order by principal_id limit 100000"#,
        tenant
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort(operation))?
    .into_iter()
    .map(|raw| raw.read(operation))
    .collect()
}
