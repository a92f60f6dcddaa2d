//! Kill switches. A tenant's transaction reads its own and those of the platform, and writes only what
//! the tenant itself dropped; a platform's writes only what the platform dropped. This module must never
//! decide who may lift one.

use portcullis_domain::SwitchKind;
use portcullis_domain::id::{Id, Switch, Tenant};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::control::{ControlTx, PlatformTx, Within};
use crate::epoch::{self, Raised};
use crate::error::{StoreError, sort};
use crate::row::{Page, expect_one, parse};

/// What the epoch log calls a flip of a switch.
pub const CHANGE: &str = "switch";

/// A kill switch that was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchRow {
    /// Its id.
    pub id: Id<Switch>,
    /// Whose calls it stops; none for every tenant's.
    pub tenant: Option<Id<Tenant>>,
    /// Whether the platform dropped it, and so alone lifts it.
    pub by_platform: bool,
    /// What it stops.
    pub kind: SwitchKind,
    /// The name of the tool, the server or the principal, where the kind has one.
    pub target: Option<String>,
    /// Why it was dropped.
    pub reason: String,
    /// Who dropped it.
    pub dropped_by: String,
    /// When.
    pub dropped_at: OffsetDateTime,
    /// When it ends by itself, if ever.
    pub expires_at: Option<OffsetDateTime>,
    /// The first of the two people that it takes to lift it, if one asked.
    pub lift_request: Option<LiftRequest>,
    /// How it ended, if it did.
    pub lifted: Option<Lifted>,
    /// The epoch of the last flip.
    pub epoch: i64,
    /// When the last flip was, by the database's clock.
    pub raised_at: Option<OffsetDateTime>,
}

/// Somebody's wish to lift a switch, which another has to confirm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiftRequest {
    /// Whose.
    pub by: String,
    /// Since when.
    pub at: OffsetDateTime,
}

/// How a switch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifted {
    /// Who lifted it.
    pub by: String,
    /// When.
    pub at: OffsetDateTime,
    /// Why.
    pub reason: String,
}

/// A switch to be dropped. In a tenant's transaction it stops that tenant's calls.
#[derive(Debug, Clone, Copy)]
pub struct NewSwitch<'a> {
    /// Its id.
    pub id: Id<Switch>,
    /// Whose calls it stops, where the platform drops it; none for every tenant's.
    pub tenant: Option<Id<Tenant>>,
    /// What it stops.
    pub kind: SwitchKind,
    /// The name of the tool, the server or the principal.
    pub target: Option<&'a str>,
    /// Why: 3 to 500 characters.
    pub reason: &'a str,
    /// Who drops it.
    pub dropped_by: &'a str,
    /// When it ends by itself, if ever.
    pub expires_at: Option<OffsetDateTime>,
}

struct Raw {
    id: Uuid,
    tenant_id: Option<Uuid>,
    by_platform: bool,
    kind: String,
    target: Option<String>,
    reason: String,
    dropped_by: String,
    dropped_at: OffsetDateTime,
    expires_at: Option<OffsetDateTime>,
    lift_requested_by: Option<String>,
    lift_requested_at: Option<OffsetDateTime>,
    lifted_by: Option<String>,
    lifted_at: Option<OffsetDateTime>,
    lift_reason: Option<String>,
    epoch: i64,
    raised_at: Option<OffsetDateTime>,
}

impl Raw {
    fn read(self, operation: &'static str) -> Result<SwitchRow, StoreError> {
        let request = self.lift_requested_by.zip(self.lift_requested_at);
        let lifted = self.lifted_by.zip(self.lifted_at).zip(self.lift_reason);
        Ok(SwitchRow {
            id: Id::from_row(self.id),
            tenant: self.tenant_id.map(Id::from_row),
            by_platform: self.by_platform,
            kind: parse(operation, "kind", &self.kind)?,
            target: self.target,
            reason: self.reason,
            dropped_by: self.dropped_by,
            dropped_at: self.dropped_at,
            expires_at: self.expires_at,
            lift_request: request.map(|(by, at)| LiftRequest { by, at }),
            lifted: lifted.map(|((by, at), reason)| Lifted { by, at, reason }),
            epoch: self.epoch,
            raised_at: self.raised_at,
        })
    }
}

fn read_all(operation: &'static str, rows: Vec<Raw>) -> Result<Vec<SwitchRow>, StoreError> {
    rows.into_iter().map(|raw| raw.read(operation)).collect()
}

/// Drops a switch. [`raise`] has to follow, last in the transaction.
///
/// # Errors
/// `Conflict` where the same switch is down already, `NotFound` where the tenant does not exist,
/// `Invalid` where a value is outside its bounds or the kind is not the transaction's to drop.
pub async fn create(
    mut within: Within<'_>,
    new: NewSwitch<'_>,
    now: OffsetDateTime,
) -> Result<SwitchRow, StoreError> {
    let operation = "drop a switch";
    let own = within.tenant();
    sqlx::query_as!(
        Raw,
        "insert into switches (id, tenant_id, by_platform, kind, target, reason, dropped_by,
                               dropped_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         returning id, tenant_id, by_platform, kind, target, reason, dropped_by, dropped_at,
                   expires_at, lift_requested_by, lift_requested_at, lifted_by, lifted_at,
                   lift_reason, epoch, raised_at",
        new.id.as_uuid(),
        own.or(new.tenant).map(|tenant| tenant.as_uuid()),
        own.is_none(),
        new.kind.as_str(),
        new.target,
        new.reason,
        new.dropped_by,
        now,
        new.expires_at
    )
    .fetch_one(within.connection())
    .await
    .map_err(sort(operation))?
    .read(operation)
}

/// Raises the epoch for a switch that was dropped or lifted, and notes it there. It has to be the last
/// statement before the commit.
///
/// # Errors
/// `NotFound` where the switch is none of the transaction's.
pub async fn raise(
    mut within: Within<'_>,
    row: &SwitchRow,
    now: OffsetDateTime,
) -> Result<Raised, StoreError> {
    let raised = epoch::raise_for(within.again(), row.tenant, CHANGE, now).await?;
    let operation = "note the epoch of a switch";
    let done = sqlx::query!(
        "update switches set epoch = $2, raised_at = $3 where id = $1",
        row.id.as_uuid(),
        raised.epoch,
        raised.at
    )
    .execute(within.connection())
    .await
    .map_err(sort(operation))?;
    expect_one(operation, done.rows_affected())?;
    Ok(raised)
}

/// A switch that the transaction sees.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn get(mut within: Within<'_>, id: Id<Switch>) -> Result<Option<SwitchRow>, StoreError> {
    let operation = "read a switch";
    sqlx::query_as!(
        Raw,
        "select id, tenant_id, by_platform, kind, target, reason, dropped_by, dropped_at,
                expires_at, lift_requested_by, lift_requested_at, lifted_by, lifted_at,
                lift_reason, epoch, raised_at
         from switches where id = $1",
        id.as_uuid()
    )
    .fetch_optional(within.connection())
    .await
    .map_err(sort(operation))?
    .map(|raw| raw.read(operation))
    .transpose()
}

/// A switch that the transaction may lift. Whoever else asks for it waits until the transaction ends.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn hold(mut within: Within<'_>, id: Id<Switch>) -> Result<Option<SwitchRow>, StoreError> {
    let operation = "hold a switch";
    let by_platform = within.tenant().is_none();
    sqlx::query_as!(
        Raw,
        "select id, tenant_id, by_platform, kind, target, reason, dropped_by, dropped_at,
                expires_at, lift_requested_by, lift_requested_at, lifted_by, lifted_at,
                lift_reason, epoch, raised_at
         from switches where id = $1 and by_platform = $2 for update",
        id.as_uuid(),
        by_platform
    )
    .fetch_optional(within.connection())
    .await
    .map_err(sort(operation))?
    .map(|raw| raw.read(operation))
    .transpose()
}

/// The switch that is down and would be in the way of dropping the same again.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn present(
    mut within: Within<'_>,
    kind: SwitchKind,
    tenant: Option<Id<Tenant>>,
    target: Option<&str>,
) -> Result<Option<SwitchRow>, StoreError> {
    let operation = "look for a switch that is down";
    let own = within.tenant();
    sqlx::query_as!(
        Raw,
        "select id, tenant_id, by_platform, kind, target, reason, dropped_by, dropped_at,
                expires_at, lift_requested_by, lift_requested_at, lifted_by, lifted_at,
                lift_reason, epoch, raised_at
         from switches
         where tenant_id is not distinct from $1 and by_platform = $2 and kind = $3
           and target is not distinct from $4 and lifted_at is null",
        own.or(tenant).map(|tenant| tenant.as_uuid()),
        own.is_none(),
        kind.as_str(),
        target
    )
    .fetch_optional(within.connection())
    .await
    .map_err(sort(operation))?
    .map(|raw| raw.read(operation))
    .transpose()
}

/// Which switches a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that nobody lifted, expired ones included.
    Down,
    /// Every one.
    All,
}

/// The switches that the tenant's transaction sees: its own and those of the platform that concern it,
/// in the order of their ids.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list(
    tx: &mut ControlTx,
    which: Which,
    page: Page,
) -> Result<Vec<SwitchRow>, StoreError> {
    let operation = "list switches";
    let tenant = tx.tenant().as_uuid();
    let rows = sqlx::query_as!(
        Raw,
        "select id, tenant_id, by_platform, kind, target, reason, dropped_by, dropped_at,
                expires_at, lift_requested_by, lift_requested_at, lifted_by, lifted_at,
                lift_reason, epoch, raised_at
         from switches
         where (tenant_id = $1 or tenant_id is null) and ($2 or lifted_at is null)
           and ($3::uuid is null or id > $3)
         order by id limit $4",
        tenant,
        which == Which::All,
        page.after,
        page.limit()
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort(operation))?;
    read_all(operation, rows)
}

/// The switches that the platform dropped, in the order of their ids.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list_platform(
    tx: &mut PlatformTx,
    which: Which,
    page: Page,
) -> Result<Vec<SwitchRow>, StoreError> {
    let operation = "list the platform's switches";
    let rows = sqlx::query_as!(
        Raw,
        "select id, tenant_id, by_platform, kind, target, reason, dropped_by, dropped_at,
                expires_at, lift_requested_by, lift_requested_at, lifted_by, lifted_at,
                lift_reason, epoch, raised_at
         from switches
         where by_platform and ($1 or lifted_at is null) and ($2::uuid is null or id > $2)
         order by id limit $3",
        which == Which::All,
        page.after,
        page.limit()
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort(operation))?;
    read_all(operation, rows)
}

/// Whose calls switches stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Concern {
    /// Anybody's: every switch.
    All,
    /// Everybody's: those without a tenant.
    Everyone,
    /// Those of one tenant alone.
    One(Id<Tenant>),
}

/// Every switch of a concern that nobody lifted, in the order of their ids. Expired ones are among
/// them: whoever heeds them looks at the clock each time.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn down(tx: &mut PlatformTx, concern: Concern) -> Result<Vec<SwitchRow>, StoreError> {
    let operation = "read the switches that are down";
    let (all, tenant) = match concern {
        Concern::All => (true, None),
        Concern::Everyone => (false, None),
        Concern::One(tenant) => (false, Some(tenant.as_uuid())),
    };
    let rows = sqlx::query_as!(
        Raw,
        "select id, tenant_id, by_platform, kind, target, reason, dropped_by, dropped_at,
                expires_at, lift_requested_by, lift_requested_at, lifted_by, lifted_at,
                lift_reason, epoch, raised_at
         from switches
         where lifted_at is null and ($1 or tenant_id is not distinct from $2)
         order by id",
        all,
        tenant
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort(operation))?;
    read_all(operation, rows)
}

/// How many switches are down that the transaction may lift.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn count_down(mut within: Within<'_>) -> Result<i64, StoreError> {
    let by_platform = within.tenant().is_none();
    sqlx::query_scalar!(
        r#"select count(*) as "down!" from switches where by_platform = $1 and lifted_at is null"#,
        by_platform
    )
    .fetch_one(within.connection())
    .await
    .map_err(sort("count the switches that are down"))
}

/// Switches that expired by `now` and that nobody lifted, oldest first: whose they are and which.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn expired(
    tx: &mut PlatformTx,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Vec<SwitchRow>, StoreError> {
    let operation = "look for expired switches";
    let rows = sqlx::query_as!(
        Raw,
        "select id, tenant_id, by_platform, kind, target, reason, dropped_by, dropped_at,
                expires_at, lift_requested_by, lift_requested_at, lifted_by, lifted_at,
                lift_reason, epoch, raised_at
         from switches where lifted_at is null and expires_at <= $1
         order by expires_at limit $2",
        now,
        i64::from(limit)
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort(operation))?;
    read_all(operation, rows)
}

/// Notes that somebody wants to lift a switch, in the place of whoever wanted it before.
///
/// # Errors
/// `NotFound` where there is no such switch down that the transaction may lift.
pub async fn request_lift(
    mut within: Within<'_>,
    id: Id<Switch>,
    by: &str,
    now: OffsetDateTime,
) -> Result<SwitchRow, StoreError> {
    let operation = "ask to lift a switch";
    let by_platform = within.tenant().is_none();
    sqlx::query_as!(
        Raw,
        "update switches set lift_requested_by = $3, lift_requested_at = $4
         where id = $1 and by_platform = $2 and lifted_at is null
         returning id, tenant_id, by_platform, kind, target, reason, dropped_by, dropped_at,
                   expires_at, lift_requested_by, lift_requested_at, lifted_by, lifted_at,
                   lift_reason, epoch, raised_at",
        id.as_uuid(),
        by_platform,
        by,
        now
    )
    .fetch_optional(within.connection())
    .await
    .map_err(sort(operation))?
    .ok_or(StoreError::NotFound { operation })?
    .read(operation)
}

/// Lifts a switch. [`raise`] has to follow, last in the transaction.
///
/// # Errors
/// `NotFound` where there is no such switch down that the transaction may lift.
pub async fn lift(
    mut within: Within<'_>,
    id: Id<Switch>,
    by: &str,
    reason: &str,
    now: OffsetDateTime,
) -> Result<SwitchRow, StoreError> {
    let operation = "lift a switch";
    let by_platform = within.tenant().is_none();
    sqlx::query_as!(
        Raw,
        "update switches set lifted_by = $3, lift_reason = $4, lifted_at = $5
         where id = $1 and by_platform = $2 and lifted_at is null
         returning id, tenant_id, by_platform, kind, target, reason, dropped_by, dropped_at,
                   expires_at, lift_requested_by, lift_requested_at, lifted_by, lifted_at,
                   lift_reason, epoch, raised_at",
        id.as_uuid(),
        by_platform,
        by,
        reason,
        now
    )
    .fetch_optional(within.connection())
    .await
    .map_err(sort(operation))?
    .ok_or(StoreError::NotFound { operation })?
    .read(operation)
}
