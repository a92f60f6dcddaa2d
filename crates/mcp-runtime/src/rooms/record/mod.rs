//! Room 8: the record of the call, canonical and signed, durable before anything is answered.
//!
//! It takes only what room 7 made. When the record cannot be written, nothing is answered but that. A
//! call that holds a claim commits its effect, its record and the end of its claim together.

mod closing;
mod form;

use portcullis_domain::id::{Id, Record as RecordKind};
use portcullis_evidence::record::Ending;
use portcullis_evidence::{Receipt, Record, Sealed, Signer, SignerError};
use portcullis_keys::LocalKeys;
use portcullis_store::writer::NewRecord;
use portcullis_wire::Slug;

use super::admit::Slots;
use super::claim::{Lease, RecordFault, Seal, region};
use super::decide::Permitted;
use super::redact::{self, Redacted, Shown};
use crate::gate::Gate;
pub(in crate::rooms) use form::SETTLED;
pub(crate) use form::{Signed, signed};

/// A call whose record is durable.
#[derive(Debug)]
pub struct Recorded {
    pub(in crate::rooms) shown: Shown,
    pub(in crate::rooms) receipt: Receipt,
    pub(in crate::rooms) slots: Slots,
}

/// Enters the room. What room 7 did not redact cannot come in:
///
/// ```
/// use portcullis_mcp_runtime::{gate::Gate, rooms::{record, redact::Redacted}};
/// async fn keep(gate: &Gate, redacted: Redacted) {
///     let _ = record::enter(gate, redacted).await;
/// }
/// ```
///
/// ```compile_fail,E0308
/// use portcullis_mcp_runtime::{gate::Gate, rooms::{record, execute::Outcome}};
/// async fn keep(gate: &Gate, raw: Outcome) {
///     let _ = record::enter(gate, raw).await;
/// }
/// ```
///
/// # Errors
/// When the record cannot be built, signed or committed.
pub async fn enter(gate: &Gate, mut redacted: Redacted) -> Result<Recorded, RecordFault> {
    redact::stop_pending(&mut redacted);
    let receipt = match redacted.lease.take() {
        Some(lease) => closing::close(gate, &mut redacted, &lease).await?,
        None => submit(gate, &redacted).await?,
    };
    let Redacted { passage, shown, .. } = redacted;
    Ok(Recorded {
        shown,
        receipt,
        slots: passage.admitted.slots,
    })
}

/// Records a call that holds no claim. Without a pool of its own it is recorded at its tenant's home.
async fn submit(gate: &Gate, redacted: &Redacted) -> Result<Receipt, RecordFault> {
    let home = redacted.passage.admitted.snapshot.home;
    let pool = redacted.pool.unwrap_or(home);
    let region = region(gate, pool)?;
    let ending = form::ending(redacted, pool, None);
    let Signed { mut row, receipt } =
        form::outcome(gate, &redacted.passage, &redacted.seal, pool, ending)?;
    row.inputs.clone_from(&redacted.seal.inputs);
    region
        .writer
        .submit(row)
        .await
        .map_err(RecordFault::Write)?;
    Ok(receipt)
}

/// The record of an intent: that a mutating call is about to have an effect.
///
/// # Errors
/// When the record cannot be built or signed.
pub(in crate::rooms) fn intent(
    gate: &Gate,
    permitted: &Permitted,
    seal: &Seal,
    id: Id<RecordKind>,
) -> Result<NewRecord, RecordFault> {
    form::intent(gate, permitted, seal, id)
}

/// Gives a key back whose call will not run, since its claim or its intent is not certainly durable.
/// Where that fails too, the reaper closes the claim.
pub(in crate::rooms) async fn abandon(
    gate: &Gate,
    permitted: &Permitted,
    seal: &Seal,
    lease: &Lease,
) {
    let passage = &permitted.call.passage;
    let snapshot = &passage.admitted.snapshot;
    let permit = form::permit(snapshot, &permitted.verdict, lease.pool);
    let Some(permit) = permit else { return };
    let ending = Ending::Withheld {
        intent: Some(lease.intent),
        permit,
        problem: form::label(Slug::AuditUnavailable),
    };
    let released = match form::outcome(gate, passage, seal, lease.pool, ending) {
        Ok(Signed { row, .. }) => closing::release(gate, lease, &row).await,
        Err(fault) => Err(fault),
    };
    if let Err(fault) = released {
        tracing::warn!(claim = %lease.id, fault = %crate::chain(&fault), "a claim is left to the reaper");
    }
}

/// Signs a record with the replica's key.
///
/// # Errors
/// When the record has no canonical form or the key cannot sign.
pub(crate) fn sign(keys: &LocalKeys, record: Record) -> Result<Sealed, RecordFault> {
    Sealed::new(record, &ReplicaKey(keys)).map_err(RecordFault::Sign)
}

/// The replica's key, as evidence wants it.
struct ReplicaKey<'a>(&'a LocalKeys);

impl Signer for ReplicaKey<'_> {
    fn key_id(&self) -> &str {
        self.0.receipt_key().kid()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        self.0.sign_receipt(message).map_err(SignerError::new)
    }
}
