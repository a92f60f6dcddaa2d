//! What each kind stops, and what it leaves alone; and that nothing begins after a switch is known.

use std::sync::Arc;
use std::time::Duration as StdDuration;

use portcullis_domain::SwitchKind::{
    EgressBlock, PlatformReadOnly, PrincipalSuspension, ServerQuarantine, TenantFreeze,
    TenantReadOnly, ToolQuarantine,
};
use portcullis_domain::id::{Id, Tenant};
use portcullis_domain::{SwitchKind, TraceId};
use portcullis_store::switches::{Concern, SwitchRow};
use portcullis_wire::Slug;
use time::{Duration, OffsetDateTime};

use super::{Stop, Subject, Switchboard};

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_760_000_040).unwrap()
}

fn tenant(number: u8) -> Id<Tenant> {
    Id::mint(now(), [number; 10])
}

fn row(whose: Option<Id<Tenant>>, kind: SwitchKind, target: Option<&str>) -> SwitchRow {
    SwitchRow {
        id: Id::mint(now(), [3; 10]),
        tenant: whose,
        by_platform: whose.is_none(),
        kind,
        target: target.map(str::to_owned),
        reason: "odd exports".to_owned(),
        dropped_by: "service:watch".to_owned(),
        dropped_at: now(),
        expires_at: None,
        lift_request: None,
        lifted: None,
        epoch: 7,
        raised_at: Some(now()),
    }
}

fn subject(mutating: bool) -> Subject {
    Subject {
        tenant: tenant(1),
        principal: "agent:copilot".parse().unwrap(),
        tool: Arc::from("flag.set"),
        server: Arc::from("native"),
        mutating,
        host: None,
    }
}

fn board(rows: Vec<SwitchRow>) -> Switchboard {
    let board = Switchboard::default();
    board.replace(Concern::All, rows, now());
    board
}

fn stopped(rows: Vec<SwitchRow>, subject: &Subject) -> Option<Slug> {
    board(rows).stops(subject, now()).map(|stop| stop.slug())
}

#[test]
fn each_kind_stops_what_it_is_for() {
    let own = Some(tenant(1));
    for (row, slug) in [
        (row(None, PlatformReadOnly, None), Slug::ReadOnly),
        (row(own, TenantReadOnly, None), Slug::ReadOnly),
        (
            row(own, ToolQuarantine, Some("flag.set")),
            Slug::ToolQuarantined,
        ),
        (
            row(own, ServerQuarantine, Some("native")),
            Slug::ServerQuarantined,
        ),
        (
            row(None, ServerQuarantine, Some("native")),
            Slug::ServerQuarantined,
        ),
        (
            row(own, PrincipalSuspension, Some("agent:copilot")),
            Slug::PrincipalSuspended,
        ),
        (row(own, TenantFreeze, None), Slug::TenantFrozen),
    ] {
        let kind = row.kind;
        assert_eq!(stopped(vec![row], &subject(true)), Some(slug), "{kind}");
    }
}

#[test]
fn no_kind_stops_anything_else() {
    let (own, other) = (Some(tenant(1)), Some(tenant(2)));
    let read = subject(false);
    for (row, subject) in [
        (row(None, PlatformReadOnly, None), &read),
        (row(own, TenantReadOnly, None), &read),
        (row(other, TenantReadOnly, None), &subject(true)),
        (row(other, TenantFreeze, None), &subject(true)),
        (row(own, ToolQuarantine, Some("flag.se")), &subject(true)),
        (row(own, ToolQuarantine, Some("native")), &subject(true)),
        (row(other, ToolQuarantine, Some("flag.set")), &subject(true)),
        (row(own, ServerQuarantine, Some("flag.set")), &subject(true)),
        (row(other, ServerQuarantine, Some("native")), &subject(true)),
        (
            row(own, PrincipalSuspension, Some("agent:other")),
            &subject(true),
        ),
        (
            row(other, PrincipalSuspension, Some("agent:copilot")),
            &subject(true),
        ),
    ] {
        let kind = row.kind;
        assert_eq!(stopped(vec![row], subject), None, "{kind}");
    }
}

#[test]
fn only_a_freeze_and_a_suspension_stop_a_caller_at_the_door() {
    let own = Some(tenant(1));
    let name = "agent:copilot".parse().unwrap();
    for kind in SwitchKind::ALL {
        let target = match kind {
            PrincipalSuspension => Some("agent:copilot"),
            ServerQuarantine => Some("native"),
            ToolQuarantine => Some("flag.set"),
            EgressBlock => Some("example.com"),
            PlatformReadOnly | TenantReadOnly | TenantFreeze => None,
        };
        let whose = if kind == PlatformReadOnly { None } else { own };
        let found = board(vec![row(whose, kind, target)]).stops_caller(tenant(1), &name, now());
        let at_the_door = matches!(kind, TenantFreeze | PrincipalSuspension);
        assert_eq!(found.is_some(), at_the_door, "{kind}");
    }
}

#[test]
fn an_expired_switch_stops_nothing_from_its_last_instant_on() {
    let end = now() + Duration::MINUTE;
    let until = SwitchRow {
        expires_at: Some(end),
        ..row(Some(tenant(1)), TenantFreeze, None)
    };
    let board = board(vec![until]);
    let before = end - Duration::NANOSECOND;
    assert!(board.stops(&subject(false), before).is_some());
    assert!(board.stops(&subject(false), end).is_none());
    assert!(board.begin(subject(false), end, || None).is_ok());
}

#[test]
fn what_is_read_of_one_concern_leaves_the_others() {
    let own = Some(tenant(1));
    let board = board(vec![
        row(None, PlatformReadOnly, None),
        row(own, ToolQuarantine, Some("flag.set")),
        row(Some(tenant(2)), TenantFreeze, None),
    ]);
    board.replace(Concern::One(tenant(1)), Vec::new(), now());
    let slug = |subject: &Subject| board.stops(subject, now()).map(|stop| stop.slug());
    assert_eq!(slug(&subject(false)), None);
    assert_eq!(slug(&subject(true)), Some(Slug::ReadOnly));
    board.replace(Concern::Everyone, Vec::new(), now());
    assert_eq!(slug(&subject(true)), None);
    let elsewhere = Subject {
        tenant: tenant(2),
        ..subject(false)
    };
    assert_eq!(slug(&elsewhere), Some(Slug::TenantFrozen));
    board.replace(Concern::All, Vec::new(), now());
    assert_eq!(slug(&elsewhere), None);
}

#[tokio::test]
async fn a_call_under_way_hears_of_its_switch_and_its_neighbours_do_not() {
    let board = Switchboard::default();
    let stopped_one = board.begin(subject(true), now(), || None).unwrap();
    let read = board.begin(subject(false), now(), || None).unwrap();
    let over = board.begin(subject(true), now(), || None).unwrap();
    drop(over);
    let rows = vec![row(Some(tenant(1)), TenantReadOnly, None)];
    assert_eq!(
        board.replace(Concern::One(tenant(1)), rows.clone(), now()),
        1
    );
    let Stop::Switch(by) = stopped_one.stopped().await else {
        panic!("stopped by something else");
    };
    assert_eq!(by.kind, TenantReadOnly);
    let nothing = tokio::time::timeout(StdDuration::ZERO, read.stopped()).await;
    assert!(nothing.is_err(), "a read was stopped");
    // Known already, it stops nothing twice.
    assert_eq!(board.replace(Concern::One(tenant(1)), rows, now()), 0);
    assert_eq!(board.under_way(), 2);
    drop((stopped_one, read));
    assert_eq!(board.under_way(), 0);
}

#[test]
fn nothing_begins_once_a_switch_is_known() {
    let board = Arc::new(Switchboard::default());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let board = Arc::clone(&board);
            std::thread::spawn(move || {
                let mut held = Vec::new();
                // Every call that began is kept, so that the switch finds it.
                while let Ok(call) = board.begin(subject(true), now(), || None) {
                    held.push(call);
                }
                held
            })
        })
        .collect();
    while board.under_way() < 100 {
        std::thread::yield_now();
    }
    let rows = vec![row(Some(tenant(1)), TenantFreeze, None)];
    let stopped = board.replace(Concern::One(tenant(1)), rows, now());
    let held: Vec<_> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    assert_eq!(held.len(), stopped, "a call slipped between");
}

#[test]
fn what_else_stops_a_call_is_asked_in_the_same_step() {
    let board = Switchboard::default();
    for stop in [Stop::ReadOnlyReplica, Stop::Late, Stop::Lost] {
        let slug = stop.slug();
        let refused = board
            .begin(subject(true), now(), || Some(stop))
            .unwrap_err();
        assert_eq!(refused.slug(), slug);
    }
    assert_eq!(board.under_way(), 0);
}

#[test]
fn a_refusal_says_what_why_since_when_and_whom_to_ask() {
    let by_tenant = SwitchRow {
        expires_at: Some(now() + Duration::HOUR),
        ..row(Some(tenant(1)), ToolQuarantine, Some("flag.set"))
    };
    let stop = Stop::Switch(Arc::new(by_tenant));
    let reason = stop.reason();
    for word in [
        "tool-quarantine",
        "flag.set",
        "2025-10-09T08:54:00Z",
        "odd exports",
    ] {
        assert!(reason.contains(word), "{reason}");
    }
    assert!(stop.remedy().contains("service:watch"), "{}", stop.remedy());
    assert!(
        stop.remedy().contains("2025-10-09T09:54:00Z"),
        "{}",
        stop.remedy()
    );
    assert_eq!(stop.facts()["kind"], "tool-quarantine");
    // Who works for the platform is nobody's business.
    let stop = Stop::Switch(Arc::new(row(None, PlatformReadOnly, None)));
    let told = format!("{} {} {:?}", stop.reason(), stop.remedy(), stop.facts());
    assert!(!told.contains("service:watch"), "{told}");
    assert!(told.contains("the platform's operator"), "{told}");
}

#[test]
fn a_stale_replica_says_so_where_answers_have_no_detail() {
    for (stop, seconds) in [(Stop::Late, "2 s"), (Stop::Lost, "10 s")] {
        let problem = portcullis_wire::Problem::new(stop.slug(), stop.reason())
            .with_remedy(stop.remedy())
            .with_trace(TraceId::from_bytes([1; 16]));
        assert_eq!((problem.status, problem.detail.as_str()), (503, ""));
        let remedy = problem.remedy.unwrap();
        assert!(remedy.contains(seconds), "{remedy}");
    }
}

fn calling(host: &str) -> Subject {
    Subject {
        host: Some(host.to_owned()),
        ..subject(false)
    }
}

#[test]
fn a_block_stops_calls_to_its_host_and_to_no_other() {
    let own = vec![row(Some(tenant(1)), EgressBlock, Some("example.com"))];
    for (host, stops) in [
        ("example.com", true),
        ("a.b.example.com", true),
        ("evilexample.com", false),
        ("example.com.evil.net", false),
    ] {
        let slug = stopped(own.clone(), &calling(host));
        assert_eq!(slug, stops.then_some(Slug::EgressBlocked), "{host}");
    }
    assert_eq!(stopped(own, &subject(true)), None);
    let all = vec![row(None, EgressBlock, Some("example.com"))];
    assert_eq!(
        stopped(all, &calling("example.com")),
        Some(Slug::EgressBlocked)
    );
    let other = vec![row(Some(tenant(2)), EgressBlock, Some("example.com"))];
    assert_eq!(stopped(other, &calling("example.com")), None);
}

#[tokio::test]
async fn a_call_under_way_hears_of_a_block_of_where_it_has_gone() {
    let board = Switchboard::default();
    let address = "93.184.216.34".parse().unwrap();
    let call = board.begin(subject(false), now(), || None).unwrap();
    let elsewhere = board.begin(subject(false), now(), || None).unwrap();
    assert!(call.reaches("a.example.com", &[address], now()));
    assert!(elsewhere.reaches("b.example.net", &[], now()));
    let rows = vec![row(Some(tenant(1)), EgressBlock, Some("93.184.216.34"))];
    assert_eq!(board.replace(Concern::One(tenant(1)), rows, now()), 1);
    assert_eq!(call.stopped().await.slug(), Slug::EgressBlocked);
    assert!(elsewhere.stop().is_none());
    // By whatever name it is reached next.
    assert!(!elsewhere.reaches("c.example.org", &[address], now()));
    assert_eq!(elsewhere.stopped().await.slug(), Slug::EgressBlocked);
}
