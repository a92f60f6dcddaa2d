//! Refusals of rooms 1 and 2, counted: one signed count record a minute, tenant and reason, so that
//! a flood of bad requests never becomes a flood of database writes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use portcullis_domain::id::{Id, Tenant};
use portcullis_domain::{Pool, TraceId};
use portcullis_evidence::record::{Body, RefusalCount as CountBody, Room};
use portcullis_evidence::{Count, Label, Record};
use portcullis_keys::entropy;
use portcullis_store::records::RecordRow;
use portcullis_store::writer::NewRecord;
use portcullis_wire::Slug;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::gate::Gate;
use crate::rooms::claim::RecordFault;
use crate::rooms::record;

/// How often counts become records.
const FLUSH: Duration = Duration::from_mins(1);
/// The most counts that one minute keeps apart.
const MAX_COUNTS: usize = 100_000;

/// Counts since the last flush.
#[derive(Debug, Default)]
pub struct RefusalCounts {
    counts: Mutex<BTreeMap<Reason, u64>>,
}

/// Whose requests were refused, where and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// The tenant whose URL was called.
    pub tenant: Id<Tenant>,
    /// Its home pool, which keeps the record.
    pub home: Pool,
    /// The problem's slug.
    pub slug: &'static str,
    /// Whether room 2 refused, or the reading of the request after it; else room 1.
    pub admission: bool,
}

impl RefusalCounts {
    /// Counts one refusal.
    pub fn count(&self, (tenant, home): (Id<Tenant>, Pool), room: Room, slug: Slug) {
        let reason = Reason {
            tenant,
            home,
            slug: slug.as_str(),
            admission: room == Room::Admit,
        };
        self.add(reason, 1);
    }

    fn take(&self) -> BTreeMap<Reason, u64> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *counts)
    }

    fn add(&self, reason: Reason, more: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&reason) {
            *count = count.saturating_add(more);
        } else if counts.len() < MAX_COUNTS {
            counts.insert(reason, more);
        }
    }
}

/// Writes count records each minute until `stop`, and once more then.
pub async fn record_counts(gate: &Gate, stop: CancellationToken) {
    loop {
        let since = gate.clock.now();
        let last = tokio::select! {
            () = stop.cancelled() => true,
            () = tokio::time::sleep(FLUSH) => false,
        };
        flush(gate, since).await;
        if last {
            return;
        }
    }
}

/// What could not be written is counted again, and so written with the next minute.
async fn flush(gate: &Gate, since: OffsetDateTime) {
    for (reason, count) in gate.refusals.take() {
        if let Err(fault) = write(gate, reason, count, since).await {
            tracing::warn!(fault = %crate::chain(&fault), "a refusal count is kept for later");
            gate.refusals.add(reason, count);
        }
    }
}

async fn write(
    gate: &Gate,
    reason: Reason,
    count: u64,
    since: OffsetDateTime,
) -> Result<(), RecordFault> {
    let region = gate
        .regions
        .get(&reason.home)
        .ok_or(RecordFault::NoPool(reason.home))?;
    let now = gate.clock.now();
    let id = Id::mint(now, entropy::random().map_err(RecordFault::Entropy)?);
    let trace_id = TraceId::from_bytes(entropy::random().map_err(RecordFault::Entropy)?);
    let body = CountBody {
        count: Count::saturating(count),
        minute: since.into(),
        reason: Label::from(reason.slug),
        room: if reason.admission {
            Room::Admit
        } else {
            Room::Authenticate
        },
    };
    let record = Record {
        at: now.into(),
        body: Body::RefusalCount(body),
        id,
        pool: reason.home,
        replica: gate.replica,
        tenant: reason.tenant,
    };
    let (record, canonical, receipt) = record::sign(&gate.keys, record)?.into_parts();
    let row = RecordRow {
        id,
        kind: record.body.kind().as_str().to_owned(),
        trace_id,
        intent: None,
        principal: None,
        tool: None,
        verdict: "deny".to_owned(),
        started_at: since,
        ended_at: now,
        canonical: canonical.into_bytes(),
        leaf_hash: *receipt.leaf.as_bytes(),
        signature: receipt.signature.as_bytes().to_vec(),
        key_id: receipt.key,
    };
    let row = NewRecord {
        tenant: reason.tenant,
        record: row,
        inputs: None,
    };
    region.writer.submit(row).await.map_err(RecordFault::Write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_count() {
        let counts = RefusalCounts::default();
        let tenant = Id::from_row(uuid::Uuid::nil());
        for _ in 0..10_000 {
            counts.count((tenant, Pool::EuWest), Room::Admit, Slug::RateLimited);
        }
        counts.count(
            (tenant, Pool::EuWest),
            Room::Authenticate,
            Slug::TokenExpired,
        );
        let taken = counts.take();
        assert_eq!(taken.values().copied().collect::<Vec<_>>(), [10_000, 1]);
        assert!(counts.take().is_empty());
    }
}
