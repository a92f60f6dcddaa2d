//! Change tickets: what a person has agreed to. A ticket is never edited, only closed, and it binds
//! arguments of a tool, never personal data.

use portcullis_domain::id::{Id, Ticket};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::control::ControlTx;
use crate::error::{StoreError, sort};
use crate::row::Page;

/// The most tickets of a tenant that may be open at once: every replica holds all of them.
pub const MAX_OPEN: u32 = 1_000;

/// A ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketRow {
    /// Its id.
    pub id: Id<Ticket>,
    /// The tool that it is for.
    pub tool: String,
    /// The bound arguments, canonical JSON.
    pub arguments: String,
    /// Why the change is made.
    pub reason: String,
    /// Who opened it.
    pub opened_by: String,
    /// When.
    pub opened_at: OffsetDateTime,
    /// When it ends by itself.
    pub expires_at: OffsetDateTime,
    /// Who closed it, if anybody did.
    pub closed_by: Option<String>,
    /// When it was closed.
    pub closed_at: Option<OffsetDateTime>,
    /// Why it was closed, if that was said.
    pub closed_reason: Option<String>,
}

/// A ticket to be opened.
#[derive(Debug, Clone, Copy)]
pub struct NewTicket<'a> {
    /// Its id.
    pub id: Id<Ticket>,
    /// The tool that it is for.
    pub tool: &'a str,
    /// The bound arguments, canonical JSON.
    pub arguments: &'a str,
    /// Why the change is made.
    pub reason: &'a str,
    /// Who opens it.
    pub opened_by: &'a str,
    /// When it ends by itself.
    pub expires_at: OffsetDateTime,
}

/// Where a ticket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketState {
    /// A call may name it.
    Open,
    /// Somebody closed it.
    Closed,
    /// Its time is over, and nobody closed it.
    Expired,
}

/// Which tickets.
#[derive(Debug, Clone, Copy, Default)]
pub struct TicketFilter<'a> {
    /// Those of a tool.
    pub tool: Option<&'a str>,
    /// Those that stand so.
    pub state: Option<TicketState>,
}

pub(crate) struct Raw {
    pub(crate) id: Uuid,
    pub(crate) tool: String,
    pub(crate) arguments: String,
    pub(crate) reason: String,
    pub(crate) opened_by: String,
    pub(crate) opened_at: OffsetDateTime,
    pub(crate) expires_at: OffsetDateTime,
    pub(crate) closed_by: Option<String>,
    pub(crate) closed_at: Option<OffsetDateTime>,
    pub(crate) closed_reason: Option<String>,
}

impl From<Raw> for TicketRow {
    fn from(raw: Raw) -> Self {
        Self {
            id: Id::from_row(raw.id),
            tool: raw.tool,
            arguments: raw.arguments,
            reason: raw.reason,
            opened_by: raw.opened_by,
            opened_at: raw.opened_at,
            expires_at: raw.expires_at,
            closed_by: raw.closed_by,
            closed_at: raw.closed_at,
            closed_reason: raw.closed_reason,
        }
    }
}

impl TicketRow {
    /// Where it stands at a time.
    pub fn state(&self, now: OffsetDateTime) -> TicketState {
        match self.closed_at {
            Some(_) => TicketState::Closed,
            None if self.expires_at <= now => TicketState::Expired,
            None => TicketState::Open,
        }
    }
}

/// Opens a ticket; `None` where the tenant has [`MAX_OPEN`] open ones already.
///
/// # Errors
/// `NotFound` where the tool does not exist, `Invalid` where a value is outside its bounds.
pub async fn open(
    tx: &mut ControlTx,
    new: NewTicket<'_>,
    now: OffsetDateTime,
) -> Result<Option<TicketRow>, StoreError> {
    let operation = "open ticket";
    let tenant = tx.tenant().as_uuid();
    // Two that are opened at once would both count the same number.
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtextextended('portcullis.tickets.' || $1::text, 0))",
        tenant.to_string()
    )
    .fetch_one(tx.connection())
    .await
    .map_err(sort(operation))?;
    let row = sqlx::query_as!(
        Raw,
        "insert into tickets (tenant_id, id, tool, arguments, reason, opened_by, opened_at,
                              expires_at)
         select $1, $2, $3, $4, $5, $6, $7, $8
         where (select count(*) from tickets
                where tenant_id = $1 and closed_at is null and expires_at > $7) < $9
         returning id, tool, arguments, reason, opened_by, opened_at, expires_at, closed_by,
                   closed_at, closed_reason",
        tenant,
        new.id.as_uuid(),
        new.tool,
        new.arguments,
        new.reason,
        new.opened_by,
        now,
        new.expires_at,
        i64::from(MAX_OPEN)
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort(operation))?;
    Ok(row.map(Into::into))
}

/// A ticket by its id.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn get(tx: &mut ControlTx, id: Id<Ticket>) -> Result<Option<TicketRow>, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let row = sqlx::query_as!(
        Raw,
        "select id, tool, arguments, reason, opened_by, opened_at, expires_at, closed_by,
                closed_at, closed_reason
         from tickets where tenant_id = $1 and id = $2",
        tenant,
        id.as_uuid()
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort("read ticket"))?;
    Ok(row.map(Into::into))
}

/// The tenant's tickets, as they stand at `now`, in the order of their ids.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list(
    tx: &mut ControlTx,
    filter: TicketFilter<'_>,
    page: Page,
    now: OffsetDateTime,
) -> Result<Vec<TicketRow>, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let (closed, expired) = match filter.state {
        None => (None, None),
        Some(TicketState::Open) => (Some(false), Some(false)),
        Some(TicketState::Closed) => (Some(true), None),
        Some(TicketState::Expired) => (Some(false), Some(true)),
    };
    let rows = sqlx::query_as!(
        Raw,
        "select id, tool, arguments, reason, opened_by, opened_at, expires_at, closed_by,
                closed_at, closed_reason
         from tickets
         where tenant_id = $1 and ($2::uuid is null or id > $2)
           and ($3::text is null or tool = $3)
           and ($4::boolean is null or (closed_at is not null) = $4)
           and ($5::boolean is null or (expires_at <= $6) = $5)
         order by id limit $7",
        tenant,
        page.after,
        filter.tool,
        closed,
        expired,
        now,
        page.limit()
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort("list tickets"))?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Every ticket that a call may name at `now`, at most [`MAX_OPEN`].
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn all_open(
    tx: &mut ControlTx,
    now: OffsetDateTime,
) -> Result<Vec<TicketRow>, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let rows = sqlx::query_as!(
        Raw,
        "select id, tool, arguments, reason, opened_by, opened_at, expires_at, closed_by,
                closed_at, closed_reason
         from tickets
         where tenant_id = $1 and closed_at is null and expires_at > $2
         order by expires_at limit $3",
        tenant,
        now,
        i64::from(MAX_OPEN)
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort("read open tickets"))?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Closes a ticket, an expired one too. The first closing stands.
///
/// # Errors
/// `Stale` where it is closed already, `NotFound` where it does not exist.
pub async fn close(
    tx: &mut ControlTx,
    id: Id<Ticket>,
    by: &str,
    reason: Option<&str>,
    now: OffsetDateTime,
) -> Result<TicketRow, StoreError> {
    let operation = "close ticket";
    let tenant = tx.tenant().as_uuid();
    let done = sqlx::query!(
        "update tickets set closed_by = $3, closed_at = $4, closed_reason = $5
         where tenant_id = $1 and id = $2 and closed_at is null",
        tenant,
        id.as_uuid(),
        by,
        now,
        reason
    )
    .execute(tx.connection())
    .await
    .map_err(sort(operation))?;
    match get(tx, id).await? {
        None => Err(StoreError::NotFound { operation }),
        Some(_) if done.rows_affected() == 0 => Err(StoreError::Stale { operation }),
        Some(ticket) => Ok(ticket),
    }
}
