//! A call to look at, in tests.

use std::collections::BTreeSet;
use std::time::Duration;

use portcullis_domain::id::Id;
use portcullis_domain::observation::{
    ActorSeen, Budget, CallEnd, CallSeen, PolicyDecision, Stage, TracePlace, TurnedAway,
};
use portcullis_domain::{MicroUsd, PrincipalType, Scope, SpanId, TraceId};
use time::OffsetDateTime;
use uuid::Uuid;

/// The scopes of every call here.
pub(crate) fn scopes() -> BTreeSet<Scope> {
    BTreeSet::from(["orders.read".parse().unwrap()])
}

/// A place in the trace of this number.
pub(crate) fn place(number: u128) -> TracePlace {
    TracePlace::new(TraceId::from_bytes(number.to_be_bytes()))
}

/// An answered read.
pub(crate) fn answered(scopes: &BTreeSet<Scope>, trace: u128) -> CallSeen<'_> {
    let part = |after, took| {
        Some(Stage {
            after: Duration::from_micros(after),
            took: Duration::from_micros(took),
        })
    };
    CallSeen {
        actor: ActorSeen {
            tenant: Id::from_row(Uuid::from_u128(1)),
            principal: Id::from_row(Uuid::from_u128(2)),
            kind: PrincipalType::Agent,
            scopes,
        },
        place: place(trace),
        span: SpanId::from_bytes([7; 8]),
        arrived_at: OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_000),
        took: Duration::from_micros(1_500),
        plan: None,
        tool: Some("orders.get"),
        decision: PolicyDecision::Allow,
        end: CallEnd::Answered,
        problem: None,
        pii_count: Some(3),
        key_hash: None,
        pool: None,
        budget: Budget {
            settled: Some(MicroUsd(0)),
            daily: MicroUsd(50_000_000),
        },
        record: Some(Id::from_row(Uuid::from_u128(3))),
        policy: part(100, 50),
        service: part(200, 700),
        redaction: part(950, 40),
        recording: part(1_000, 450),
    }
}

/// The same, refused by policy.
pub(crate) fn refused(scopes: &BTreeSet<Scope>, trace: u128) -> CallSeen<'_> {
    CallSeen {
        decision: PolicyDecision::Deny,
        end: CallEnd::Refused,
        problem: Some("policy-denied"),
        service: None,
        ..answered(scopes, trace)
    }
}

/// A request without a token.
pub(crate) fn turned_away(trace: u128) -> TurnedAway {
    TurnedAway {
        tenant: None,
        place: place(trace),
        arrived_at: OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_000),
        took: Duration::from_micros(80),
        problem: "token-missing",
    }
}
