//! The claim that a call holds while it runs, and the heartbeat that keeps it.

use std::time::Duration;

use portcullis_domain::Pool;
use portcullis_domain::id::{Claim, Id, Record, Tenant};
use portcullis_store::StoreError;
use portcullis_store::claims::{self, LEASE};
use tokio::time::Instant;

use crate::gate::Gate;

/// How often a claim is extended.
const BEAT: Duration = Duration::from_secs(3);
/// How soon to try again where the database did not answer.
const AGAIN: Duration = Duration::from_millis(500);
/// How long before its end a lease counts as lost: two clocks need not run alike.
const MARGIN: Duration = Duration::from_secs(1);

/// A claim that this call holds.
#[derive(Debug)]
pub(in crate::rooms) struct Lease {
    /// The claim.
    pub(in crate::rooms) id: Id<Claim>,
    /// The intent's record.
    pub(in crate::rooms) intent: Id<Record>,
    /// Where the claim is.
    pub(in crate::rooms) home: Pool,
    /// Where the call runs.
    pub(in crate::rooms) pool: Pool,
    /// Whether its effect is in a transaction of that pool.
    pub(in crate::rooms) transactional: bool,
    /// The key for an upstream.
    pub(in crate::rooms) upstream_key: String,
    /// A moment before the claim was written, by the monotonic clock.
    pub(in crate::rooms) since: Instant,
}

impl Lease {
    /// Extends the claim each few seconds, and returns when it is lost: closed by another, or not
    /// extended before its end.
    pub(in crate::rooms) async fn lost(&self, gate: &Gate, tenant: Id<Tenant>) {
        let mut end = self.since + LEASE - MARGIN;
        let mut next = self.since + BEAT;
        loop {
            tokio::time::sleep_until(next.min(end)).await;
            let asked = Instant::now();
            if asked >= end {
                return;
            }
            match tokio::time::timeout_at(end, self.extend(gate, tenant)).await {
                Ok(Ok(true)) => {
                    end = asked + LEASE - MARGIN;
                    next = asked + BEAT;
                }
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(error)) => {
                    tracing::warn!(claim = %self.id, error = %crate::chain(&error), "a claim was not extended");
                    next = asked + AGAIN;
                }
            }
        }
    }

    async fn extend(&self, gate: &Gate, tenant: Id<Tenant>) -> Result<bool, StoreError> {
        let Some(home) = gate.regions.get(&self.home) else {
            return Ok(false);
        };
        let mut tx = home.store.begin(tenant).await?;
        let held = claims::extend(&mut tx, self.id).await?;
        tx.commit().await?;
        Ok(held)
    }
}
