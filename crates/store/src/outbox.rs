//! Administrative changes, each written in the transaction that makes it. There is no right to edit
//! or remove one.

use portcullis_domain::Id;
use portcullis_domain::id::OutboxEntry;
use time::OffsetDateTime;

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
    let rows = sqlx::query!(
        "select id, actor, action, subject, detail, created_at from platform_outbox
         where $1::uuid is null or id > $1 order by id limit $2",
        page.after,
        page.limit()
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort("list the platform's changes"))?;
    Ok(rows
        .into_iter()
        .map(|row| OutboxRow {
            id: Id::from_row(row.id),
            actor: row.actor,
            action: row.action,
            subject: row.subject,
            detail: row.detail,
            created_at: row.created_at,
        })
        .collect())
}

/// The tenant's administrative changes, oldest first.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list(tx: &mut ControlTx, page: Page) -> Result<Vec<OutboxRow>, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let rows = sqlx::query!(
        "select id, actor, action, subject, detail, created_at from outbox
         where tenant_id = $1 and ($2::uuid is null or id > $2) order by id limit $3",
        tenant,
        page.after,
        page.limit()
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort("list administrative changes"))?;
    Ok(rows
        .into_iter()
        .map(|row| OutboxRow {
            id: Id::from_row(row.id),
            actor: row.actor,
            action: row.action,
            subject: row.subject,
            detail: row.detail,
            created_at: row.created_at,
        })
        .collect())
}
