//! Feature flags, and who changed each when, from what to what. History is only ever added to.

use portcullis_domain::id::{Id, Principal, Record, Ticket};
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
    let before = if insert(tx, new, now).await? {
        None
    } else {
        Some(update(tx, new, now).await?)
    };
    let tenant = tx.tenant().as_uuid();
    sqlx::query!(
        "insert into flag_changes (tenant_id, record_id, env, name, from_pct, to_pct, principal_id,
                                   ticket_id, changed_at)
         values ($1, $2, $3, $4, $5::bigint::numeric / 100, $6::bigint::numeric / 100, $7, $8, $9)",
        tenant,
        new.record.as_uuid(),
        new.flag.env,
        new.flag.name,
        before,
        new.to,
        new.principal.as_uuid(),
        new.ticket.map(|ticket| ticket.as_uuid()),
        now
    )
    .execute(tx.connection())
    .await
    .map_err(sort("write a flag's change down"))?;
    Ok(before)
}

/// Whether the flag was new.
async fn insert(
    tx: &mut RegionTx,
    new: &NewFlagChange<'_>,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let done = sqlx::query!(
        "insert into flags (tenant_id, env, name, rollout_pct, updated_at)
         values ($1, $2, $3, $4::bigint::numeric / 100, $5)
         on conflict (tenant_id, env, name) do nothing",
        tenant,
        new.flag.env,
        new.flag.name,
        new.to,
        now
    )
    .execute(tx.connection())
    .await
    .map_err(sort("insert a flag"))?;
    Ok(done.rows_affected() == 1)
}

/// Where the flag stood. Two that set it wait for each other here, so each sees what it replaces.
async fn update(
    tx: &mut RegionTx,
    new: &NewFlagChange<'_>,
    now: OffsetDateTime,
) -> Result<i64, StoreError> {
    let operation = "set a flag";
    let tenant = tx.tenant().as_uuid();
    let before = sqlx::query_scalar!(
        r#"select (rollout_pct * 100)::bigint as "rollout!" from flags
           where tenant_id = $1 and env = $2 and name = $3 for update"#,
        tenant,
        new.flag.env,
        new.flag.name
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort(operation))?
    .ok_or(StoreError::NotFound { operation })?;
    sqlx::query!(
        "update flags set rollout_pct = $4::bigint::numeric / 100, updated_at = $5
         where tenant_id = $1 and env = $2 and name = $3",
        tenant,
        new.flag.env,
        new.flag.name,
        new.to,
        now
    )
    .execute(tx.connection())
    .await
    .map_err(sort(operation))?;
    Ok(before)
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
