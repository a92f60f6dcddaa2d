//! Tests of the record: a golden one of each kind, generated ones against the reference
//! implementation, and everything that must not be read as a record.

use portcullis_domain::SpanId;
use portcullis_domain::caller::AuthStrength;
use proptest::prelude::*;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

use super::generated::any_record;
use super::*;
use crate::canonical::{canonical_bytes, of_value};
use crate::commitment::{Field, Salts};
use crate::digest::Digest;
use crate::scalar::{Count, Label, MemberName};

const NOW: OffsetDateTime = datetime!(2025-08-25 12:34:56.123456 UTC);
const SALTS: Salts = Salts::from_bytes([7; 32]);

fn id<K>(byte: u8) -> Id<K> {
    Id::mint(NOW, [byte; 10])
}

fn payload(field: Field, value: &Value) -> Payload {
    Payload::of(&SALTS, field, &of_value(value).unwrap())
}

pub(crate) fn call() -> Call {
    Call {
        actor: Actor {
            auth: AuthStrength::Bearer,
            name: ActorName::of(&"agent:copilot".parse().unwrap(), &SALTS).unwrap(),
            principal: id(1),
            purpose: Some("support".into()),
            scopes: ["orders.read".parse().unwrap()].into(),
        },
        arguments: Some(payload(Field::Arguments, &json!({"to": "2025-08-31"}))),
        epoch: Count::from(12),
        idempotency_key: Some(
            SALTS.commit(Field::IdempotencyKey, &of_value(&json!("key")).unwrap()),
        ),
        plan: Some(Plan {
            attempt: 0,
            depth: 2,
            id: "plan-1".into(),
        }),
        span: Some(Span {
            id: SpanId::from_bytes([1; 8]),
            parent: Some(SpanId::from_bytes([2; 8])),
        }),
        started_at: NOW.into(),
        tool: Tool::Known {
            name: "orders.export".into(),
            sha256: Digest::of(b"definition"),
            version: Count::from(1),
        },
        trace_id: TraceId::from_bytes([3; 16]),
    }
}

fn permit() -> Permit {
    Permit {
        basis: Basis {
            policy: PolicyVersion {
                id: id(4),
                number: Count::from(3),
                sha256: Digest::of(b"policy"),
            },
            reason: Some("low-risk read".into()),
            rules: vec!["allow-reads".into(), "redact-email-by-default".into()],
        },
        route: Route {
            pool: Pool::EuWest,
            rule: Some("route-eu-personal-data".into()),
        },
    }
}

fn answer() -> Answer {
    Answer {
        redaction: Redaction {
            by_kind: [(Label::from("email"), Count::from(7))].into(),
            fields: [(MemberName::from("email"), Mode::Mask)].into(),
            pii_count: Count::from(7),
        },
        result: payload(Field::Result, &json!({"count": 7})),
    }
}

fn record(body: Body) -> Record {
    Record {
        at: NOW.into(),
        body,
        id: id(5),
        pool: Pool::EuWest,
        replica: id(6),
        tenant: id(7),
    }
}

fn ended(ending: Ending) -> Record {
    record(Body::CallOutcome(Box::new(CallOutcome {
        call: call(),
        duration_us: Count::from(4_321),
        ended_at: NOW.into(),
        ending,
    })))
}

pub(crate) fn outcome() -> Record {
    ended(Ending::Executed {
        cost: Cost {
            reserved: Count::from(200),
            settled: Count::from(100),
        },
        effect: Effect::Ok(answer()),
        intent: Some(id(8)),
        permit: permit(),
    })
}

fn change() -> AdminChange {
    AdminChange {
        action: "policy.published".into(),
        actor: AdminActor::Principal {
            name: ActorName::of(&"user:dana".parse().unwrap(), &SALTS).unwrap(),
            principal: id(1),
        },
        change: payload(Field::Change, &json!({"number": 3})),
        epoch: Some(Count::from(13)),
        occurred_at: NOW.into(),
        outbox: Some(id(9)),
        sha256: Some(Digest::of(b"policy")),
        target: Target {
            id: "pol_1".into(),
            noun: "policy-version".into(),
        },
        trace_id: None,
    }
}

fn text(record: &Record) -> String {
    String::from_utf8(record.canonical().unwrap().into_bytes()).unwrap()
}

fn json_of(record: &Record) -> Value {
    serde_json::from_str(&text(record)).unwrap()
}

/// Whether changed JSON, written canonically, is still read as a record.
fn reads(value: &Value) -> Result<Record, RecordError> {
    Record::parse(canonical_bytes(value).unwrap().as_bytes())
}

/// An outcome with one change in its body.
fn body_changed(record: &Record, change: impl FnOnce(&mut Value)) -> Result<Record, RecordError> {
    let mut value = json_of(record);
    change(value.pointer_mut("/body").unwrap());
    reads(&value)
}

#[test]
fn an_outcome_is_written_as_documented() {
    assert_eq!(
        text(&outcome()),
        include_str!("golden/outcome.json").trim_end()
    );
}

#[test]
fn an_intent_is_written_as_documented() {
    let intent = record(Body::CallIntent(Box::new(CallIntent {
        call: call(),
        permit: permit(),
        reserved: Count::from(200),
    })));
    assert_eq!(text(&intent), include_str!("golden/intent.json").trim_end());
}

#[test]
fn an_administrative_change_is_written_as_documented() {
    let record = record(Body::AdminChange(Box::new(change())));
    assert_eq!(text(&record), include_str!("golden/change.json").trim_end());
}

#[test]
fn a_refusal_count_is_written_as_documented() {
    let record = record(Body::RefusalCount(RefusalCount {
        count: Count::from(950),
        minute: datetime!(2025-08-25 12:34:00 UTC).into(),
        reason: "rate-limited".into(),
        room: Room::Admit,
    }));
    assert_eq!(
        text(&record),
        include_str!("golden/refusals.json").trim_end()
    );
    assert_eq!(record.trace_id(), None);
}

#[test]
fn the_leaf_hash_of_the_golden_outcome_never_changes() {
    // Computed with Python's hashlib from the golden file.
    let canonical = outcome().canonical().unwrap();
    assert_eq!(
        Digest::of_leaf(canonical.as_bytes()).to_string(),
        "8fa18d20cb369ffdda40faba531e34b76a683fe96f59e94298741f93855ef1a7"
    );
}

#[test]
fn a_persons_name_is_nowhere_in_the_record() {
    let mut call = call();
    call.actor.name = ActorName::of(&"user:dana".parse().unwrap(), &SALTS).unwrap();
    let record = record(Body::CallIntent(Box::new(CallIntent {
        call,
        permit: permit(),
        reserved: Count::default(),
    })));
    assert!(!text(&record).contains("dana"), "{}", text(&record));
    assert!(text(&record).contains(r#""type":"user""#));
}

#[test]
fn a_persons_name_in_plain_is_refused() {
    let plain = body_changed(&outcome(), |body| {
        body["call"]["actor"]["name"] = json!("user:dana");
        body["call"]["actor"]["type"] = json!("user");
    });
    assert!(matches!(plain, Err(RecordError::Form(_))), "{plain:?}");
}

#[test]
fn an_actor_of_another_type_than_its_name_is_refused() {
    for kind in ["user", "service", "robot"] {
        let changed = body_changed(&outcome(), |body| {
            body["call"]["actor"]["type"] = json!(kind);
        });
        assert!(changed.is_err(), "{kind}");
    }
}

#[test]
fn unknown_members_are_refused_at_every_depth() {
    let golden = json_of(&outcome());
    let mut pointers = vec![String::new()];
    let mut next = 0;
    while let Some(pointer) = pointers.get(next).cloned() {
        let members = golden.pointer(&pointer).and_then(Value::as_object);
        for name in members.into_iter().flat_map(serde_json::Map::keys) {
            let deeper = format!("{pointer}/{name}");
            if golden.pointer(&deeper).is_some_and(Value::is_object) {
                pointers.push(deeper);
            }
        }
        next += 1;
    }
    // The two maps of redaction hold names that are data.
    pointers.retain(|pointer| !pointer.ends_with("/by_kind") && !pointer.ends_with("/fields"));
    assert!(pointers.len() > 12, "{pointers:?}");
    for pointer in pointers {
        let mut value = golden.clone();
        let object = value
            .pointer_mut(&pointer)
            .unwrap()
            .as_object_mut()
            .unwrap();
        object.insert("extra".to_owned(), json!(1));
        assert!(reads(&value).is_err(), "{pointer}");
    }
}

#[test]
fn every_required_member_is_required() {
    let golden = json_of(&outcome());
    let optional = [
        "arguments",
        "idempotency_key",
        "plan",
        "span",
        "purpose",
        "reason",
        "rule",
    ];
    for pointer in [
        "",
        "/body",
        "/body/call",
        "/body/call/actor",
        "/body/outcome",
    ] {
        let names = golden.pointer(pointer).unwrap().as_object().unwrap().keys();
        for name in names.filter(|name| !optional.contains(&name.as_str())) {
            let mut value = golden.clone();
            let object = value.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
            object.remove(name);
            let read = reads(&value);
            // Without its intent an outcome is that of a reading call.
            assert_eq!(read.is_ok(), name == "intent", "{pointer}/{name}: {read:?}");
        }
    }
}

#[test]
fn members_that_contradict_each_other_are_refused() {
    let changes: [fn(&mut Value); 12] = [
        // A refusal with a result, a cost, or without its problem.
        |body| body["outcome"]["status"] = json!("refused"),
        |body| body["decision"]["verdict"] = json!("deny"),
        |body| body["decision"]["verdict"] = json!("require_approval"),
        // An execution that nobody permitted, or nowhere.
        |body| drop(body.as_object_mut().unwrap().remove("decision")),
        |body| drop(body.as_object_mut().unwrap().remove("route")),
        // A failure or cancellation without a problem, and a success with one.
        |body| body["outcome"]["status"] = json!("failed"),
        |body| body["outcome"]["status"] = json!("cancelled"),
        |body| body["outcome"]["problem"] = json!("tool-failed"),
        // A result of a call that nobody finished.
        |body| body["outcome"]["status"] = json!("unknown"),
        |body| drop(body.as_object_mut().unwrap().remove("redaction")),
        // A replay that cost something.
        |body| body["outcome"]["replay_of"] = json!("rec_0198e142bd4b70008000000000000000"),
        // A pool in another jurisdiction.
        |body| body["route"]["jurisdiction"] = json!("US"),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let read = body_changed(&outcome(), change);
        assert!(read.is_err(), "change {number}: {read:?}");
    }
}

#[test]
fn a_body_of_another_kind_is_refused() {
    for kind in [
        "call.intent",
        "refusal.count",
        "admin.change",
        "call.started",
    ] {
        let mut value = json_of(&outcome());
        value["kind"] = json!(kind);
        assert!(reads(&value).is_err(), "{kind}");
    }
}

#[test]
fn another_version_is_named_as_such() {
    let mut value = json_of(&outcome());
    value["v"] = json!(2);
    assert!(matches!(reads(&value), Err(RecordError::Version(2))));
    value["members_of_the_future"] = json!({});
    assert!(matches!(reads(&value), Err(RecordError::Version(2))));
}

#[test]
fn the_same_record_in_other_bytes_is_refused() {
    let text = text(&outcome());
    let pretty = serde_json::to_string_pretty(&json_of(&outcome())).unwrap();
    let doubled = text.replacen(r#""bytes":"#, r#""bytes":1,"bytes":"#, 1);
    let doubled_outside = text.replacen(r#","v":1"#, r#","v":1,"v":1"#, 1);
    for other in [
        pretty,
        format!(" {text}"),
        format!("{text}\n"),
        doubled,
        doubled_outside,
        text.replacen("orders.export", r"orders\u002eexport", 1),
        text.replacen(r#""v":1"#, r#""v":1.0"#, 1),
        text.replacen(r#""v":1"#, r#""v":1e0"#, 1),
        text.replacen(r#"{"at""#, r#"{"pool":"eu-west","at""#, 1),
        text.replacen(r#","v":1"#, r#","trace":null,"v":1"#, 1),
    ] {
        assert_ne!(other, text);
        assert!(Record::parse(other.as_bytes()).is_err(), "{other}");
    }
    let spaced = text.replacen(r#","v""#, r#", "v""#, 1);
    assert!(matches!(
        Record::parse(spaced.as_bytes()),
        Err(RecordError::NotCanonical)
    ));
}

#[test]
fn an_optional_member_written_as_null_is_refused() {
    let read = body_changed(&outcome(), |body| body["call"]["plan"] = Value::Null);
    assert!(matches!(read, Err(RecordError::NotCanonical)), "{read:?}");
}

#[test]
fn a_label_outside_its_rule_cannot_be_recorded() {
    let record = ended(Ending::Rejected {
        problem: "Dana <dana@example.com> is not allowed".into(),
    });
    assert!(record.canonical().is_err());
}

#[test]
fn every_ending_has_its_status_and_verdict() {
    let problem = || Label::from("budget-exhausted");
    let executed = |effect| Ending::Executed {
        cost: Cost {
            reserved: Count::from(1),
            settled: Count::from(1),
        },
        effect,
        intent: None,
        permit: permit(),
    };
    let denied = |hold| Ending::Denied {
        basis: permit().basis,
        hold,
        problem: problem(),
    };
    let withheld = Ending::Withheld {
        intent: None,
        permit: permit(),
        problem: problem(),
    };
    let replayed = Ending::Replayed {
        answer: answer(),
        original: id(9),
        permit: permit(),
    };
    let failed = |answer| Effect::Failed {
        answer,
        problem: problem(),
    };
    let cancelled = Effect::Cancelled { problem: problem() };
    for (ending, status, verdict) in [
        (Ending::Rejected { problem: problem() }, "refused", None),
        (denied(Hold::Deny), "refused", Some("deny")),
        (
            denied(Hold::RequireApproval),
            "refused",
            Some("require_approval"),
        ),
        (withheld, "refused", Some("allow")),
        (replayed, "ok", Some("allow")),
        (executed(Effect::Ok(answer())), "ok", Some("allow")),
        (executed(failed(None)), "failed", Some("allow")),
        (executed(failed(Some(answer()))), "failed", Some("allow")),
        (executed(cancelled), "cancelled", Some("allow")),
        (executed(Effect::Abandoned), "abandoned", Some("allow")),
        (executed(Effect::Unknown), "unknown", Some("allow")),
    ] {
        let record = ended(ending);
        assert_eq!(reads(&json_of(&record)).unwrap(), record);
        let Body::CallOutcome(outcome) = &record.body else {
            panic!("an outcome");
        };
        assert_eq!(outcome.status().as_str(), status);
        assert_eq!(outcome.verdict().map(Verdict::as_str), verdict);
        let json = json_of(&record);
        assert_eq!(json["body"]["outcome"]["status"], status);
        assert_eq!(json["body"]["decision"]["verdict"].as_str(), verdict);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_fast_route_writes_what_the_reference_implementation_writes(record in any_record()) {
        let fast = record.canonical().unwrap();
        let value: Value = serde_json::from_slice(fast.as_bytes()).unwrap();
        prop_assert_eq!(fast.as_bytes(), serde_json_canonicalizer::to_vec(&value).unwrap());
        prop_assert_eq!(of_value(&value).unwrap(), fast);
    }

    #[test]
    fn a_record_survives_its_bytes(record in any_record()) {
        let canonical = record.canonical().unwrap();
        prop_assert_eq!(Record::parse(canonical.as_bytes()).unwrap(), record);
    }

    #[test]
    fn no_changed_bit_leaves_the_leaf_hash_as_it_was(
        record in any_record(),
        position: prop::sample::Index,
        bit in 0_u8..8,
    ) {
        let canonical = record.canonical().unwrap();
        let leaf = Digest::of_leaf(canonical.as_bytes());
        let mut bytes = canonical.into_bytes();
        let at = position.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_ne!(Digest::of_leaf(&bytes), leaf);
        // And what can still be read is not what was written.
        if let Ok(other) = Record::parse(&bytes) {
            prop_assert_ne!(other, record);
        }
    }
}
