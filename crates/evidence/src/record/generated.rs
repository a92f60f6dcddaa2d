//! Generators of records of every shape, for the property tests.

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_domain::caller::AuthStrength;
use portcullis_domain::{PrincipalName, SpanId};
use proptest::prelude::*;
use serde_json::Value;
use time::OffsetDateTime;

use super::*;
use crate::canonical::of_value;
use crate::canonical::tests::any_text;
use crate::commitment::{Commitment, Field, Salts};
use crate::digest::Digest;
use crate::scalar::{Count, Label, MemberName};

fn any_id<K: portcullis_domain::id::Kind>() -> impl Strategy<Value = Id<K>> {
    any::<[u8; 10]>().prop_map(|random| Id::mint(OffsetDateTime::UNIX_EPOCH, random))
}

fn any_count() -> impl Strategy<Value = Count> {
    prop_oneof![
        any::<u32>().prop_map(Count::from),
        any::<u64>().prop_map(Count::saturating)
    ]
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    (0_i64..4_000_000_000, 0_i64..1_000_000).prop_map(|(seconds, micros)| {
        (OffsetDateTime::UNIX_EPOCH
            + time::Duration::new(seconds, 0)
            + time::Duration::microseconds(micros))
        .into()
    })
}

fn any_arc() -> impl Strategy<Value = Arc<str>> {
    any_text().prop_map(Into::into)
}

fn any_label() -> impl Strategy<Value = Label> {
    "[a-z0-9._-]{1,64}".prop_map(|word| word.parse().unwrap())
}

fn any_commitment() -> impl Strategy<Value = Commitment> {
    any::<[u8; 32]>().prop_map(|salt| {
        Salts::from_bytes(salt).commit(Field::Result, &of_value(&Value::Null).unwrap())
    })
}

fn any_payload() -> impl Strategy<Value = Payload> {
    (any_count(), any_commitment()).prop_map(|(bytes, commitment)| Payload { bytes, commitment })
}

fn any_digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn any_pool() -> impl Strategy<Value = Pool> {
    prop::sample::select(Pool::ALL.to_vec())
}

fn any_actor_name() -> impl Strategy<Value = ActorName> {
    "(agent|service|user):[a-zA-Z0-9][a-zA-Z0-9._@-]{0,20}".prop_map(|name| {
        let name: PrincipalName = name.parse().unwrap();
        ActorName::of(&name, &Salts::from_bytes([7; 32])).unwrap()
    })
}

fn any_actor() -> BoxedStrategy<Actor> {
    let scope = "[a-z]{1,8}\\.[a-z]{1,8}(:[a-z]{1,8})?".prop_map(|text| text.parse().unwrap());
    (
        prop::sample::select(vec![AuthStrength::Bearer, AuthStrength::OneTime]),
        any_actor_name(),
        any_id(),
        prop::option::of(any_arc()),
        prop::collection::btree_set(scope, 0..4),
    )
        .prop_map(
            |(auth, name, principal, purpose, scopes): (_, _, _, _, BTreeSet<_>)| Actor {
                auth,
                name,
                principal,
                purpose,
                scopes,
            },
        )
        .boxed()
}

fn any_tool() -> impl Strategy<Value = Tool> {
    prop_oneof![
        (any_arc(), any_digest(), any_count()).prop_map(|(name, sha256, version)| Tool::Known {
            name,
            sha256,
            version
        }),
        any_commitment().prop_map(|commitment| Tool::Unknown { commitment }),
    ]
}

fn any_call() -> BoxedStrategy<Call> {
    let plan = (any::<u32>(), any::<u32>(), any_arc()).prop_map(|(attempt, depth, id)| Plan {
        attempt,
        depth,
        id,
    });
    let span_id = || any::<[u8; 8]>().prop_map(SpanId::from_bytes);
    let span =
        (span_id(), prop::option::of(span_id())).prop_map(|(id, parent)| Span { id, parent });
    (
        any_actor(),
        prop::option::of(any_payload()),
        any_count(),
        prop::option::of(any_commitment()),
        prop::option::of(plan),
        prop::option::of(span),
        any_time(),
        any_tool(),
        any::<[u8; 16]>().prop_map(TraceId::from_bytes),
    )
        .prop_map(
            |(actor, arguments, epoch, idempotency_key, plan, span, started_at, tool, trace_id)| {
                Call {
                    actor,
                    arguments,
                    epoch,
                    idempotency_key,
                    plan,
                    span,
                    started_at,
                    tool,
                    trace_id,
                }
            },
        )
        .boxed()
}

fn any_permit() -> BoxedStrategy<Permit> {
    let policy = (any_id(), any_count(), any_digest())
        .prop_map(|(id, number, sha256)| PolicyVersion { id, number, sha256 });
    (
        policy,
        prop::option::of(any_arc()),
        prop::collection::vec(any_arc(), 0..4),
        any_pool(),
        prop::option::of(any_arc()),
    )
        .prop_map(|(policy, reason, rules, pool, rule)| Permit {
            basis: Basis {
                policy,
                reason,
                rules,
            },
            route: Route { pool, rule },
        })
        .boxed()
}

fn any_answer() -> BoxedStrategy<Answer> {
    let mode = prop::sample::select(vec![Mode::Drop, Mode::Hash, Mode::Mask, Mode::Tokenize]);
    let field = any_text().prop_map(|name| MemberName::from(name.as_str()));
    (
        prop::collection::btree_map(any_label(), any_count(), 0..4),
        prop::collection::btree_map(field, mode, 0..6),
        any_count(),
        any_payload(),
    )
        .prop_map(|(by_kind, fields, pii_count, result)| Answer {
            redaction: Redaction {
                by_kind,
                fields,
                pii_count,
            },
            result,
        })
        .boxed()
}

fn any_effect() -> BoxedStrategy<Effect> {
    prop_oneof![
        any_answer().prop_map(Effect::Ok),
        (prop::option::of(any_answer()), any_label())
            .prop_map(|(answer, problem)| Effect::Failed { answer, problem }),
        any_label().prop_map(|problem| Effect::Cancelled { problem }),
        Just(Effect::Abandoned),
        Just(Effect::Unknown),
    ]
    .boxed()
}

fn any_ending() -> BoxedStrategy<Ending> {
    let hold = prop::sample::select(vec![Hold::Deny, Hold::RequireApproval]);
    prop_oneof![
        any_label().prop_map(|problem| Ending::Rejected { problem }),
        (any_permit(), hold, any_label()).prop_map(|(permit, hold, problem)| Ending::Denied {
            basis: permit.basis,
            hold,
            problem
        }),
        (prop::option::of(any_id()), any_permit(), any_label()).prop_map(
            |(intent, permit, problem)| Ending::Withheld {
                intent,
                permit,
                problem
            }
        ),
        (any_answer(), any_id(), any_permit()).prop_map(|(answer, original, permit)| {
            Ending::Replayed {
                answer,
                original,
                permit,
            }
        }),
        (
            any_count(),
            any_count(),
            any_effect(),
            prop::option::of(any_id()),
            any_permit()
        )
            .prop_map(
                |(reserved, settled, effect, intent, permit)| Ending::Executed {
                    cost: Cost { reserved, settled },
                    effect,
                    intent,
                    permit
                }
            ),
    ]
    .boxed()
}

fn any_change() -> BoxedStrategy<AdminChange> {
    let actor = prop_oneof![
        Just(AdminActor::Platform),
        any_id().prop_map(AdminActor::ServiceToken),
        (any_actor_name(), any_id())
            .prop_map(|(name, principal)| AdminActor::Principal { name, principal }),
    ];
    let trace = any::<[u8; 16]>().prop_map(TraceId::from_bytes);
    (
        any_label(),
        actor,
        any_payload(),
        prop::option::of(any_count()),
        any_time(),
        prop::option::of(any_id()),
        prop::option::of(any_digest()),
        (any_arc(), any_label()).prop_map(|(id, noun)| Target { id, noun }),
        prop::option::of(trace),
    )
        .prop_map(
            |(action, actor, change, epoch, occurred_at, outbox, sha256, target, trace_id)| {
                AdminChange {
                    action,
                    actor,
                    change,
                    epoch,
                    occurred_at,
                    outbox,
                    sha256,
                    target,
                    trace_id,
                }
            },
        )
        .boxed()
}

fn any_body() -> BoxedStrategy<Body> {
    let room = prop::sample::select(vec![Room::Admit, Room::Authenticate]);
    prop_oneof![
        2 => (any_call(), any_permit(), any_count()).prop_map(|(call, permit, reserved)| {
            Body::CallIntent(Box::new(CallIntent {
                call,
                permit,
                reserved,
            }))
        }),
        4 => (any_call(), any_count(), any_time(), any_ending()).prop_map(
            |(call, duration_us, ended_at, ending)| {
                Body::CallOutcome(Box::new(CallOutcome {
                    call,
                    duration_us,
                    ended_at,
                    ending,
                }))
            }
        ),
        1 => (any_count(), any_time(), any_label(), room).prop_map(|(count, minute, reason, room)| {
            Body::RefusalCount(RefusalCount {
                count,
                minute,
                reason,
                room,
            })
        }),
        1 => any_change().prop_map(|change| Body::AdminChange(Box::new(change))),
    ]
    .boxed()
}

pub(crate) fn any_record() -> BoxedStrategy<Record> {
    (
        any_time(),
        any_body(),
        any_id(),
        any_pool(),
        any_id(),
        any_id(),
    )
        .prop_map(|(at, body, id, pool, replica, tenant)| Record {
            at,
            body,
            id,
            pool,
            replica,
            tenant,
        })
        .boxed()
}
