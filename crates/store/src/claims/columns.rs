//! A record as the parameters of a statement that writes it beside something else.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::writer::NewRecord;

/// The columns of `records`.
pub(super) struct RecordColumns<'a> {
    new: &'a NewRecord,
    pub(super) id: Uuid,
    pub(super) kind: &'a str,
    pub(super) trace_id: &'a [u8],
    pub(super) intent: Option<Uuid>,
    pub(super) principal: Option<Uuid>,
    pub(super) tool: Option<&'a str>,
    pub(super) verdict: &'a str,
    pub(super) started_at: OffsetDateTime,
    pub(super) ended_at: OffsetDateTime,
    pub(super) canonical: &'a [u8],
    pub(super) leaf_hash: &'a [u8],
    pub(super) signature: &'a [u8],
    pub(super) key_id: &'a str,
}

/// The columns of `call_inputs`; without a data key there is nothing to keep.
pub(super) struct InputColumns<'a> {
    pub(super) data_key: Option<Uuid>,
    pub(super) salts: Option<&'a [u8]>,
    pub(super) arguments: Option<&'a [u8]>,
}

impl<'a> RecordColumns<'a> {
    pub(super) fn of(new: &'a NewRecord) -> Self {
        let record = &new.record;
        Self {
            new,
            id: record.id.as_uuid(),
            kind: &record.kind,
            trace_id: record.trace_id.as_bytes(),
            intent: record.intent.map(|id| id.as_uuid()),
            principal: record.principal.map(|id| id.as_uuid()),
            tool: record.tool.as_deref(),
            verdict: &record.verdict,
            started_at: record.started_at,
            ended_at: record.ended_at,
            canonical: &record.canonical,
            leaf_hash: &record.leaf_hash,
            signature: &record.signature,
            key_id: &record.key_id,
        }
    }

    pub(super) fn inputs(&self) -> InputColumns<'a> {
        let inputs = self.new.inputs.as_ref();
        InputColumns {
            data_key: inputs.map(|inputs| inputs.data_key.as_uuid()),
            salts: inputs.map(|inputs| inputs.salts.as_slice()),
            arguments: inputs.map(|inputs| inputs.arguments.as_slice()),
        }
    }
}
