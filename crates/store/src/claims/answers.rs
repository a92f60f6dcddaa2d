//! The stored answers of completed calls, and the outcomes that are recorded beside them in the pool
//! that ran the call.

use std::fmt;

use portcullis_domain::id::{DataKey, Id, Record};

use super::columns::RecordColumns;
use crate::error::{StoreError, sort};
use crate::region::RegionTx;
use crate::writer::NewRecord;

/// An encrypted answer.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The key it is encrypted with.
    pub data_key: Id<DataKey>,
    /// The encrypted answer.
    pub ciphertext: Vec<u8>,
}

impl fmt::Debug for StoredAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredAnswer")
            .field("data_key", &self.data_key)
            .finish_non_exhaustive()
    }
}

/// The stored answer of a call, by its outcome's id, where it is still kept.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn answer(
    tx: &mut RegionTx,
    outcome: Id<Record>,
) -> Result<Option<StoredAnswer>, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let found = sqlx::query!(
        "select data_key_id, answer from stored_answers where tenant_id = $1 and outcome_id = $2",
        tenant,
        outcome.as_uuid()
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort("read a stored answer"))?;
    Ok(found.map(|row| StoredAnswer {
        data_key: Id::from_row(row.data_key_id),
        ciphertext: row.answer,
    }))
}

/// Records an outcome, with its answer if there is one, in a transaction of the pool that ran the call.
/// False, and nothing written, where a record has this id already.
///
/// # Errors
/// Fails where the database cannot be reached.
#[expect(
    clippy::cognitive_complexity,
    reason = "the query macro counts as a branch for each parameter"
)]
pub async fn record(
    tx: &mut RegionTx,
    outcome: &NewRecord,
    answer: Option<&StoredAnswer>,
) -> Result<bool, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let record = RecordColumns::of(outcome);
    let written = sqlx::query_scalar!(
        r#"with recorded as (
             insert into records (tenant_id, id, kind, trace_id, intent_id, principal_id, tool,
                                  verdict, started_at, ended_at, canonical, leaf_hash, signature,
                                  key_id)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
             on conflict (tenant_id, id) do nothing
             returning id),
           kept as (
             insert into stored_answers (tenant_id, outcome_id, data_key_id, answer, stored_at)
             select $1, $2, $15, $16, clock_timestamp() from recorded where $15::uuid is not null)
           select count(*) as "recorded!" from recorded"#,
        tenant,
        record.id,
        record.kind,
        record.trace_id,
        record.intent,
        record.principal,
        record.tool,
        record.verdict,
        record.started_at,
        record.ended_at,
        record.canonical,
        record.leaf_hash,
        record.signature,
        record.key_id,
        answer.map(|answer| answer.data_key.as_uuid()),
        answer.map(|answer| answer.ciphertext.as_slice()),
    )
    .fetch_one(tx.connection())
    .await
    .map_err(sort("record an outcome"))?;
    Ok(written == 1)
}
