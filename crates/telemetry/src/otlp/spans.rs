//! From what is kept of a call to its spans: `agent.plan` around `mcp.tool.invoke` around the parts.
//!
//! Each bears every attribute, so that a search by any of them finds the span in question and not only its
//! parent. What is not known is `none`.

use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use portcullis_domain::SpanId;
use portcullis_domain::attribute::{
    ACTOR_ID, ACTOR_TYPE, BUDGET_LEFT, BUDGET_USED, ERROR_TYPE, IDEM_KEY, NONE, OUTCOME, PII_COUNT,
    PLAN_ATTEMPT, PLAN_DEPTH, POLICY_DECISION, RECORD_ID, ROUTE_POOL, SCOPE_GRANTS,
    SPAN_AGENT_PLAN, SPAN_POLICY_EVALUATE, SPAN_REDACT, SPAN_SERVICE_CALL, SPAN_TOOL_INVOKE,
    TENANT_ID, TOOL_NAME,
};
use portcullis_domain::observation::{CallEnd, CallSeen, Stage, TracePlace, TurnedAway};
use time::OffsetDateTime;

use super::kept::Kept;

/// The trace is kept (`SPAN_FLAGS_TRACE_FLAGS_MASK`), and it is known whether the parent is elsewhere.
const FLAGS: u32 = 0x101;
/// The parent is elsewhere.
const REMOTE_PARENT: u32 = 0x200;

/// How many spans a call has.
pub(super) fn count(seen: &CallSeen<'_>) -> u64 {
    let parts = [seen.policy, seen.service, seen.redaction];
    let parts = parts.iter().flatten().count() + usize::from(seen.plan.is_some());
    u64::try_from(parts + 1).unwrap_or(u64::MAX)
}

/// The spans of a call.
pub(super) fn of_call(kept: &Kept, into: &mut Vec<Span>) {
    let attributes = attributes(kept);
    let (begun, whole) = (
        kept.arrived_at,
        Stage {
            after: Duration::ZERO,
            took: kept.took,
        },
    );
    let span = |name: &str, id: SpanId, parent: Option<SpanId>, stage: Stage| {
        let mut span = bare(name, kept.place, id, parent);
        span.start_time_unix_nano = nanos(begun, stage.after);
        span.end_time_unix_nano = nanos(begun, stage.after.saturating_add(stage.took));
        span.attributes.clone_from(&attributes);
        span
    };
    let mut above = kept.place.parent;
    let mut flags = remote(above);
    if let Some(plan) = kept.plan {
        let id = derived(kept.span, 1);
        let mut step = span(SPAN_AGENT_PLAN, id, above, whole);
        step.flags |= flags;
        step.attributes
            .push(number(PLAN_DEPTH, u64::from(plan.depth)));
        step.attributes
            .push(number(PLAN_ATTEMPT, u64::from(plan.attempt)));
        into.push(step);
        (above, flags) = (Some(id), 0);
    }
    let id = derived(kept.span, 2);
    let mut invoke = span(SPAN_TOOL_INVOKE, id, above, whole);
    invoke.flags |= flags;
    invoke.kind = SpanKind::Server.into();
    invoke.attributes.push(text(OUTCOME, kept.end.as_str()));
    if let Some(problem) = kept.problem {
        fail(&mut invoke, problem);
    }
    into.push(invoke);
    let part =
        |name, own, stage: Option<Stage>| stage.map(|stage| span(name, own, Some(id), stage));
    into.extend(part(
        SPAN_POLICY_EVALUATE,
        derived(kept.span, 3),
        kept.policy,
    ));
    if let Some(mut service) = part(SPAN_SERVICE_CALL, kept.span, kept.service) {
        service.kind = SpanKind::Client.into();
        if let (CallEnd::Failed, Some(problem)) = (kept.end, kept.problem) {
            fail(&mut service, problem);
        }
        into.push(service);
    }
    into.extend(part(SPAN_REDACT, derived(kept.span, 4), kept.redaction));
}

/// The span of a request that was turned away. It has no id to be made of; `number` is a random one.
pub(super) fn of_door(seen: &TurnedAway, number: u64, into: &mut Vec<Span>) {
    let id = SpanId::from_bytes(number.to_be_bytes());
    let mut span = bare(SPAN_TOOL_INVOKE, seen.place, id, seen.place.parent);
    span.flags |= remote(seen.place.parent);
    span.kind = SpanKind::Server.into();
    span.start_time_unix_nano = nanos(seen.arrived_at, Duration::ZERO);
    span.end_time_unix_nano = nanos(seen.arrived_at, seen.took);
    let unknown = [
        ACTOR_ID,
        ACTOR_TYPE,
        TOOL_NAME,
        SCOPE_GRANTS,
        POLICY_DECISION,
        PII_COUNT,
        IDEM_KEY,
        BUDGET_USED,
        BUDGET_LEFT,
        ROUTE_POOL,
        RECORD_ID,
    ];
    span.attributes = unknown.map(|key| text(key, NONE)).to_vec();
    let tenant = seen.tenant.map(|tenant| tenant.to_string());
    span.attributes.push(known(TENANT_ID, tenant));
    span.attributes
        .push(text(OUTCOME, CallEnd::Refused.as_str()));
    fail(&mut span, seen.problem);
    into.push(span);
}

fn bare(name: &str, place: TracePlace, id: SpanId, parent: Option<SpanId>) -> Span {
    Span {
        trace_id: place.trace.as_bytes().to_vec(),
        span_id: id.as_bytes().to_vec(),
        parent_span_id: parent
            .map(|parent| parent.as_bytes().to_vec())
            .unwrap_or_default(),
        flags: FLAGS,
        name: name.to_owned(),
        kind: SpanKind::Internal.into(),
        ..Span::default()
    }
}

const fn remote(parent: Option<SpanId>) -> u32 {
    if parent.is_some() { REMOTE_PARENT } else { 0 }
}

fn fail(span: &mut Span, problem: &'static str) {
    span.attributes.push(text(ERROR_TYPE, problem));
    span.status = Some(Status {
        message: problem.to_owned(),
        code: StatusCode::Error.into(),
    });
}

/// The id of another span of a call: made of that of the tool's work, which is random.
fn derived(span: SpanId, which: u8) -> SpanId {
    let mut bytes = *span.as_bytes();
    if let Some(first) = bytes.first_mut() {
        *first = first.wrapping_add(which);
    }
    SpanId::from_bytes(bytes)
}

fn nanos(begun: OffsetDateTime, after: Duration) -> u64 {
    let begun = u128::try_from(begun.unix_timestamp_nanos()).unwrap_or(0);
    u64::try_from(begun.saturating_add(after.as_nanos())).unwrap_or(u64::MAX)
}

fn attributes(kept: &Kept) -> Vec<KeyValue> {
    let scopes = (!kept.scopes.is_empty()).then(|| kept.scopes.clone());
    let key = kept
        .key_hash
        .map(|hash| format!("{:016x}", u64::from_be_bytes(hash)));
    vec![
        text(ACTOR_ID, &kept.principal.to_string()),
        text(ACTOR_TYPE, kept.kind.as_str()),
        known(TOOL_NAME, kept.tool.as_deref().map(str::to_owned)),
        known(SCOPE_GRANTS, scopes),
        text(POLICY_DECISION, kept.decision.as_str()),
        counted(PII_COUNT, kept.pii_count.map(u64::from)),
        known(IDEM_KEY, key),
        text(TENANT_ID, &kept.tenant.to_string()),
        counted(BUDGET_USED, kept.budget.settled.map(|cost| cost.0)),
        number(BUDGET_LEFT, kept.budget.daily.0),
        known(ROUTE_POOL, kept.pool.map(|pool| pool.as_str().to_owned())),
        known(RECORD_ID, kept.record.map(|record| record.to_string())),
    ]
}

/// An attribute of text.
pub(super) fn text(key: &str, value: &str) -> KeyValue {
    of(key, Value::StringValue(value.to_owned()))
}

fn known(key: &str, value: Option<String>) -> KeyValue {
    of(
        key,
        Value::StringValue(value.unwrap_or_else(|| NONE.to_owned())),
    )
}

fn number(key: &str, value: u64) -> KeyValue {
    of(
        key,
        Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)),
    )
}

fn counted(key: &str, value: Option<u64>) -> KeyValue {
    value.map_or_else(|| text(key, NONE), |value| number(key, value))
}

fn of(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
