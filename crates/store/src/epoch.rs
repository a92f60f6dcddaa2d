//! The epoch: one number that grows with every change of configuration, and the log of what changed.
//! It is updated last in each changing transaction, so that the order of commits is its order.

use std::time::Duration;

use portcullis_domain::Id;
use portcullis_domain::id::Tenant;
use sqlx::Executor;
use sqlx::postgres::PgListener;
use time::OffsetDateTime;
use tokio::time::timeout;

use crate::control::{ControlTx, PlatformTx, Within};
use crate::error::{StoreError, sort};

/// How long nothing may be heard before the line is asked, and how long its answer may take.
pub const QUIET: Duration = Duration::from_secs(2);

/// The channel on which the number is announced.
pub const CHANNEL: &str = "portcullis_epoch";

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The epoch that the change made.
    pub epoch: i64,
    /// Whose configuration changed; none for everybody's.
    pub tenant: Option<Id<Tenant>>,
    /// What changed: lower-case letters and underscores.
    pub kind: String,
}

/// What changed since an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// Every change up to `epoch`; empty where nothing changed.
    Since {
        /// The epoch that the reader knows all changes of, once it has taken these in.
        epoch: i64,
        /// The changes, in their order.
        changes: Vec<Change>,
    },
    /// The log does not reach back that far: everything has to be loaded anew.
    Everything {
        /// The epoch of now.
        epoch: i64,
    },
}

/// Raises the epoch and announces it when the transaction commits. It has to be the last statement
/// before the commit: it holds up every other change until then.
///
/// # Errors
/// `NotFound` where the tenant does not exist, `Invalid` where the kind is no lower-case word.
pub async fn bump(tx: &mut ControlTx, kind: &str, now: OffsetDateTime) -> Result<i64, StoreError> {
    raise(tx.into(), kind, now).await.map(|raised| raised.epoch)
}

/// An epoch that was raised, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raised {
    /// The epoch.
    pub epoch: i64,
    /// When, by the database's clock, just before the commit.
    pub at: OffsetDateTime,
}

/// Raises the epoch as [`bump`] does, of one tenant or of everybody, and says when that was by the
/// database's clock.
///
/// # Errors
/// `NotFound` where the tenant does not exist, `Invalid` where the kind is no lower-case word.
pub async fn raise(
    within: Within<'_>,
    kind: &str,
    now: OffsetDateTime,
) -> Result<Raised, StoreError> {
    let tenant = within.tenant();
    raise_for(within, tenant, kind, now).await
}

/// The same where the platform changes what concerns one tenant alone. The administrative changes that
/// this very transaction wrote down learn which epoch they began.
pub(crate) async fn raise_for(
    mut within: Within<'_>,
    tenant: Option<Id<Tenant>>,
    kind: &str,
    now: OffsetDateTime,
) -> Result<Raised, StoreError> {
    let operation = "raise the epoch";
    let tenant = tenant.map(|tenant| tenant.as_uuid());
    sqlx::query_as!(
        Raised,
        r#"with raised as (update epoch set epoch = epoch + 1 returning epoch),
                logged as (insert into epoch_log (epoch, tenant_id, kind, at)
                           select epoch, $1, $2, $3 from raised),
                noted as (update outbox o set epoch = raised.epoch from raised
                          where o.tenant_id = $1 and o.relayed_at is null and o.epoch is null
                            and o.xmin = pg_current_xact_id()::xid),
                noted_platform as (update platform_outbox o set epoch = raised.epoch from raised
                          where o.relayed_at is null and o.epoch is null
                            and o.xmin = pg_current_xact_id()::xid)
           select epoch as "epoch!", clock_timestamp() as "at!"
           from raised, pg_notify('portcullis_epoch', epoch::text)"#,
        tenant,
        kind,
        now
    )
    .fetch_one(within.connection())
    .await
    .map_err(sort(operation))
}

/// The epoch of now.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn current(tx: &mut PlatformTx) -> Result<i64, StoreError> {
    sqlx::query_scalar!("select epoch from epoch")
        .fetch_one(tx.connection())
        .await
        .map_err(sort("read the epoch"))
}

/// What changed since `epoch`, at most 10,000 changes at a time.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn since(tx: &mut PlatformTx, epoch: i64) -> Result<Changes, StoreError> {
    let rows = sqlx::query!(
        r#"select e.epoch as "current!", l.epoch as "epoch?", l.tenant_id, l.kind as "kind?"
           from epoch e left join epoch_log l on l.epoch > $1
           order by l.epoch limit 10000"#,
        epoch
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort("read the changes since an epoch"))?;
    let current = rows.first().map_or(epoch, |row| row.current);
    let changes = rows
        .into_iter()
        .filter_map(|row| {
            Some(Change {
                epoch: row.epoch?,
                tenant: row.tenant_id.map(Id::from_row),
                kind: row.kind?,
            })
        })
        .collect();
    Ok(gapless(epoch, current, changes))
}

/// The log has no gaps, so a first entry that is not the next one means that older were removed; an
/// epoch behind the reader's, that the database was set back.
pub(crate) fn gapless(known: i64, current: i64, changes: Vec<Change>) -> Changes {
    let next = changes
        .first()
        .map_or(current.saturating_add(1), |first| first.epoch);
    if next != known.saturating_add(1) {
        return Changes::Everything { epoch: current };
    }
    let epoch = changes.last().map_or(known, |last| last.epoch);
    Changes::Since { epoch, changes }
}

/// Hears announcements of new epochs. They are for speed; polling is for truth, since an announcement
/// is lost while the connection is.
#[derive(Debug)]
pub struct EpochListener {
    listener: PgListener,
}

impl EpochListener {
    pub(crate) async fn start(mut listener: PgListener) -> Result<Self, StoreError> {
        listener
            .listen(CHANNEL)
            .await
            .map_err(sort("listen for epochs"))?;
        Ok(Self { listener })
    }

    /// Waits for the next announcement. `None` says that the connection was lost and is there again:
    /// announcements may have been missed. A line on which nothing is heard for [`QUIET`] is asked
    /// whether it still carries anything: one that was forgotten on the way looks as a quiet one.
    ///
    /// # Errors
    /// Fails where the connection was lost and cannot be made again, or carries nothing. The listener is
    /// of no use any more then.
    pub async fn next(&mut self) -> Result<Option<i64>, StoreError> {
        let operation = "listen for epochs";
        loop {
            // What arrives while the wait is given up is kept for the next one.
            if let Ok(heard) = timeout(QUIET, self.listener.try_recv()).await {
                let heard = heard.map_err(sort(operation))?;
                return Ok(heard.and_then(|announcement| announcement.payload().parse().ok()));
            }
            let asked = timeout(QUIET, self.listener.execute("select")).await;
            let asked = asked.unwrap_or_else(|silent| Err(sqlx::Error::Io(silent.into())));
            asked.map_err(sort(operation))?;
        }
    }
}
