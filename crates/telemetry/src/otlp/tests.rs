//! Spans of calls, metrics as data points, and what finds no room.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use opentelemetry_proto::tonic::trace::v1::Span;
use portcullis_domain::attribute::{self, ON_EVERY_SPAN};
use portcullis_domain::observation::PlanStep;
use portcullis_domain::{Clock, SpanId};
use secrecy::SecretString;
use time::OffsetDateTime;

use super::*;
use crate::metrics::Metrics;
use crate::sampling::Sampling;
use crate::testing::{answered, place, refused, scopes, turned_away};

fn all() -> Sampling {
    Sampling {
        ratio: 1.0,
        asked_per_second: 0,
        key: [0; 32],
    }
}

fn spans_of(seen: &CallSeen<'_>) -> Vec<Span> {
    let mut found = Vec::new();
    spans::of_call(&Kept::of(seen), &mut found);
    assert_eq!(u64::try_from(found.len()).unwrap(), spans::count(seen));
    found
}

fn attributes(span: &Span) -> BTreeMap<&str, String> {
    let pairs = span.attributes.iter().map(|pair| {
        let value = pair.value.as_ref().and_then(|any| any.value.as_ref());
        let text = match value {
            Some(Value::StringValue(text)) => text.clone(),
            Some(Value::IntValue(number)) => number.to_string(),
            other => panic!("{}: {other:?}", pair.key),
        };
        (pair.key.as_str(), text)
    });
    pairs.collect()
}

fn of_a_plan(scopes: &BTreeSet<portcullis_domain::Scope>) -> CallSeen<'_> {
    let mut seen = answered(scopes, 0xabc);
    seen.plan = Some(PlanStep {
        depth: 2,
        attempt: 1,
    });
    seen.place.parent = Some(SpanId::from_bytes([9; 8]));
    seen
}

#[test]
fn a_call_of_a_plan_has_five_spans_in_their_order() {
    let scopes = scopes();
    let found = spans_of(&of_a_plan(&scopes));
    let names: Vec<_> = found.iter().map(|span| span.name.as_str()).collect();
    let expected = [
        "agent.plan",
        "mcp.tool.invoke",
        "policy.evaluate",
        "service.api.call",
        "dlp.redact",
    ];
    assert_eq!(names, expected);
    let [plan, invoke, parts @ ..] = found.as_slice() else {
        panic!("{names:?}");
    };
    assert_eq!(plan.parent_span_id, [9; 8]);
    assert_eq!(plan.flags & 0x200, 0x200, "the caller is elsewhere");
    assert_eq!(invoke.parent_span_id, plan.span_id);
    assert_eq!(invoke.flags & 0x200, 0);
    for part in parts {
        assert_eq!(part.parent_span_id, invoke.span_id, "{}", part.name);
        assert!(part.start_time_unix_nano >= invoke.start_time_unix_nano);
        assert!(part.end_time_unix_nano <= invoke.end_time_unix_nano);
    }
}

#[test]
fn each_span_has_an_id_of_its_own_and_bears_every_attribute() {
    let scopes = scopes();
    let found = spans_of(&of_a_plan(&scopes));
    let ids: BTreeSet<_> = found.iter().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), found.len());
    assert_eq!(
        found[3].span_id, [7; 8],
        "the one that an upstream was told"
    );
    for span in &found {
        assert_eq!(span.trace_id, 0xabc_u128.to_be_bytes());
        let attributes = attributes(span);
        for key in ON_EVERY_SPAN {
            assert!(attributes.contains_key(key), "{}: {key}", span.name);
        }
        for (key, value) in [
            (attribute::TOOL_NAME, "orders.get"),
            (attribute::SCOPE_GRANTS, "orders.read"),
            (attribute::PII_COUNT, "3"),
            (attribute::BUDGET_USED, "0"),
            (attribute::BUDGET_LEFT, "50000000"),
            (attribute::IDEM_KEY, "none"),
        ] {
            assert_eq!(attributes[key], value, "{}: {key}", span.name);
        }
    }
}

#[test]
fn a_refused_call_says_so_and_shows_no_work() {
    let scopes = scopes();
    let mut seen = refused(&scopes, 1);
    seen.tool = None;
    seen.budget.settled = None;
    let found = spans_of(&seen);
    assert!(found.iter().all(|span| span.name != "service.api.call"));
    let attributes = attributes(&found[0]);
    assert_eq!(attributes[attribute::ERROR_TYPE], "policy-denied");
    assert_eq!(attributes[attribute::TOOL_NAME], "none");
    assert_eq!(attributes[attribute::BUDGET_USED], "none");
    assert_eq!(found[0].status.as_ref().unwrap().message, "policy-denied");
}

#[test]
fn a_request_turned_away_is_one_span_of_what_is_not_known() {
    let mut found = Vec::new();
    spans::of_door(&turned_away(5), 77, &mut found);
    let [span] = found.as_slice() else {
        panic!("{found:?}");
    };
    let attributes = attributes(span);
    for key in ON_EVERY_SPAN {
        assert_eq!(attributes[key], "none", "{key}");
    }
    assert_eq!(attributes[attribute::ERROR_TYPE], "token-missing");
}

#[test]
fn what_finds_no_room_is_dropped_and_counted_and_is_no_exemplar() {
    let metrics = Metrics::new("0.0.0", ());
    let (spans, _queues) = Spans::new(Sampler::new(&all()), metrics.exports());
    let scopes = scopes();
    let seen = answered(&scopes, 1);
    let kept = (0..CALLS + 10).filter(|_| spans.call(&seen)).count();
    assert_eq!(kept, CALLS);
    for _ in 0..DOOR + 3 {
        spans.turned_away(&turned_away(2));
    }
    let dropped = 10 * spans::count(&seen) + 3;
    let line = format!("portcullis_spans_dropped_total{{reason=\"queue_full\"}} {dropped}");
    let text = metrics.text().unwrap();
    assert!(text.contains(&line), "{text}");
}

#[test]
fn a_flood_at_the_door_pushes_no_call_out() {
    let metrics = Metrics::new("0.0.0", ());
    let (spans, mut queues) = Spans::new(Sampler::new(&all()), metrics.exports());
    for _ in 0..100_000 {
        spans.turned_away(&turned_away(2));
    }
    let scopes = scopes();
    assert!(spans.call(&answered(&scopes, 1)));
    assert!(queues.calls.try_recv().is_ok());
    assert_eq!(queues.door.len(), DOOR);
}

#[test]
fn the_collector_gets_what_the_text_shows() {
    let metrics = Metrics::new("1.2.3", ());
    let scopes = scopes();
    metrics.call(&answered(&scopes, 0xabc), true);
    metrics.call(&refused(&scopes, 0xdef), false);
    let text = metrics.text().unwrap();
    let at = OffsetDateTime::from_unix_timestamp(1_000).unwrap();
    let found = points::of_text(&text, at, at + std::time::Duration::from_mins(1)).unwrap();
    let of = |name: &str| found.iter().find(|metric| metric.name == name).unwrap();
    let Some(Data::Sum(calls)) = &of("portcullis_tool_calls").data else {
        panic!("{found:#?}");
    };
    assert!(calls.is_monotonic);
    assert_eq!(calls.data_points.len(), 2);
    let one = Some(number_data_point::Value::AsInt(1));
    assert!(calls.data_points.iter().all(|point| point.value == one));
    let Some(Data::Histogram(durations)) = &of("portcullis_tool_call_duration_seconds").data else {
        panic!("{found:#?}");
    };
    let point = durations
        .data_points
        .iter()
        .find(|point| point.count == 2)
        .unwrap();
    assert_eq!(point.bucket_counts.iter().sum::<u64>(), 2);
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    assert_eq!(point.exemplars.len(), 1);
    assert_eq!(point.exemplars[0].trace_id, 0xabc_u128.to_be_bytes());
    let Some(Data::Gauge(build)) = &of("portcullis_build").data else {
        panic!("{found:#?}");
    };
    assert_eq!(build.data_points[0].attributes[0].key, "version");
}

#[test]
fn a_text_of_another_form_is_not_guessed_at() {
    let at = OffsetDateTime::UNIX_EPOCH;
    let type_line = "# HELP a b\n# TYPE a counter\n";
    for text in [
        String::new(),
        format!("{type_line}a_total 1\n"),
        format!("{type_line}b_total 1\n# EOF\n"),
        format!("{type_line}a_total{{x=\"1}} 1\n# EOF\n"),
        format!("{type_line}a_total x\n# EOF\n"),
        "a_total 1\n# EOF\n".to_owned(),
        "# HELP a b\n# TYPE a summary\n# EOF\n".to_owned(),
    ] {
        assert!(points::of_text(&text, at, at).is_none(), "{text}");
    }
    let text = format!("{type_line}a_total{{x=\"q\\\"u\\\\o\\n}}\",y=\"\"}} 1.5\n# EOF\n");
    let found = points::of_text(&text, at, at).unwrap();
    let Some(Data::Sum(sum)) = &found[0].data else {
        panic!("{found:#?}");
    };
    let Some(Value::StringValue(value)) = &sum.data_points[0].attributes[0]
        .value
        .as_ref()
        .unwrap()
        .value
    else {
        panic!("{found:#?}");
    };
    assert_eq!(value, "q\"u\\o\n}");
}

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH
    }
}

fn collector(endpoint: &str, protocol: Protocol) -> Collector {
    Collector {
        endpoint: endpoint.parse().unwrap(),
        protocol,
        headers: None,
        authorities: None,
        metrics_every: std::time::Duration::from_mins(1),
    }
}

fn made(collector: &Collector) -> Result<(Exporter, Spans), CollectorError> {
    let metrics = Arc::new(Metrics::new("0.0.0", ()));
    let service = Service {
        version: "0.0.0",
        replica: portcullis_domain::Id::from_row(uuid::Uuid::from_u128(4)),
    };
    Exporter::new(collector, service, &all(), metrics, Arc::new(Still))
}

#[test]
fn what_an_operator_gets_wrong_is_said_before_the_start_and_no_header_is_shown() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let mut bad = collector("https://collector.example:4317", protocol);
        bad.authorities = Some(b"no certificate".to_vec());
        assert!(matches!(made(&bad), Err(CollectorError::Authorities)));
        let mut bad = collector("http://127.0.0.1:4317", protocol);
        bad.headers = Some(SecretString::from(
            "# a token\n\nauthorization: Bearer hunter2\nhunter2\n",
        ));
        let error = made(&bad).unwrap_err();
        assert!(
            matches!(error, CollectorError::Header { line: 4 }),
            "{error}"
        );
        assert!(!format!("{error} {error:?} {bad:?}").contains("hunter2"));
        let mut good = collector("http://127.0.0.1:4317", protocol);
        good.headers = Some(SecretString::from("authorization: Bearer hunter2"));
        let (exporter, _spans) = made(&good).unwrap();
        assert!(!format!("{exporter:?}").contains("hunter2"));
    }
}

#[test]
fn a_call_that_is_not_kept_leaves_no_span() {
    let metrics = Metrics::new("0.0.0", ());
    let none = Sampling {
        ratio: 0.0,
        ..all()
    };
    let (spans, mut queues) = Spans::new(Sampler::new(&none), metrics.exports());
    let scopes = scopes();
    assert!(!spans.call(&answered(&scopes, 1)));
    assert!(spans.call(&refused(&scopes, 1)));
    assert_eq!(queues.calls.try_recv().unwrap().place, place(1));
    assert!(queues.calls.try_recv().is_err());
}
