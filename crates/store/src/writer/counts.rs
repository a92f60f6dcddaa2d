//! What a writer has done since it started: numbers for operators, nothing of any record.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a writer has done since it started, and what waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriterCounts {
    /// Records that wait to be written.
    pub waiting: usize,
    /// Batches that were written or given up.
    pub batches: u64,
    /// Records of those batches.
    pub records: u64,
    /// Records that were not taken, since too many waited or the writer stops.
    pub not_taken: u64,
    /// The time that batches took, all added up.
    pub writing: Duration,
}

/// The same, as it is counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    batches: AtomicU64,
    records: AtomicU64,
    not_taken: AtomicU64,
    writing_micros: AtomicU64,
}

impl Counts {
    pub(super) fn batch(&self, records: usize, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let records = u64::try_from(records).unwrap_or(u64::MAX);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
        self.writing_micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn not_taken(&self) {
        self.not_taken.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self, waiting: usize) -> WriterCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriterCounts {
            waiting,
            batches: read(&self.batches),
            records: read(&self.records),
            not_taken: read(&self.not_taken),
            writing: Duration::from_micros(read(&self.writing_micros)),
        }
    }
}
