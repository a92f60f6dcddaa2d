//! The replicas that serve, and how much of the configuration each has taken in. A change is
//! *acknowledged* when every replica has confirmed it or refuses calls by itself, since it has not
//! confirmed anything for its patience.
//!
//! What this rests on: a replica counts its silence from before it sends a poll, this module from when
//! the poll arrives, so a replica refuses itself no later than is said here. A poll reads what there
//! was when it began. So that none makes a replica fresh that was taken for silent meanwhile, an answer
//! later than [`ANSWER`], or the first after a silence, is none ([`Polled::confirms`]).
//!
//! This module must never call a change acknowledged because a replica is missing, unless that replica
//! cannot be serving.

use std::time::Duration;

use portcullis_domain::Id;
use portcullis_domain::id::Replica;
use sqlx::postgres::types::PgInterval;
use time::OffsetDateTime;

use crate::connect;
use crate::control::{ControlStore, PlatformTx};
use crate::epoch::{self, Change, Changes};
use crate::error::{StoreError, sort};

/// What the epoch log calls a change that changes nothing: it measures how long the others take.
pub const DRILL: &str = "drill";
/// A poll that was not answered within this time confirms nothing.
pub const ANSWER: Duration = Duration::from_secs(1);
/// A replica that has confirmed nothing for this long refuses mutating calls.
pub const PATIENCE_MUTATING: Duration = Duration::from_secs(2);
/// A replica that has confirmed nothing for this long refuses every call.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Who polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// The replica.
    pub replica: Id<Replica>,
    /// Since when it runs.
    pub started_at: OffsetDateTime,
}

/// What a poll says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polled {
    /// What changed since what the replica knows.
    pub changes: Changes,
    /// Whether the replica may count itself as fresh once it has taken the changes in. Not after the
    /// poll that registers it, nor after a silence: others may have taken it for absent until this
    /// very poll. It then polls again at once, and that poll confirms.
    pub confirms: bool,
}

/// Confirms that the replica has taken in everything up to `known`, registering it where it is not,
/// and reads what changed since: one round trip, which commits by itself. `None` says that it has taken
/// nothing in yet. Calls of one replica must not overlap.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn poll(
    store: &ControlStore,
    presence: Presence,
    known: Option<i64>,
) -> Result<Polled, StoreError> {
    let mut tries = store.pool().tries();
    loop {
        match ask(store, presence, known).await {
            Ok(polled) => return Ok(polled),
            // The connection died in the pool; asking twice harms nothing.
            Err(error) if tries > 0 && connect::is_lost(&error) => tries = tries.saturating_sub(1),
            Err(error) => return Err(sort("poll the epoch")(error)),
        }
    }
}

async fn ask(
    store: &ControlStore,
    presence: Presence,
    known: Option<i64>,
) -> Result<Polled, sqlx::Error> {
    let mut connection = store.pool().get().await?;
    let rows = sqlx::query!(
        r#"with was as (select confirmed_at from replicas where id = $1),
                confirmed as (
             insert into replicas as r (id, started_at, confirmed_epoch, reached_at, confirmed_at)
             values ($1, $2, $3, clock_timestamp(), clock_timestamp())
             on conflict (id) do update set
               confirmed_epoch = excluded.confirmed_epoch,
               confirmed_at = excluded.confirmed_at,
               reached_at = case when r.confirmed_epoch is distinct from excluded.confirmed_epoch
                                 then excluded.confirmed_at else r.reached_at end
             returning confirmed_at)
           select e.epoch as "current!", l.epoch as "epoch?", l.tenant_id, l.kind as "kind?",
                  coalesce(c.confirmed_at - w.confirmed_at <= $4, false) as "confirms!"
           from epoch e cross join confirmed c left join was w on true
                left join epoch_log l on l.epoch > $3
           order by l.epoch limit 10000"#,
        presence.replica.as_uuid(),
        presence.started_at,
        known,
        interval(ANSWER)
    )
    .fetch_all(connection.get())
    .await?;
    connection.give_back();
    let current = rows.first().map_or(0, |row| row.current);
    let confirms = rows.first().is_some_and(|row| row.confirms);
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
    Ok(match known {
        None => Polled {
            changes: Changes::Everything { epoch: current },
            confirms: false,
        },
        Some(known) => Polled {
            changes: epoch::gapless(known, current, changes),
            confirms,
        },
    })
}

/// Takes a replica off the list: it serves no call any more, and nobody waits for it.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn remove(tx: &mut PlatformTx, replica: Id<Replica>) -> Result<(), StoreError> {
    // Zero rows are no fault here: it never polled, or was forgotten.
    sqlx::query!("delete from replicas where id = $1", replica.as_uuid())
        .execute(tx.connection())
        .await
        .map_err(sort("take a replica off the list"))?;
    Ok(())
}

/// Takes the replicas off the list that have been silent for longer than `silence`, by the database's
/// clock; it must be longer than [`PATIENCE`]. Gives back how many.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn forget(tx: &mut PlatformTx, silence: Duration) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "delete from replicas where confirmed_at < clock_timestamp() - $1::interval",
        interval(silence.max(PATIENCE.saturating_mul(2)))
    )
    .execute(tx.connection())
    .await
    .map_err(sort("forget silent replicas"))?;
    Ok(done.rows_affected())
}

/// A replica that registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaRow {
    /// The replica.
    pub id: Id<Replica>,
    /// Since when it runs.
    pub started_at: OffsetDateTime,
    /// What it has taken in; none where it has only just begun.
    pub confirmed_epoch: Option<i64>,
    /// When it last confirmed that.
    pub confirmed_at: OffsetDateTime,
    /// How long ago that was by the database's clock.
    pub silent_for: Duration,
}

/// The replicas that registered, in the order of their ids, at most 1,000; and the epoch of now.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list(tx: &mut PlatformTx) -> Result<(i64, Vec<ReplicaRow>), StoreError> {
    let rows = sqlx::query!(
        r#"select e.epoch as "current!", r.id as "id?", r.started_at as "started_at?",
                  r.confirmed_epoch, r.confirmed_at as "confirmed_at?",
                  clock_timestamp() as "now!"
           from epoch e left join replicas r on true order by r.id limit 1000"#
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort("list replicas"))?;
    let current = rows.first().map_or(0, |row| row.current);
    let replicas = rows
        .into_iter()
        .filter_map(|row| {
            let confirmed_at = row.confirmed_at?;
            Some(ReplicaRow {
                id: Id::from_row(row.id?),
                started_at: row.started_at?,
                confirmed_epoch: row.confirmed_epoch,
                confirmed_at,
                silent_for: span(confirmed_at, row.now),
            })
        })
        .collect();
    Ok((current, replicas))
}

/// What a replica has made of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has taken the change in, so long after it was made. Later changes may have been taken in
    /// since; then it is the time of the latest.
    Confirmed {
        /// From when the epoch was raised.
        after: Duration,
    },
    /// It has been silent for longer than its patience, so it refuses the calls that the change is
    /// about.
    RefusesItself,
    /// It has not answered yet.
    Awaited {
        /// When it refuses by itself, at the latest, if it stays silent.
        refuses_itself_after: Duration,
    },
}

impl Standing {
    /// Whether nobody has to wait for the replica any more.
    pub const fn is_settled(self) -> bool {
        match self {
            Self::Confirmed { .. } | Self::RefusesItself => true,
            Self::Awaited { .. } => false,
        }
    }
}

/// Where every registered replica stands on a change, in the order of their ids. The change is
/// acknowledged when each [`Standing::is_settled`]. It must be asked in a transaction that began after
/// the change was committed.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn standings(
    tx: &mut PlatformTx,
    raised: epoch::Raised,
    patience: Duration,
) -> Result<Vec<(Id<Replica>, Standing)>, StoreError> {
    let rows = sqlx::query!(
        r#"select id, coalesce(confirmed_epoch >= $1, false) as "confirmed!", reached_at,
                  confirmed_at, clock_timestamp() as "now!"
           from replicas order by id"#,
        raised.epoch
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort("ask where the replicas stand"))?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let standing = if row.confirmed {
                Standing::Confirmed {
                    after: span(raised.at, row.reached_at),
                }
            } else {
                match patience.checked_sub(span(row.confirmed_at, row.now)) {
                    Some(left) if !left.is_zero() => Standing::Awaited {
                        refuses_itself_after: left,
                    },
                    Some(_) | None => Standing::RefusesItself,
                }
            };
            (Id::from_row(row.id), standing)
        })
        .collect())
}

/// The time between two; none where the second is not later.
fn span(from: OffsetDateTime, to: OffsetDateTime) -> Duration {
    Duration::try_from(to - from).unwrap_or(Duration::ZERO)
}

fn interval(duration: Duration) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
    }
}
