//! Administrative changes, each written in the transaction that makes it. There is no right to edit
//! or remove one: raising the epoch notes which one the change began, and the relay marks that its record
//! is in the ledger.

use portcullis_domain::Id;
use portcullis_domain::id::OutboxEntry;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::control::{ControlTx, PlatformTx};
use crate::error::{StoreError, sort};
use crate::row::Page;

/// An administrative change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its id.
    pub id: Id<OutboxEntry>,
    /// Who made it.
    pub actor: String,
    /// What was done: `principal.create`.
    pub action: String,
    /// To what: an id or a name.
    pub subject: String,
    /// Canonical JSON of what changed, without secrets.
    pub detail: String,
    /// When.
    pub created_at: OffsetDateTime,
    /// The epoch that it began; none where no replica holds what it changed.
    pub epoch: Option<i64>,
}

/// A change to be written down.
#[derive(Debug, Clone, Copy)]
pub struct NewOutboxEntry<'a> {
    /// Its id.
    pub id: Id<OutboxEntry>,
    /// Who makes it.
    pub actor: &'a str,
    /// What is done: lower-case words with dots between.
    pub action: &'a str,
    /// To what: an id or a name.
    pub subject: &'a str,
    /// Canonical JSON of what changes, without secrets.
    pub detail: &'a str,
}

/// Writes a change down.
///
/// # Errors
/// `NotFound` where the tenant does not exist, `Invalid` where a value is outside its bounds.
pub async fn insert(
    tx: &mut ControlTx,
    new: NewOutboxEntry<'_>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let tenant = tx.tenant().as_uuid();
    sqlx::query!(
        "insert into outbox (tenant_id, id, actor, action, subject, detail, created_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        tenant,
        new.id.as_uuid(),
        new.actor,
        new.action,
        new.subject,
        new.detail,
        now
    )
    .execute(tx.connection())
    .await
    .map_err(sort("write an administrative change"))?;
    Ok(())
}

/// Writes a change of the platform's own things down.
///
/// # Errors
/// `Invalid` where a value is outside its bounds.
pub async fn insert_platform(
    tx: &mut PlatformTx,
    new: NewOutboxEntry<'_>,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into platform_outbox (id, actor, action, subject, detail, created_at)
         values ($1, $2, $3, $4, $5, $6)",
        new.id.as_uuid(),
        new.actor,
        new.action,
        new.subject,
        new.detail,
        now
    )
    .execute(tx.connection())
    .await
    .map_err(sort("write a change of the platform"))?;
    Ok(())
}

/// The changes of the platform's own things, oldest first.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list_platform(tx: &mut PlatformTx, page: Page) -> Result<Vec<OutboxRow>, StoreError> {
    sqlx::query_as!(
        Raw,
        "select id, actor, action, subject, detail, created_at, epoch from platform_outbox
         where $1::uuid is null or id > $1 order by id limit $2",
        page.after,
        page.limit()
    )
    .fetch_all(tx.connection())
    .await
    .map(read)
    .map_err(sort("list the platform's changes"))
}

/// The tenant's administrative changes, oldest first.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list(tx: &mut ControlTx, page: Page) -> Result<Vec<OutboxRow>, StoreError> {
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "select id, actor, action, subject, detail, created_at, epoch from outbox
         where tenant_id = $1 and ($2::uuid is null or id > $2) order by id limit $3",
        tenant,
        page.after,
        page.limit()
    )
    .fetch_all(tx.connection())
    .await
    .map(read)
    .map_err(sort("list administrative changes"))
}

/// The tenant's changes whose records are not known to be in the ledger yet, oldest first.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn waiting(tx: &mut ControlTx, page: Page) -> Result<Vec<OutboxRow>, StoreError> {
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "select id, actor, action, subject, detail, created_at, epoch from outbox
         where tenant_id = $1 and relayed_at is null and ($2::uuid is null or id > $2)
         order by id limit $3",
        tenant,
        page.after,
        page.limit()
    )
    .fetch_all(tx.connection())
    .await
    .map(read)
    .map_err(sort("read the changes that wait for the ledger"))
}

/// The platform's own changes whose records are not known to be in the ledger yet, oldest first.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn waiting_platform(
    tx: &mut PlatformTx,
    page: Page,
) -> Result<Vec<OutboxRow>, StoreError> {
    sqlx::query_as!(
        Raw,
        "select id, actor, action, subject, detail, created_at, epoch from platform_outbox
         where relayed_at is null and ($1::uuid is null or id > $1)
         order by id limit $2",
        page.after,
        page.limit()
    )
    .fetch_all(tx.connection())
    .await
    .map(read)
    .map_err(sort("read the platform's changes that wait for the ledger"))
}

/// Marks changes of the tenant whose records are durable. A change that is marked stays as it is.
/// Gives back how many were marked.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn mark_relayed(
    tx: &mut ControlTx,
    ids: &[Id<OutboxEntry>],
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let done = sqlx::query!(
        "update outbox set relayed_at = $3
         where tenant_id = $1 and id = any($2) and relayed_at is null",
        tenant,
        &uuids(ids),
        now
    )
    .execute(tx.connection())
    .await
    .map_err(sort("mark changes as relayed"))?;
    Ok(done.rows_affected())
}

/// Marks changes of the platform's own things whose records are durable, as [`mark_relayed`] does.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn mark_platform_relayed(
    tx: &mut PlatformTx,
    ids: &[Id<OutboxEntry>],
    now: OffsetDateTime,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "update platform_outbox set relayed_at = $2 where id = any($1) and relayed_at is null",
        &uuids(ids),
        now
    )
    .execute(tx.connection())
    .await
    .map_err(sort("mark the platform's changes as relayed"))?;
    Ok(done.rows_affected())
}

fn uuids(ids: &[Id<OutboxEntry>]) -> Vec<Uuid> {
    ids.iter().map(Id::as_uuid).collect()
}

struct Raw {
    id: Uuid,
    actor: String,
    action: String,
    subject: String,
    detail: String,
    created_at: OffsetDateTime,
    epoch: Option<i64>,
}

fn read(rows: Vec<Raw>) -> Vec<OutboxRow> {
    rows.into_iter()
        .map(|row| OutboxRow {
            id: Id::from_row(row.id),
            actor: row.actor,
            action: row.action,
            subject: row.subject,
            detail: row.detail,
            created_at: row.created_at,
            epoch: row.epoch,
        })
        .collect()
}
