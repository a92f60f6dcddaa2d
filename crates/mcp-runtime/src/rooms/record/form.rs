//! From what the rooms know of a call to its records: the intent, and the outcome with its ending.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_domain::id::{Id, Record as RecordKind};
use portcullis_domain::{MicroUsd, Pool};
use portcullis_evidence::record::{
    self as form, Actor, ActorName, Answer, Basis, Body, Call, CallIntent, CallOutcome, Cost,
    Effect, Ending, Hold, Payload, Permit, PolicyVersion, Redaction, Route,
};
use portcullis_evidence::{
    Canonical, Count, Digest, Field, Label, MemberName, Receipt, Record, Salts, Timestamp,
};
use portcullis_redaction::{Mode, Report};
use portcullis_store::records::RecordRow;
use portcullis_store::writer::NewRecord;
use portcullis_wire::Slug;

use super::sign;
use crate::gate::Gate;
use crate::rooms::claim::{RecordFault, Seal};
use crate::rooms::decide::{Decided, Permitted};
use crate::rooms::execute::Caused;
use crate::rooms::redact::{Redacted, Shown};
use crate::rooms::validate::{KnownTool, Passage};
use crate::snapshot::TenantSnapshot;

/// A signed record, ready to be written, and its receipt.
pub(crate) struct Signed {
    pub(crate) row: NewRecord,
    pub(crate) receipt: Receipt,
}

/// The record of a call's intent.
pub(super) fn intent(
    gate: &Gate,
    permitted: &Permitted,
    seal: &Seal,
    id: Id<RecordKind>,
) -> Result<NewRecord, RecordFault> {
    let passage = &permitted.call.passage;
    let snapshot = &passage.admitted.snapshot;
    let intent = CallIntent {
        call: call(passage, seal)?,
        permit: permit(snapshot, &permitted.verdict, permitted.pool)
            .ok_or(RecordFault::NoPolicy)?,
        reserved: Count::saturating(0),
    };
    let record = Record {
        at: gate.clock.now().into(),
        body: Body::CallIntent(Box::new(intent)),
        id,
        pool: permitted.pool,
        replica: gate.replica,
        tenant: passage.admitted.caller.tenant,
    };
    Ok(signed(gate, record)?.row)
}

/// The record of how a call ended.
pub(super) fn outcome(
    gate: &Gate,
    passage: &Passage,
    seal: &Seal,
    pool: Pool,
    ending: Ending,
) -> Result<Signed, RecordFault> {
    let ended_at = gate.clock.now();
    let outcome = CallOutcome {
        call: call(passage, seal)?,
        duration_us: Count::saturating(
            u64::try_from(passage.started.elapsed().as_micros()).unwrap_or(u64::MAX),
        ),
        ended_at: ended_at.into(),
        ending,
    };
    let record = Record {
        at: ended_at.into(),
        body: Body::CallOutcome(Box::new(outcome)),
        id: seal.record,
        pool,
        replica: gate.replica,
        tenant: passage.admitted.caller.tenant,
    };
    signed(gate, record)
}

/// Signs the record of a call and reads its row's columns off it.
pub(crate) fn signed(gate: &Gate, record: Record) -> Result<Signed, RecordFault> {
    let (record, canonical, receipt) = sign(&gate.keys, record)?.into_parts();
    let call = match &record.body {
        Body::CallIntent(intent) => &intent.call,
        Body::CallOutcome(outcome) => &outcome.call,
        Body::AdminChange(_) | Body::RefusalCount(_) => return Err(RecordFault::NotACall),
    };
    let row = RecordRow {
        id: record.id,
        kind: record.body.kind().as_str().to_owned(),
        trace_id: call.trace_id,
        intent: intent_of(&record.body),
        principal: Some(call.actor.principal),
        tool: match &call.tool {
            form::Tool::Known { name, .. } => Some(name.as_ref().to_owned()),
            form::Tool::Unknown { .. } => None,
        },
        verdict: verdict_of(&record.body).to_owned(),
        started_at: call.started_at.to_time(),
        ended_at: record.at.to_time(),
        canonical: canonical.into_bytes(),
        leaf_hash: *receipt.leaf.as_bytes(),
        signature: receipt.signature.as_bytes().to_vec(),
        key_id: receipt.key.clone(),
    };
    Ok(Signed {
        row: NewRecord {
            tenant: record.tenant,
            record: row,
            inputs: None,
        },
        receipt,
    })
}

/// The intent that an outcome is of.
const fn intent_of(body: &Body) -> Option<Id<RecordKind>> {
    match body {
        Body::CallOutcome(outcome) => match outcome.ending {
            Ending::Withheld { intent, .. } | Ending::Executed { intent, .. } => intent,
            Ending::Rejected { .. } | Ending::Denied { .. } | Ending::Replayed { .. } => None,
        },
        Body::AdminChange(_) | Body::CallIntent(_) | Body::RefusalCount(_) => None,
    }
}

/// The verdict of a call's record, as its row says it.
fn verdict_of(body: &Body) -> &'static str {
    match body {
        Body::CallIntent(_) => form::Verdict::Allow.as_str(),
        Body::CallOutcome(outcome) => outcome.verdict().map_or("rejected", form::Verdict::as_str),
        Body::AdminChange(_) | Body::RefusalCount(_) => "rejected",
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
        idempotency_key: seal.key,
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

/// How a call ended, from what its caller will see and what is known of its effect.
pub(super) fn ending(redacted: &Redacted, pool: Pool, intent: Option<Id<RecordKind>>) -> Ending {
    let snapshot = &redacted.passage.admitted.snapshot;
    let ground = redacted
        .decided
        .as_ref()
        .and_then(|decided| Some((decided, basis(snapshot, decided, &redacted.shown)?)));
    let Some((decided, basis)) = ground else {
        return groundless(&redacted.shown);
    };
    let permit = Permit {
        basis,
        route: route(decided, pool),
    };
    match &redacted.shown {
        Shown::Refused(refusal) => Ending::Denied {
            basis: permit.basis,
            hold: hold(refusal.slug),
            problem: label(refusal.slug),
        },
        Shown::Withheld(refusal) => Ending::Withheld {
            intent,
            permit,
            problem: label(refusal.slug),
        },
        Shown::Replayed(output, original) => Ending::Replayed {
            answer: answer(output, &redacted.report, &redacted.seal.salts),
            original: *original,
            permit,
        },
        Shown::Output(output) => {
            let answer = answer(&output.json, &redacted.report, &redacted.seal.salts);
            executed(permit, Effect::Ok(answer), intent)
        }
        Shown::Failed(slug, _) => executed(permit, failed(*slug, &redacted.caused), intent),
    }
}

/// The ending of a call that no policy decided. Nothing runs without a decision, so only a refusal
/// comes here; anything else would be a fault of ours, and is said so.
fn groundless(shown: &Shown) -> Ending {
    let problem = match shown {
        Shown::Refused(refusal) => label(refusal.slug),
        Shown::Withheld(_) | Shown::Replayed(..) | Shown::Output(_) | Shown::Failed(..) => {
            label(Slug::Internal)
        }
    };
    Ending::Rejected { problem }
}

fn hold(slug: Slug) -> Hold {
    if slug == Slug::ApprovalRequired {
        Hold::RequireApproval
    } else {
        Hold::Deny
    }
}

fn failed(slug: Slug, caused: &Caused) -> Effect {
    let problem = label(slug);
    match caused {
        Caused::Unknown => Effect::Unknown,
        Caused::Nothing if cuts_off(slug) => Effect::Cancelled { problem },
        Caused::Nothing | Caused::Pending(_) | Caused::Done => Effect::Failed {
            answer: None,
            problem,
        },
    }
}

/// Whether a problem is that something stopped the call on its way: its caller, its deadline, a switch.
fn cuts_off(slug: Slug) -> bool {
    matches!(
        slug,
        Slug::Cancelled
            | Slug::DeadlineExceeded
            | Slug::ReadOnly
            | Slug::ToolQuarantined
            | Slug::ServerQuarantined
            | Slug::PrincipalSuspended
            | Slug::TenantFrozen
            | Slug::EgressBlocked
    )
}

/// What a call that ran costs: nothing is priced before there are budgets.
pub(in crate::rooms) const SETTLED: MicroUsd = MicroUsd(0);

fn executed(permit: Permit, effect: Effect, intent: Option<Id<RecordKind>>) -> Ending {
    // Nothing is reserved before there are budgets, and the record says what happened.
    let cost = Count::saturating(SETTLED.0);
    Ending::Executed {
        cost: Cost {
            reserved: cost,
            settled: cost,
        },
        effect,
        intent,
        permit,
    }
}

/// What policy allowed, and where.
pub(super) fn permit(snapshot: &TenantSnapshot, decided: &Decided, pool: Pool) -> Option<Permit> {
    Some(Permit {
        basis: ground(snapshot, decided, None)?,
        route: route(decided, pool),
    })
}

fn route(decided: &Decided, pool: Pool) -> Route {
    Route {
        pool,
        rule: decided.route_rule.clone(),
    }
}

fn basis(snapshot: &TenantSnapshot, decided: &Decided, shown: &Shown) -> Option<Basis> {
    let reason = match shown {
        Shown::Refused(refusal) => Some(Arc::from(refusal.reason.as_str())),
        Shown::Withheld(_) | Shown::Replayed(..) | Shown::Output(_) | Shown::Failed(..) => None,
    };
    ground(snapshot, decided, reason)
}

fn ground(snapshot: &TenantSnapshot, decided: &Decided, reason: Option<Arc<str>>) -> Option<Basis> {
    let published = snapshot.policy.as_ref()?;
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

/// A problem's name in a record.
pub(super) fn label(slug: Slug) -> Label {
    Label::from(slug.as_str())
}
