//! What an earlier call with the same key means to this one: it is under way, nobody knows how it
//! ended, or it was answered; then that answer is this call's, tightened by today's policy.

use std::borrow::Cow;

use portcullis_domain::id::{Id, Record, Tenant};
use portcullis_evidence::Canonical;
use portcullis_keys::Aad;
use portcullis_redaction::FieldRule;
use portcullis_store::claims::{self, ClaimRow, ClaimState, StoredAnswer};
use portcullis_wire::Slug;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::key::Hashes;
use super::{RecordFault, region};
use crate::gate::Gate;
use crate::rooms::refusal::Refusal;
use crate::rooms::validate::Passage;
use crate::snapshot::TenantKey;

/// The use of the ciphertext of answers, bound into it.
const USAGE: &str = "stored_answers.answer";

/// An earlier call's answer, as it was shown.
#[derive(Debug)]
pub(in crate::rooms) struct Kept {
    /// The answer, redacted as policy asked then.
    pub(in crate::rooms) answer: Value,
    /// What policy and the arguments asked to be redacted then.
    pub(in crate::rooms) redacted: Vec<FieldRule>,
    /// The record of the earlier call's outcome.
    pub(in crate::rooms) original: Id<Record>,
}

/// What an earlier call means to this one.
pub(super) enum Earlier {
    /// Its answer is this call's.
    Answered(Box<Kept>),
    /// This call is refused.
    Refused(Refusal),
}

#[derive(Serialize, Deserialize)]
struct Plain<'a> {
    #[serde(borrow)]
    answer: &'a RawValue,
    redacted: Cow<'a, [FieldRule]>,
}

/// Looks at the earlier call. Its answer is looked for where that call ran.
pub(super) async fn look(
    gate: &Gate,
    passage: &Passage,
    row: &ClaimRow,
    hashes: &Hashes,
) -> Result<Earlier, RecordFault> {
    if row.fingerprint != hashes.fingerprint {
        return Ok(Earlier::Refused(reused()));
    }
    match row.state {
        ClaimState::Claimed => return Ok(Earlier::Refused(in_progress())),
        ClaimState::Unknown => return Ok(Earlier::Refused(unknown(row))),
        ClaimState::Done => {}
    }
    let tenant = passage.admitted.caller.tenant;
    let store = &region(gate, row.pool)?.store;
    let mut tx = store.begin(tenant).await.map_err(RecordFault::Claim)?;
    let stored = claims::answer(&mut tx, row.outcome)
        .await
        .map_err(RecordFault::Claim)?;
    tx.commit().await.map_err(RecordFault::Claim)?;
    match stored {
        Some(stored) => open(passage, row.outcome, &stored).map(Earlier::Answered),
        None => Ok(Earlier::Refused(lost())),
    }
}

/// Seals an answer, with what was redacted in it, for repeats of its call.
pub(in crate::rooms) fn keep(
    passage: &Passage,
    outcome: Id<Record>,
    answer: &Canonical,
    redacted: &[FieldRule],
) -> Result<StoredAnswer, RecordFault> {
    let answer = serde_json::from_slice(answer.as_bytes()).map_err(RecordFault::Answer)?;
    let redacted = Cow::Borrowed(redacted);
    let plain = serde_json::to_vec(&Plain { answer, redacted }).map_err(RecordFault::Answer)?;
    let TenantKey { id, key } = &passage.admitted.snapshot.data_key;
    let ciphertext = key
        .encrypt(&aad(passage.admitted.caller.tenant, &outcome), &plain)
        .map_err(RecordFault::Seal)?;
    Ok(StoredAnswer {
        data_key: *id,
        ciphertext,
    })
}

fn open(
    passage: &Passage,
    outcome: Id<Record>,
    stored: &StoredAnswer,
) -> Result<Box<Kept>, RecordFault> {
    let key = &passage.admitted.snapshot.data_key.key;
    let plain = key
        .decrypt(
            &aad(passage.admitted.caller.tenant, &outcome),
            &stored.ciphertext,
        )
        .map_err(RecordFault::Seal)?;
    let plain: Plain<'_> = serde_json::from_slice(&plain).map_err(RecordFault::Answer)?;
    Ok(Box::new(Kept {
        answer: serde_json::from_str(plain.answer.get()).map_err(RecordFault::Answer)?,
        redacted: plain.redacted.into_owned(),
        original: outcome,
    }))
}

fn aad(tenant: Id<Tenant>, outcome: &Id<Record>) -> Aad<'_> {
    Aad {
        tenant,
        usage: USAGE,
        row: outcome.as_bytes(),
    }
}

fn reused() -> Refusal {
    Refusal::new(
        Slug::IdempotencyKeyReused,
        "this idempotency key came before with other arguments",
        "Use a new key for a new call, and the old one only to repeat the old call unchanged.",
    )
}

fn in_progress() -> Refusal {
    Refusal::new(
        Slug::IdempotencyInProgress,
        "a call with this idempotency key is under way",
        "Repeat the call with the same key in a second.",
    )
}

fn unknown(row: &ClaimRow) -> Refusal {
    let mut refusal = Refusal::new(
        Slug::OutcomeUnknown,
        "nobody knows whether the call with this idempotency key took effect",
        "An operator of the tenant finds out and resolves the claim; do not repeat the call with \
         another key before.",
    );
    let claim = Value::String(row.id.to_string());
    refusal.facts.insert("claim".to_owned(), claim);
    refusal
}

fn lost() -> Refusal {
    Refusal::new(
        Slug::AnswerLost,
        "the call with this idempotency key took effect, and its answer is gone",
        "Read the present state with a tool that reads; use a new key only for a new call.",
    )
}
