//! The epoch: one number that grows with every change of configuration, and the log of what changed.
//! It is updated last in each changing transaction, so that the order of commits is its order.

use portcullis_domain::Id;
use portcullis_domain::id::Tenant;
use sqlx::postgres::PgListener;
use time::OffsetDateTime;

use crate::control::{ControlTx, PlatformTx};
use crate::error::{StoreError, sort};

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
    let operation = "raise the epoch";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_scalar!(
        r#"with raised as (update epoch set epoch = epoch + 1 returning epoch),
                logged as (insert into epoch_log (epoch, tenant_id, kind, at)
                           select epoch, $1, $2, $3 from raised)
           select epoch as "epoch!" from raised, pg_notify('portcullis_epoch', epoch::text)"#,
        tenant,
        kind,
        now
    )
    .fetch_one(tx.connection())
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
    let changes: Vec<Change> = rows
        .into_iter()
        .filter_map(|row| {
            Some(Change {
                epoch: row.epoch?,
                tenant: row.tenant_id.map(Id::from_row),
                kind: row.kind?,
            })
        })
        .collect();
    // The log has no gaps, so a first entry that is not the next one means that older were removed;
    // an epoch behind the reader's, that the database was set back.
    let next = changes
        .first()
        .map_or(current.saturating_add(1), |first| first.epoch);
    if next != epoch.saturating_add(1) {
        return Ok(Changes::Everything { epoch: current });
    }
    let reached = changes.last().map_or(epoch, |last| last.epoch);
    Ok(Changes::Since {
        epoch: reached,
        changes,
    })
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
    /// announcements may have been missed.
    ///
    /// # Errors
    /// Fails where the connection was lost and cannot be made again; calling it again tries again.
    pub async fn next(&mut self) -> Result<Option<i64>, StoreError> {
        let heard = self
            .listener
            .try_recv()
            .await
            .map_err(sort("listen for epochs"))?;
        Ok(heard.and_then(|announcement| announcement.payload().parse().ok()))
    }
}
