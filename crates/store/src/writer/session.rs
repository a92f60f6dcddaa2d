//! One connection of the writer: a batch is one statement, so it is there wholly or not at all.
//!
//! When the connection is lost while the server works, the same rows are written again with `on
//! conflict do nothing`. That waits for whatever the lost statement still does, so afterwards the
//! rows are there for certain, whichever of the two wrote them; a look at their hashes confirms it.
//! It must never answer `Ok` before that, nor write a row twice.

use std::collections::HashMap;
use std::sync::Arc;

use portcullis_domain::Id;
use portcullis_domain::id::Tenant;
use sqlx::postgres::{PgDatabaseError, PgSeverity};
use sqlx::{Connection, PgConnection};
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::columns::Columns;
use super::queue::Pending;
use super::{RecordError, WriterOptions};
use crate::connect::ConnectError;
use crate::error::{Fault, StoreError};
use crate::records;
use crate::region::RegionStore;

/// How one attempt at a batch failed.
enum Failure {
    /// The server refused a row; nothing of the batch is written.
    Row(Arc<Fault>),
    /// Nothing of the batch is written, for no fault of its rows.
    Nothing(Arc<Fault>),
    /// The connection was lost; the batch is written or not.
    Lost(Arc<Fault>),
}

/// Whether the rows may be there already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    First,
    Again,
}

#[derive(Debug)]
pub(super) struct Session {
    region: RegionStore,
    options: WriterOptions,
    connection: Option<PgConnection>,
}

impl Session {
    pub(super) const fn new(region: RegionStore, options: WriterOptions) -> Self {
        Self {
            region,
            options,
            connection: None,
        }
    }

    pub(super) async fn close(mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "the recorder's connection was gone before it was closed");
        }
    }

    /// Writes a batch and answers each of its records. A batch that the server refuses for a row's
    /// sake is halved until only the bad rows are left.
    pub(super) async fn write(&mut self, batch: Vec<Pending>) {
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            match self.attempt(Attempt::First, &part).await {
                Ok(()) => answer(part, &Ok(())),
                Err(Failure::Row(source)) => parts.extend(halve_or_reject(part, source)),
                Err(Failure::Nothing(source)) => {
                    // The other parts would only wait for the same.
                    parts.push(part);
                    for part in parts.drain(..) {
                        let source = Arc::clone(&source);
                        answer(part, &Err(RecordError::NotWritten { source }));
                    }
                }
                Err(Failure::Lost(source)) => {
                    tracing::warn!(error = %source, rows = part.len(), "lost the database during a commit");
                    self.resolve(part).await;
                }
            }
        }
    }

    /// Finds out about a batch whose outcome is unknown, by writing it again.
    async fn resolve(&mut self, batch: Vec<Pending>) {
        let deadline = Instant::now() + self.options.resolve_within;
        let mut pause = Duration::from_millis(10);
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            match self.attempt(Attempt::Again, &part).await {
                Ok(()) => parts.extend(self.confirm(part).await),
                // The lost statement met the same row, so it was refused as well.
                Err(Failure::Row(source)) => parts.extend(halve_or_reject(part, source)),
                Err(Failure::Nothing(_) | Failure::Lost(_)) => parts.push(part),
            }
            if Instant::now() >= deadline {
                for part in parts.drain(..) {
                    answer(part, &Err(RecordError::Unknown));
                }
            } else if self.connection.is_none() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(250));
            }
        }
    }

    /// Answers a batch that is certainly stored, unless it cannot be looked at yet; then it comes back.
    async fn confirm(&mut self, batch: Vec<Pending>) -> Option<Vec<Pending>> {
        match self.stored(&batch).await {
            Ok(stored) => {
                answer_as_stored(batch, &stored);
                None
            }
            Err(error) => {
                tracing::warn!(%error, "cannot look for records yet");
                // The next attempt is after a pause.
                self.connection = None;
                Some(batch)
            }
        }
    }

    /// The leaf hashes that are stored under the batch's ids, read as the role that serves.
    async fn stored(&self, batch: &[Pending]) -> Result<HashMap<Uuid, Vec<u8>>, StoreError> {
        let mut tenants: HashMap<Id<Tenant>, Vec<Uuid>> = HashMap::new();
        for pending in batch {
            let ids = tenants.entry(pending.record.tenant).or_default();
            ids.push(pending.record.record.id.as_uuid());
        }
        let mut stored = HashMap::with_capacity(batch.len());
        for (tenant, ids) in tenants {
            let mut tx = self.region.begin(tenant).await?;
            stored.extend(records::stored(&mut tx, &ids).await?);
            tx.commit().await?;
        }
        Ok(stored)
    }

    async fn attempt(&mut self, attempt: Attempt, batch: &[Pending]) -> Result<(), Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.region.recorder().await.map_err(cannot_connect)?,
        };
        // The connection goes back only where the server answered: a lost one, or one that still
        // works on a statement that nobody waits for, is dropped.
        let columns = Columns::of(batch);
        let written = tokio::time::timeout(
            self.options.write_timeout,
            columns.insert(attempt, &mut connection),
        );
        match written.await {
            Ok(Ok(())) => {
                self.connection = Some(connection);
                Ok(())
            }
            Ok(Err(error)) => {
                let failure = sort(error);
                if matches!(failure, Failure::Row(_)) {
                    self.connection = Some(connection);
                }
                Err(failure)
            }
            Err(_elapsed) => Err(Failure::Lost(Arc::new(Fault::Driver(
                sqlx::Error::PoolTimedOut,
            )))),
        }
    }
}

fn cannot_connect(error: ConnectError) -> Failure {
    Failure::Nothing(Arc::new(Fault::Driver(sqlx::Error::Configuration(
        Box::new(error),
    ))))
}

fn sort(error: sqlx::Error) -> Failure {
    let severity = error
        .as_database_error()
        .and_then(|refusal| refusal.try_downcast_ref::<PgDatabaseError>())
        .map(PgDatabaseError::severity);
    let unsent = matches!(error, sqlx::Error::Encode(_));
    let fault = Arc::new(Fault::from(error));
    match severity {
        // The statement was rolled back, and the server is still there to say so.
        Some(PgSeverity::Error) if fault.is_about_the_row() => Failure::Row(fault),
        Some(PgSeverity::Error) => Failure::Nothing(fault),
        None if unsent => Failure::Row(fault),
        // The server ended the connection, before or after the commit.
        Some(
            PgSeverity::Fatal
            | PgSeverity::Panic
            | PgSeverity::Warning
            | PgSeverity::Notice
            | PgSeverity::Debug
            | PgSeverity::Info
            | PgSeverity::Log,
        )
        | None => Failure::Lost(fault),
    }
}

/// The halves of a batch that holds a bad row, the earlier one last; or, when that row is all there
/// is, its refusal.
fn halve_or_reject(mut part: Vec<Pending>, source: Arc<Fault>) -> Vec<Vec<Pending>> {
    if part.len() == 1 {
        answer(part, &Err(RecordError::Rejected { source }));
        return Vec::new();
    }
    let rest = part.split_off(part.len() / 2);
    vec![rest, part]
}

fn answer(batch: Vec<Pending>, result: &Result<(), RecordError>) {
    for pending in batch {
        // Nobody may wait any more; the record is as it is all the same.
        let _ = pending.reply.send(result.clone());
    }
}

fn answer_as_stored(batch: Vec<Pending>, stored: &HashMap<Uuid, Vec<u8>>) {
    for pending in batch {
        let record = &pending.record.record;
        let result = match stored.get(&record.id.as_uuid()) {
            Some(hash) if hash.as_slice() == record.leaf_hash => Ok(()),
            // The id was another record's before: this one never went in.
            Some(_) => Err(RecordError::Rejected {
                source: Arc::new(Fault::Server {
                    code: "23505".to_owned(),
                    message: "another record has this id".to_owned(),
                    constraint: Some("records_pkey".to_owned()),
                }),
            }),
            None => Err(RecordError::Unknown),
        };
        // Nobody may wait any more.
        let _ = pending.reply.send(result);
    }
}
