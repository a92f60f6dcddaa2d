//! Records that wait for a commit: a queue for each tenant that has any, taken in turns. Pure; it
//! must never hold more than its bounds.

use std::collections::{HashMap, VecDeque};

use portcullis_domain::Id;
use portcullis_domain::id::Tenant;
use tokio::sync::oneshot;

use super::{NewRecord, RecordError, WriterOptions};

/// One tenant takes at most this part of the bytes that may wait.
const SHARES: usize = 4;

/// A record and who waits for it.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) record: NewRecord,
    pub(super) reply: oneshot::Sender<Result<(), RecordError>>,
}

/// What waits of one tenant.
#[derive(Debug, Default)]
struct Waiting {
    records: VecDeque<Pending>,
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct Queue {
    tenants: HashMap<Id<Tenant>, Waiting>,
    /// Tenants that have records waiting, each once.
    turns: VecDeque<Id<Tenant>>,
    rows: usize,
    bytes: usize,
    closed: bool,
    bounds: WriterOptions,
}

impl Queue {
    pub(super) fn new(bounds: WriterOptions) -> Self {
        Self {
            tenants: HashMap::new(),
            turns: VecDeque::new(),
            rows: 0,
            bytes: 0,
            closed: false,
            bounds,
        }
    }

    pub(super) fn push(&mut self, pending: Pending) -> Result<(), RecordError> {
        if self.closed {
            return Err(RecordError::Stopping);
        }
        let size = pending.record.bytes();
        let bytes = self.bytes.saturating_add(size);
        // A record bigger than the whole bound still goes when nothing else waits.
        if self.rows >= self.bounds.queue_rows || (self.rows > 0 && bytes > self.bounds.queue_bytes)
        {
            return Err(RecordError::Busy);
        }
        let tenant = pending.record.tenant;
        let waiting = self.tenants.entry(tenant).or_default();
        let own = waiting.bytes.saturating_add(size);
        // Here, too, a record that is bigger goes when nothing else of its tenant waits.
        let own_bound = self.bounds.queue_bytes / SHARES;
        let full = waiting.records.len() >= self.bounds.queue_rows_per_tenant
            || (!waiting.records.is_empty() && own > own_bound);
        if full {
            return Err(RecordError::Busy);
        }
        if waiting.records.is_empty() {
            self.turns.push_back(tenant);
        }
        waiting.records.push_back(pending);
        waiting.bytes = own;
        self.rows = self.rows.saturating_add(1);
        self.bytes = bytes;
        Ok(())
    }

    /// How many records wait.
    pub(super) const fn len(&self) -> usize {
        self.rows
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// The next batch, whether more waits, and whether the queue is closed.
    pub(super) fn take(&mut self) -> (Vec<Pending>, bool, bool) {
        let mut batch = Vec::with_capacity(self.rows.min(self.bounds.batch_rows));
        let mut bytes: usize = 0;
        while batch.len() < self.bounds.batch_rows {
            let Some((pending, size)) = self.next(
                self.bounds.batch_bytes.saturating_sub(bytes),
                batch.is_empty(),
            ) else {
                break;
            };
            bytes = bytes.saturating_add(size);
            batch.push(pending);
        }
        (batch, self.rows > 0, self.closed)
    }

    /// One record of the tenant whose turn it is, if it fits into `room` or has to go first.
    fn next(&mut self, room: usize, first: bool) -> Option<(Pending, usize)> {
        let tenant = self.turns.pop_front()?;
        let waiting = self.tenants.get_mut(&tenant)?;
        let size = waiting.records.front()?.record.bytes();
        if size > room && !first {
            self.turns.push_front(tenant);
            return None;
        }
        let pending = waiting.records.pop_front()?;
        waiting.bytes = waiting.bytes.saturating_sub(size);
        if waiting.records.is_empty() {
            self.tenants.remove(&tenant);
        } else {
            self.turns.push_back(tenant);
        }
        self.rows = self.rows.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size);
        Some((pending, size))
    }
}

#[cfg(test)]
mod tests;
