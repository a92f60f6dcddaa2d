//! Feature flags, and who changed each when, from what to what. History is only ever added to.

use portcullis_domain::id::{Id, Principal, Record, Tenant, Ticket};
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::error::{StoreError, sort};
use crate::region::RegionTx;

/// Which flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlagKey<'a> {
    /// `dev`, `staging` or `prod`.
    pub env: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// A flag as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlagRow {
    /// To how many it is rolled out, in hundredths of a percent: 0 to 10,000.
    pub rollout: i64,
    /// When it was last set.
    pub updated_at: OffsetDateTime,
}

/// A change to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewFlagChange<'a> {
    /// Which flag.
    pub flag: FlagKey<'a>,
    /// To how many it shall be rolled out, in hundredths of a percent.
    pub to: i64,
    /// Who asked for it.
    pub principal: Id<Principal>,
    /// The change ticket that the call named, if it named one.
    pub ticket: Option<Id<Ticket>>,
    /// The record of the intent. One record changes one flag once.
    pub record: Id<Record>,
}

/// A change that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlagChangeRow {
    /// Where it stood before, in hundredths of a percent; none where it was new.
    pub from: Option<i64>,
    /// Where it stood then.
    pub to: i64,
    /// Who asked for it.
    pub principal: Id<Principal>,
    /// The change ticket that the call named, if it named one.
    pub ticket: Option<Id<Ticket>>,
    /// The record of the intent.
    pub record: Id<Record>,
    /// When.
    pub changed_at: OffsetDateTime,
}

/// Sets a flag and writes down that it was set. Gives where it stood before, if it was there.
///
/// # Errors
/// `Conflict` where the record has changed a flag already, `Invalid` where a value is outside its
/// bounds; then nothing of it stays.
pub async fn set(
    tx: &mut RegionTx,
    new: &NewFlagChange<'_>,
    now: OffsetDateTime,
) -> Result<Option<i64>, StoreError> {
    let tenant = tx.tenant();
    set_on(tx.connection(), tenant, new, now).await
}

/// The same in an open transaction of the tenant.
pub(crate) async fn set_on(
    connection: &mut PgConnection,
    tenant: Id<Tenant>,
    new: &NewFlagChange<'_>,
    now: OffsetDateTime,
) -> Result<Option<i64>, StoreError> {
    // The flag was new to both of two that set it at once: the second finds it at its next try. It has
    // waited for the first by then, and nobody removes a flag.
    for _try in 0..2 {
        if let Some(before) = try_set(connection, tenant, new, now).await? {
            return Ok(before);
        }
    }
    Err(StoreError::Stale {
        operation: "set a flag",
    })
}

/// One statement. Two that set the same flag wait for each other where it is locked, so each sees what
/// it replaces. None where it was made meanwhile; then nothing is written.
async fn try_set(
    connection: &mut PgConnection,
    tenant: Id<Tenant>,
    new: &NewFlagChange<'_>,
    now: OffsetDateTime,
) -> Result<Option<Option<i64>>, StoreError> {
    let row = sqlx::query!(
        r#"with stood as (
             select rollout_pct from flags where tenant_id = $1 and env = $2 and name = $3
             for update),
           made as (
             insert into flags (tenant_id, env, name, rollout_pct, updated_at)
             select $1, $2, $3, $4::bigint::numeric / 100, $5
             where not exists (select from stood)
             on conflict (tenant_id, env, name) do nothing
             returning null::numeric as before),
           moved as (
             update flags set rollout_pct = $4::bigint::numeric / 100, updated_at = $5
             from stood where tenant_id = $1 and env = $2 and name = $3
             returning stood.rollout_pct as before),
           changed as (select before from made union all select before from moved),
           told as (
             insert into flag_changes (tenant_id, record_id, env, name, from_pct, to_pct,
                                       principal_id, ticket_id, changed_at)
             select $1, $6, $2, $3, before, $4::bigint::numeric / 100, $7, $8, $5 from changed)
           select (before * 100)::bigint as "before?" from changed"#,
        tenant.as_uuid(),
        new.flag.env,
        new.flag.name,
        new.to,
        now,
        new.record.as_uuid(),
        new.principal.as_uuid(),
        new.ticket.map(|ticket| ticket.as_uuid()),
    )
    .fetch_optional(connection)
    .await
    .map_err(sort("set a flag"))?;
    Ok(row.map(|row| row.before))
}

/// A flag as it stands. Another tenant's is as one that does not exist.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn get(tx: &mut RegionTx, flag: FlagKey<'_>) -> Result<Option<FlagRow>, StoreError> {
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        FlagRow,
        r#"select (rollout_pct * 100)::bigint as "rollout!", updated_at from flags
           where tenant_id = $1 and env = $2 and name = $3"#,
        tenant,
        flag.env,
        flag.name
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort("read a flag"))
}

/// The last changes of a flag, newest first, at most `limit`.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn changes(
    tx: &mut RegionTx,
    flag: FlagKey<'_>,
    limit: u32,
) -> Result<Vec<FlagChangeRow>, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let rows = sqlx::query!(
        r#"select record_id, (from_pct * 100)::bigint as "before?",
                  (to_pct * 100)::bigint as "after!", principal_id, ticket_id, changed_at
           from flag_changes where tenant_id = $1 and env = $2 and name = $3
           order by changed_at desc, record_id desc limit $4"#,
        tenant,
        flag.env,
        flag.name,
        i64::from(limit)
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort("read a flag's changes"))?;
    Ok(rows
        .into_iter()
        .map(|row| FlagChangeRow {
            from: row.before,
            to: row.after,
            principal: Id::from_row(row.principal_id),
            ticket: row.ticket_id.map(Id::from_row),
            record: Id::from_row(row.record_id),
            changed_at: row.changed_at,
        })
        .collect())
}
