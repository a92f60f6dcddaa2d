//! The group-commit writer of records, one a regional database.
//!
//! It takes whatever queued while the last commit ran, never waiting for more, so that a commit is
//! shared exactly when the database is the bottleneck. Tenants take turns in a batch. A record is
//! answered for only after its commit: `Ok` is never a promise, and an error says whether the row is
//! certainly not there or nobody knows. It must never drop a row in silence, nor let one tenant's
//! flood or one bad row delay or harm another's.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis_domain::Id;
use portcullis_domain::id::{DataKey, Tenant};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::error::Fault;
use crate::records::RecordRow;
use crate::region::RegionStore;

mod columns;
mod counts;
mod queue;
mod session;

use counts::Counts;
pub use counts::WriterCounts;
use queue::{Pending, Queue};
use session::Session;

/// A record to be written, with what is kept beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Whose it is.
    pub tenant: Id<Tenant>,
    /// The record.
    pub record: RecordRow,
    /// The encrypted inputs, written in the same statement.
    pub inputs: Option<NewCallInputs>,
}

impl NewRecord {
    fn bytes(&self) -> usize {
        let inputs = self.inputs.as_ref().map_or(0, |inputs| {
            inputs
                .salts
                .len()
                .saturating_add(inputs.arguments.len())
                .saturating_add(inputs.answer.as_ref().map_or(0, Vec::len))
        });
        // The fixed columns are small; half a KiB stands for them.
        self.record
            .canonical
            .len()
            .saturating_add(inputs)
            .saturating_add(512)
    }
}

/// Encrypted inputs to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct NewCallInputs {
    /// The key they are encrypted with.
    pub data_key: Id<DataKey>,
    /// The encrypted salts of the record's commitments.
    pub salts: Vec<u8>,
    /// The encrypted arguments.
    pub arguments: Vec<u8>,
    /// The encrypted answer, if it is kept.
    pub answer: Option<Vec<u8>>,
}

impl fmt::Debug for NewCallInputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewCallInputs")
            .field("data_key", &self.data_key)
            .finish_non_exhaustive()
    }
}

/// Why a record was not acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RecordError {
    /// Too much is queued. The record is certainly not written.
    #[error("write record: too many records of this tenant or in all are waiting; try again later")]
    Busy,
    /// The writer is stopping. The record is certainly not written.
    #[error("write record: the writer is stopping; call another replica")]
    Stopping,
    /// The database could not be reached or took nothing. The record is certainly not written.
    #[error("write record: the database took nothing; try again later")]
    NotWritten {
        /// What the database said.
        #[source]
        source: Arc<Fault>,
    },
    /// The database refuses this very row. The record is certainly not written.
    #[error("write record: the database refuses the row; correct it")]
    Rejected {
        /// What the database said.
        #[source]
        source: Arc<Fault>,
    },
    /// The database went away during the commit and did not come back in time. Whether the record is
    /// written is not known.
    #[error("write record: the database went away during the commit; look for the record later")]
    Unknown,
}

impl RecordError {
    /// Whether the record is certainly not written.
    pub const fn certainly_not_written(&self) -> bool {
        match self {
            Self::Busy | Self::Stopping | Self::NotWritten { .. } | Self::Rejected { .. } => true,
            Self::Unknown => false,
        }
    }
}

/// Bounds of a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterOptions {
    /// How many connections write at once.
    pub connections: usize,
    /// The most records of a commit.
    pub batch_rows: usize,
    /// The most bytes of a commit, but one record at least.
    pub batch_bytes: usize,
    /// The most records of one tenant that wait.
    pub queue_rows_per_tenant: usize,
    /// The most records that wait.
    pub queue_rows: usize,
    /// The most bytes that wait, a quarter of them of one tenant.
    pub queue_bytes: usize,
    /// How long one commit may take before its outcome counts as unknown.
    pub write_timeout: Duration,
    /// How long an unknown outcome is looked into before it is answered as such.
    pub resolve_within: Duration,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            connections: 2,
            batch_rows: 512,
            batch_bytes: 4 << 20,
            queue_rows_per_tenant: 2_048,
            queue_rows: 16_384,
            queue_bytes: 64 << 20,
            write_timeout: Duration::from_secs(5),
            resolve_within: Duration::from_secs(3),
        }
    }
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Notify,
    counts: Counts,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // No code panics while it holds the lock; if it did, the queue would still be whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.queue().close();
        self.wake.notify_waiters();
    }
}

/// Writes records to one regional database. Dropping it writes what waits and stops.
#[derive(Debug)]
pub struct RecordWriter {
    shared: Arc<Shared>,
    workers: TaskTracker,
}

impl RecordWriter {
    /// Starts the writer's tasks. It connects when the first record comes, and again whenever the
    /// database was away.
    pub fn start(region: &RegionStore, options: WriterOptions) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::new(options)),
            wake: Notify::new(),
            counts: Counts::default(),
        });
        let workers = TaskTracker::new();
        for _ in 0..options.connections.max(1) {
            let session = Session::new(region.clone(), options);
            workers.spawn(work(Arc::clone(&shared), session));
        }
        workers.close();
        Self { shared, workers }
    }

    /// Queues a record at once and resolves after its commit. Dropping the future does not take the
    /// record back.
    ///
    /// # Errors
    /// As [`RecordError`] says.
    pub fn submit(
        &self,
        record: NewRecord,
    ) -> impl Future<Output = Result<(), RecordError>> + Send + 'static + use<> {
        let (reply, answer) = oneshot::channel();
        let queued = self.shared.queue().push(Pending { record, reply });
        match &queued {
            Ok(()) => self.shared.wake.notify_one(),
            Err(_full) => self.shared.counts.not_taken(),
        }
        async move {
            queued?;
            // The sender is lost only with the task, when the runtime itself is torn down.
            answer.await.unwrap_or(Err(RecordError::Unknown))
        }
    }

    /// What was done so far.
    pub fn counts(&self) -> WriterCounts {
        let waiting = self.shared.queue().len();
        self.shared.counts.read(waiting)
    }

    /// Takes no more records, writes what waits, and returns when all of it is answered.
    pub async fn shutdown(&self) {
        self.shared.stop();
        self.workers.wait().await;
    }
}

impl Drop for RecordWriter {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

async fn work(shared: Arc<Shared>, mut session: Session) {
    loop {
        // Made before the look at the queue: what comes in between wakes it.
        let woken = shared.wake.notified();
        let (batch, more, closed) = shared.queue().take();
        if more {
            shared.wake.notify_one();
        }
        if !batch.is_empty() {
            let (records, since) = (batch.len(), Instant::now());
            session.write(batch).await;
            shared.counts.batch(records, since.elapsed());
        } else if closed {
            session.close().await;
            return;
        } else {
            woken.await;
        }
    }
}
