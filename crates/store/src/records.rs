//! Records of calls and the encrypted inputs beside them, as an auditor reads them: one tenant's, under
//! row-level security. They are written by [`crate::writer`] alone.

use std::fmt;

use portcullis_domain::TraceId;
use portcullis_domain::id::{DataKey, Id, Principal, Record};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::{StoreError, sort};
use crate::region::RegionTx;
use crate::row::fixed;

/// A signed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRow {
    /// Its id.
    pub id: Id<Record>,
    /// What it records: `call`, `intent`, `outcome` …
    pub kind: String,
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// The intent that this is the outcome of, if it is one.
    pub intent: Option<Id<Record>>,
    /// Who called, if known.
    pub principal: Option<Id<Principal>>,
    /// What was called, if known.
    pub tool: Option<String>,
    /// How it ended.
    pub verdict: String,
    /// When the call began.
    pub started_at: OffsetDateTime,
    /// When it ended.
    pub ended_at: OffsetDateTime,
    /// The canonical bytes.
    pub canonical: Vec<u8>,
    /// The leaf hash of the canonical bytes.
    pub leaf_hash: [u8; 32],
    /// The replica's signature.
    pub signature: Vec<u8>,
    /// The key of the signature.
    pub key_id: String,
}

/// Encrypted arguments and answer of a call.
#[derive(Clone, PartialEq, Eq)]
pub struct CallInputsRow {
    /// The record they belong to.
    pub record: Id<Record>,
    /// The key they are encrypted with.
    pub data_key: Id<DataKey>,
    /// The encrypted salts of the record's commitments.
    pub salts: Vec<u8>,
    /// The encrypted arguments.
    pub arguments: Vec<u8>,
    /// The encrypted answer, if it is kept.
    pub answer: Option<Vec<u8>>,
}

impl fmt::Debug for CallInputsRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallInputsRow")
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

/// Which records to list.
#[derive(Debug, Clone, Copy)]
pub struct RecordFilter {
    /// Not before this moment.
    pub from: OffsetDateTime,
    /// Before this moment.
    pub until: OffsetDateTime,
    /// Of this principal alone.
    pub principal: Option<Id<Principal>>,
    /// Older than this record: the last one of the page before.
    pub before: Option<Id<Record>>,
    /// At most so many, at most 1,000.
    pub limit: u32,
}

struct Raw {
    id: Uuid,
    kind: String,
    trace_id: Vec<u8>,
    intent_id: Option<Uuid>,
    principal_id: Option<Uuid>,
    tool: Option<String>,
    verdict: String,
    started_at: OffsetDateTime,
    ended_at: OffsetDateTime,
    canonical: Vec<u8>,
    leaf_hash: Vec<u8>,
    signature: Vec<u8>,
    key_id: String,
}

impl Raw {
    fn read(self, operation: &'static str) -> Result<RecordRow, StoreError> {
        Ok(RecordRow {
            id: Id::from_row(self.id),
            kind: self.kind,
            trace_id: TraceId::from_bytes(fixed(operation, "trace_id", self.trace_id)?),
            intent: self.intent_id.map(Id::from_row),
            principal: self.principal_id.map(Id::from_row),
            tool: self.tool,
            verdict: self.verdict,
            started_at: self.started_at,
            ended_at: self.ended_at,
            canonical: self.canonical,
            leaf_hash: fixed(operation, "leaf_hash", self.leaf_hash)?,
            signature: self.signature,
            key_id: self.key_id,
        })
    }
}

/// A record by its id. Another tenant's is as one that does not exist.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn by_id(tx: &mut RegionTx, id: Id<Record>) -> Result<Option<RecordRow>, StoreError> {
    let operation = "read record";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "select id, kind, trace_id, intent_id, principal_id, tool, verdict, started_at, ended_at,
                canonical, leaf_hash, signature, key_id
         from records where tenant_id = $1 and id = $2",
        tenant,
        id.as_uuid()
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort(operation))?
    .map(|raw| raw.read(operation))
    .transpose()
}

/// The records of a trace that are older than `before`, newest first, at most `limit` and at most
/// 1,000.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn by_trace(
    tx: &mut RegionTx,
    trace: TraceId,
    before: Option<Id<Record>>,
    limit: u32,
) -> Result<Vec<RecordRow>, StoreError> {
    let operation = "read the records of a trace";
    let tenant = tx.tenant().as_uuid();
    sqlx::query_as!(
        Raw,
        "select id, kind, trace_id, intent_id, principal_id, tool, verdict, started_at, ended_at,
                canonical, leaf_hash, signature, key_id
         from records
         where tenant_id = $1 and trace_id = $2 and ($3::uuid is null or id < $3)
         order by id desc limit $4",
        tenant,
        trace.as_bytes().as_slice(),
        before.map(|before| before.as_uuid()),
        i64::from(limit.clamp(1, 1_000))
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort(operation))?
    .into_iter()
    .map(|raw| raw.read(operation))
    .collect()
}

/// The tenant's records of a time, newest first. The time of a record is that of its id.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list(tx: &mut RegionTx, filter: RecordFilter) -> Result<Vec<RecordRow>, StoreError> {
    let operation = "list records";
    let tenant = tx.tenant().as_uuid();
    let ceiling = Id::<Record>::floor(filter.until);
    let before = filter.before.map_or(ceiling, |before| before.min(ceiling));
    sqlx::query_as!(
        Raw,
        "select id, kind, trace_id, intent_id, principal_id, tool, verdict, started_at, ended_at,
                canonical, leaf_hash, signature, key_id
         from records
         where tenant_id = $1 and id >= $2 and id < $3
           and ($4::uuid is null or principal_id = $4)
         order by id desc limit $5",
        tenant,
        Id::<Record>::floor(filter.from).as_uuid(),
        before.as_uuid(),
        filter.principal.map(|principal| principal.as_uuid()),
        i64::from(filter.limit.clamp(1, 1_000))
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort(operation))?
    .into_iter()
    .map(|raw| raw.read(operation))
    .collect()
}

/// The encrypted inputs of a record, if they are kept.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn inputs(
    tx: &mut RegionTx,
    record: Id<Record>,
) -> Result<Option<CallInputsRow>, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let found = sqlx::query!(
        "select record_id, data_key_id, salts, arguments, answer from call_inputs
         where tenant_id = $1 and record_id = $2",
        tenant,
        record.as_uuid()
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort("read the inputs of a call"))?;
    Ok(found.map(|row| CallInputsRow {
        record: Id::from_row(row.record_id),
        data_key: Id::from_row(row.data_key_id),
        salts: row.salts,
        arguments: row.arguments,
        answer: row.answer,
    }))
}

/// The kinds of those of `ids` that are stored.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn kinds(
    tx: &mut RegionTx,
    ids: &[Id<Record>],
) -> Result<Vec<(Id<Record>, String)>, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let ids: Vec<Uuid> = ids.iter().map(Id::as_uuid).collect();
    let rows = sqlx::query!(
        "select id, kind from records where tenant_id = $1 and id = any($2)",
        tenant,
        &ids
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort("look for records"))?;
    Ok(rows
        .into_iter()
        .map(|row| (Id::from_row(row.id), row.kind))
        .collect())
}

/// The leaf hashes of those of `ids` that are stored.
pub(crate) async fn stored(
    tx: &mut RegionTx,
    ids: &[Uuid],
) -> Result<Vec<(Uuid, Vec<u8>)>, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let rows = sqlx::query!(
        "select id, leaf_hash from records where tenant_id = $1 and id = any($2)",
        tenant,
        ids
    )
    .fetch_all(tx.connection())
    .await
    .map_err(sort("look for records"))?;
    Ok(rows
        .into_iter()
        .map(|row| (row.id, row.leaf_hash))
        .collect())
}
