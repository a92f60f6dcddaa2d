//! What is counted, under which labels, and how many of them there can be.

use super::*;
use crate::testing::{answered, refused, scopes, turned_away};

static WAITING: Instrument = Instrument {
    name: "records_waiting",
    help: "Records that wait",
    counts: false,
};
static WRITTEN: Instrument = Instrument {
    name: "records_written",
    help: "Records that were written",
    counts: true,
};

#[derive(Debug)]
struct Two;

impl Readings for Two {
    fn read(&self) -> Vec<Reading> {
        let one = |instrument, pool, value| Reading {
            instrument,
            labels: vec![("pool", pool)],
            value,
        };
        vec![
            one(&WAITING, "eu-west", 3.0),
            one(&WAITING, "us-east", 0.0),
            one(&WRITTEN, "eu-west", 12.0),
        ]
    }
}

fn lines(metrics: &Metrics) -> Vec<String> {
    let text = metrics.text().unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn calls_are_counted_by_tool_decision_and_ending() {
    let metrics = Metrics::new("0.0.0", ());
    let scopes = scopes();
    metrics.call(&answered(&scopes, 1), false);
    metrics.call(&answered(&scopes, 2), false);
    metrics.call(&refused(&scopes, 3), false);
    metrics.turned_away(&turned_away(4));
    let lines = lines(&metrics);
    for expected in [
        r#"portcullis_tool_calls_total{tool="orders.get",decision="allow",outcome="answered"} 2"#,
        r#"portcullis_tool_calls_total{tool="orders.get",decision="deny",outcome="refused"} 1"#,
        r#"portcullis_refusals_total{problem="policy-denied",room="call"} 1"#,
        r#"portcullis_refusals_total{problem="token-missing",room="door"} 1"#,
        r#"portcullis_tool_call_duration_seconds_count{tool="orders.get"} 3"#,
        r#"portcullis_call_part_duration_seconds_count{part="service.api.call"} 2"#,
        "portcullis_redacted_values_total 9",
    ] {
        assert!(
            lines.iter().any(|line| line == expected),
            "{expected}: {lines:#?}"
        );
    }
}

#[test]
fn an_exemplar_names_a_trace_that_was_kept_and_no_other() {
    let metrics = Metrics::new("0.0.0", ());
    let scopes = scopes();
    metrics.call(&answered(&scopes, 0xabc), true);
    metrics.call(&answered(&scopes, 0xdef), false);
    let text = metrics.text().unwrap();
    assert!(
        text.contains(r#"# {trace_id="00000000000000000000000000000abc"} 0.0015"#),
        "{text}"
    );
    assert!(!text.contains("def\""), "{text}");
}

#[test]
fn readings_stand_under_one_description_each() {
    let lines = lines(&Metrics::new("0.0.0", Two));
    let start = lines
        .iter()
        .position(|line| line.contains("records_waiting"))
        .unwrap();
    let expected = [
        "# HELP portcullis_records_waiting Records that wait",
        "# TYPE portcullis_records_waiting gauge",
        r#"portcullis_records_waiting{pool="eu-west"} 3.0"#,
        r#"portcullis_records_waiting{pool="us-east"} 0.0"#,
        "# HELP portcullis_records_written Records that were written",
        "# TYPE portcullis_records_written counter",
        r#"portcullis_records_written_total{pool="eu-west"} 12.0"#,
    ];
    assert_eq!(lines.get(start..start + expected.len()).unwrap(), expected);
}

#[test]
fn tools_without_number_have_a_number_of_series() {
    let metrics = Metrics::new("0.0.0", ());
    let scopes = scopes();
    for number in 0..2_000 {
        let name = format!("tool.{number}");
        let mut seen = answered(&scopes, 1);
        seen.tool = Some(&name);
        seen.actor.tenant = Id::from_row(uuid::Uuid::from_u128(number));
        metrics.call(&seen, false);
    }
    let lines = lines(&metrics);
    let count = |front: &str| lines.iter().filter(|line| line.starts_with(front)).count();
    assert_eq!(count("portcullis_tool_calls_total{"), TOOLS + 1);
    assert_eq!(count("portcullis_tenant_calls_total{"), TENANTS + 1);
    let rest = format!(
        r#"portcullis_tool_calls_total{{tool="other",decision="allow",outcome="answered"}} {}"#,
        2_000 - TOOLS
    );
    assert!(lines.contains(&rest));
}
