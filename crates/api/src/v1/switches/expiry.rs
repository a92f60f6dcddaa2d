//! The end of switches whose time is over: written down like any other flip. Calls are let through
//! from the moment of the end itself; this only makes it a record.

use std::time::Duration;

use portcullis_domain::id::{Id, OutboxEntry, Switch};
use portcullis_keys::{EntropyError, entropy};
use portcullis_store::switches::{self, SwitchRow};
use portcullis_store::{ControlStore, StoreError, Within, outbox, replicas};
use time::OffsetDateTime;

use super::super::error::ApiError;

/// Who lifts a switch whose time is over.
const ACTOR: &str = "system:expiry";
/// How many switches one round ends.
const ROUND: u32 = 100;
/// How long a replica may be silent before it is taken off the list.
const LOST: Duration = Duration::from_mins(10);

/// Why the end of a switch could not be written down.
#[derive(Debug, thiserror::Error)]
pub enum ExpiryError {
    /// The database fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The detail cannot be written as JSON.
    #[error("the detail of an ended switch is no JSON")]
    Detail(#[from] serde_json::Error),
    /// The system gives no random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl From<ExpiryError> for ApiError {
    fn from(error: ExpiryError) -> Self {
        match error {
            ExpiryError::Store(error) => error.into(),
            ExpiryError::Detail(_) => Self::internal(&error),
            ExpiryError::Entropy(_) => Self::unavailable(&error),
        }
    }
}

/// Ends a switch in its own plane's transaction, which then has to be committed at once. One that
/// somebody lifted meanwhile stays as it is.
pub(super) async fn end(
    mut within: Within<'_>,
    id: Id<Switch>,
    entry: Id<OutboxEntry>,
    now: OffsetDateTime,
) -> Result<(), ExpiryError> {
    let held = switches::hold(within.again(), id).await?;
    let over =
        |row: &SwitchRow| row.lifted.is_none() && row.expires_at.is_some_and(|end| end <= now);
    if !held.as_ref().is_some_and(over) {
        return Ok(());
    }
    let row = switches::lift(within.again(), id, ACTOR, "its time is over", now).await?;
    let detail = serde_json_canonicalizer::to_string(&super::detail(&row))?;
    let entry = outbox::NewOutboxEntry {
        id: entry,
        actor: ACTOR,
        action: "switch.expire",
        subject: &row.id.to_string(),
        detail: &detail,
    };
    match within.again() {
        Within::Tenant(tx) => outbox::insert(tx, entry, now).await?,
        Within::Platform(tx) => outbox::insert_platform(tx, entry, now).await?,
    }
    switches::raise(within, &row, now).await?;
    Ok(())
}

/// Ends every switch whose time is over, and takes replicas off the list that nobody has heard of for
/// long. Of several replicas that do this at once, one ends a switch and the others find it ended.
///
/// # Errors
/// The database or the system's source of random bytes fails; the next round goes on.
pub async fn round(control: &ControlStore, now: OffsetDateTime) -> Result<(), ExpiryError> {
    let mut tx = control.platform().await?;
    let expired = switches::expired(&mut tx, now, ROUND).await?;
    replicas::forget(&mut tx, LOST).await?;
    tx.commit().await?;
    for row in expired {
        let entry = Id::mint(now, entropy::random()?);
        if let Some(tenant) = row.tenant.filter(|_| !row.by_platform) {
            let mut tx = control.begin(tenant).await?;
            end((&mut tx).into(), row.id, entry, now).await?;
            tx.commit().await?;
        } else {
            let mut tx = control.platform().await?;
            end((&mut tx).into(), row.id, entry, now).await?;
            tx.commit().await?;
        }
    }
    Ok(())
}
