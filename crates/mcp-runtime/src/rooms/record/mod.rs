//! Room 8: the record of the call, canonical and signed, durable before anything is answered.
//!
//! It takes only what room 7 made. When the record cannot be written, nothing is answered but that.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_domain::Pool;
use portcullis_evidence::record::{
    self as form, Actor, ActorName, Answer, Basis, Body, Call, CallOutcome, Cost, Effect, Ending,
    Hold, Payload, Permit, PolicyVersion, Redaction, Route,
};
use portcullis_evidence::{
    Canonical, Count, Digest, Field, Label, MemberName, Receipt, Record, Salts, Sealed, Signer,
    SignerError, Timestamp,
};
use portcullis_keys::LocalKeys;
use portcullis_redaction::{Mode, Report};
use portcullis_store::records::RecordRow;
use portcullis_store::writer::NewRecord;
use portcullis_wire::Slug;

use super::admit::Slots;
use super::claim::{RecordFault, Seal};
use super::decide::Decided;
use super::redact::{Redacted, Shown};
use super::validate::{KnownTool, Passage};
use crate::gate::Gate;
use crate::snapshot::TenantSnapshot;

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
pub async fn enter(gate: &Gate, redacted: Redacted) -> Result<Recorded, RecordFault> {
    // A call without a pool of its own is recorded at its tenant's home.
    let home = redacted.passage.admitted.snapshot.home;
    let pool = redacted.pool.unwrap_or(home);
    let region = gate.regions.get(&pool).ok_or(RecordFault::NoPool(pool))?;
    let row = outcome(gate, &redacted, pool)?;
    let receipt = row.receipt;
    region
        .writer
        .submit(row.row)
        .await
        .map_err(RecordFault::Write)?;
    let Redacted { passage, shown, .. } = redacted;
    Ok(Recorded {
        shown,
        receipt,
        slots: passage.admitted.slots,
    })
}

struct Row {
    row: NewRecord,
    receipt: Receipt,
}

fn outcome(gate: &Gate, redacted: &Redacted, pool: Pool) -> Result<Row, RecordFault> {
    let passage = &redacted.passage;
    let seal = &redacted.seal;
    let ended_at = gate.clock.now();
    let ending = ending(redacted, pool);
    let outcome = CallOutcome {
        call: call(passage, seal)?,
        duration_us: Count::saturating(
            u64::try_from(passage.started.elapsed().as_micros()).unwrap_or(u64::MAX),
        ),
        ended_at: ended_at.into(),
        ending,
    };
    let verdict = outcome
        .verdict()
        .map_or("rejected", form::Verdict::as_str)
        .to_owned();
    let record = Record {
        at: ended_at.into(),
        body: Body::CallOutcome(Box::new(outcome)),
        id: seal.record,
        pool,
        replica: gate.replica,
        tenant: passage.admitted.caller.tenant,
    };
    let (record, canonical, receipt) = sign(&gate.keys, record)?.into_parts();
    let row = RecordRow {
        id: record.id,
        kind: record.body.kind().as_str().to_owned(),
        trace_id: passage.trace_id,
        intent: None,
        principal: Some(passage.admitted.caller.principal),
        tool: passage
            .tool
            .as_ref()
            .map(|tool| tool.compiled.definition.name.clone()),
        verdict,
        started_at: passage.started_at,
        ended_at,
        canonical: canonical.into_bytes(),
        leaf_hash: *receipt.leaf.as_bytes(),
        signature: receipt.signature.as_bytes().to_vec(),
        key_id: receipt.key.clone(),
    };
    let inputs = seal.inputs.clone();
    Ok(Row {
        row: NewRecord {
            tenant: record.tenant,
            record: row,
            inputs,
        },
        receipt,
    })
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

fn call(passage: &Passage, seal: &Seal) -> Result<Call, RecordFault> {
    let caller = &passage.admitted.caller;
    let actor = Actor {
        auth: caller.auth,
        name: ActorName::of(&caller.name, &seal.salts).map_err(RecordFault::Canonical)?,
        principal: caller.principal,
        purpose: caller.purpose.as_deref().map(Arc::from),
        scopes: caller.scopes.clone(),
    };
    Ok(Call {
        actor,
        arguments: seal.arguments,
        epoch: Count::saturating(u64::try_from(passage.admitted.snapshot.epoch).unwrap_or(0)),
        idempotency_key: None,
        plan: passage.admitted.plan.as_ref().map(|plan| form::Plan {
            attempt: plan.attempt,
            depth: plan.depth,
            id: Arc::from(plan.id.as_str()),
        }),
        span: None,
        started_at: Timestamp::from(passage.started_at),
        tool: tool(passage, &seal.salts)?,
        trace_id: passage.trace_id,
    })
}

fn tool(passage: &Passage, salts: &Salts) -> Result<form::Tool, RecordFault> {
    if let Some(KnownTool {
        compiled, version, ..
    }) = &passage.tool
    {
        return Ok(form::Tool::Known {
            name: Arc::from(compiled.definition.name.as_str()),
            sha256: compiled.sha256,
            version: Count::saturating(*version),
        });
    }
    let name =
        portcullis_evidence::canonical_bytes(&passage.asked_for).map_err(RecordFault::Canonical)?;
    Ok(form::Tool::Unknown {
        commitment: salts.commit(Field::ToolName, &name),
    })
}

fn ending(redacted: &Redacted, pool: Pool) -> Ending {
    let snapshot = &redacted.passage.admitted.snapshot;
    let ground = redacted
        .decided
        .as_ref()
        .and_then(|verdict| basis(snapshot, verdict, &redacted.shown));
    match (&redacted.shown, ground) {
        (Shown::Refused(refusal), None) => Ending::Rejected {
            problem: label(refusal.slug),
        },
        (Shown::Refused(refusal), Some(basis)) => {
            let approval = refusal.slug == Slug::ApprovalRequired;
            let hold = if approval {
                Hold::RequireApproval
            } else {
                Hold::Deny
            };
            Ending::Denied {
                basis,
                hold,
                problem: label(refusal.slug),
            }
        }
        (Shown::Output(output), Some(basis)) => {
            let answer = answer(output, &redacted.report, &redacted.seal.salts);
            executed(redacted, basis, pool, Effect::Ok(answer))
        }
        (Shown::Failed(slug, _), Some(basis)) => {
            let problem = label(*slug);
            let stopped = matches!(slug, Slug::Cancelled | Slug::DeadlineExceeded);
            let effect = if stopped {
                Effect::Cancelled { problem }
            } else {
                Effect::Failed {
                    answer: None,
                    problem,
                }
            };
            executed(redacted, basis, pool, effect)
        }
        // Nothing runs without a decision, so this cannot be built; it would say so truthfully.
        (Shown::Output(..) | Shown::Failed(..), None) => Ending::Rejected {
            problem: label(Slug::Internal),
        },
    }
}

fn executed(redacted: &Redacted, basis: Basis, pool: Pool, effect: Effect) -> Ending {
    let rule = redacted
        .decided
        .as_ref()
        .and_then(|decided| decided.route_rule.clone());
    // Nothing is reserved before there are budgets, and the record says what happened.
    let cost = Count::saturating(0);
    Ending::Executed {
        cost: Cost {
            reserved: cost,
            settled: cost,
        },
        effect,
        intent: None,
        permit: Permit {
            basis,
            route: Route { pool, rule },
        },
    }
}

fn basis(snapshot: &TenantSnapshot, decided: &Decided, shown: &Shown) -> Option<Basis> {
    let published = snapshot.policy.as_ref()?;
    let reason = match shown {
        Shown::Refused(refusal) => Some(Arc::from(refusal.reason.as_str())),
        Shown::Output(..) | Shown::Failed(..) => None,
    };
    Some(Basis {
        policy: PolicyVersion {
            id: published.id,
            number: Count::saturating(published.number),
            sha256: Digest::from_bytes(published.sha256),
        },
        reason,
        rules: decided.rules.clone(),
    })
}

fn answer(output: &Canonical, report: &Report, salts: &Salts) -> Answer {
    let result = Payload::of(salts, Field::Result, output);
    Answer {
        redaction: redaction(report),
        result,
    }
}

fn redaction(report: &Report) -> Redaction {
    let by_kind: BTreeMap<Label, Count> = report
        .by_kind
        .iter()
        .map(|(kind, count)| (Label::from(kind.as_str()), Count::from(*count)))
        .collect();
    let fields = report
        .fields
        .iter()
        .map(|(field, how)| (MemberName::from(field.as_str()), mode(how)))
        .collect();
    Redaction {
        by_kind,
        fields,
        pii_count: Count::from(report.pii_count),
    }
}

/// What a detector finds is masked.
fn mode(how: &str) -> form::Mode {
    match how.parse::<Mode>() {
        Ok(Mode::Drop) => form::Mode::Drop,
        Ok(Mode::Hash) => form::Mode::Hash,
        Ok(Mode::Tokenize) => form::Mode::Tokenize,
        Ok(Mode::Mask) | Err(_) => form::Mode::Mask,
    }
}

fn label(slug: Slug) -> Label {
    Label::from(slug.as_str())
}
