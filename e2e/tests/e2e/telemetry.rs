//! What an operator's own tools see: metrics on the admin listener, spans and metrics at a collector, and
//! what becomes of calls when it is away.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use opentelemetry_proto::tonic::trace::v1::Span;
use portcullis_domain::attribute;
use portcullis_e2e::collector::{self, Certificate};
use portcullis_e2e::faults::stage::{self, SCOPE, TOOL};
use portcullis_e2e::mcp::RECEIPT;
use portcullis_e2e::upstream::{EFFECT, Upstream};
use portcullis_e2e::{
    Collector, Grants, Http, Management, McpClient, Options, Platform, Replica, Reply, wait,
};
use serde_json::{Value, json};

use crate::answers::{assert_denied, assert_result, fresh_trace, week};

/// The span that every traced call here names as its own.
const CALLER: &str = "00f067aa0ba902b7";
const OTLP: &str = "PORTCULLIS_TELEMETRY_OTLP_";

fn otlp(field: &str) -> String {
    format!("{OTLP}{field}")
}

/// A platform that sends to a collector by a protocol, everything or refusals alone.
fn sending(endpoint: &str, protocol: &str, ratio: &str) -> Options {
    Options::default()
        .with(&otlp("ENDPOINT"), endpoint)
        .with(&otlp("PROTOCOL"), protocol)
        .with(&otlp("SAMPLING_RATIO"), ratio)
        .with(&otlp("SAMPLED_CALLS_PER_SECOND"), "0")
        .with(&otlp("METRICS_INTERVAL_SECONDS"), "1")
}

async fn metrics(platform: &Platform) -> String {
    let url = format!("{}/metrics", platform.admin().unwrap());
    let reply = Reply::to(Http::new().unwrap().get(&url)).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.told());
    reply.text()
}

/// The value of a series; nothing if it is not there.
fn series(text: &str, name: &str) -> Option<f64> {
    let mut lines = text.lines();
    let line = lines.find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(' '))
    })?;
    line.split(' ').nth(1)?.parse().ok()
}

/// A call as a step of a plan, in a trace.
async fn traced(client: &McpClient, tool: &str, arguments: Value, trace: &str) -> Reply {
    let meta = json!({
        "traceparent": format!("00-{trace}-{CALLER}-01"),
        "tracestate": "rojo=00f067aa0ba902b7",
        "dev.portcullis/plan": {"id": "p-1", "depth": 1, "attempt": 0},
    });
    let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
    client.send("tools/call", params).await.unwrap()
}

fn by_name(spans: &[Span]) -> BTreeMap<&str, &Span> {
    spans
        .iter()
        .map(|span| (span.name.as_str(), span))
        .collect()
}

fn of(span: &Span, key: &str) -> String {
    let found = collector::attribute(&span.attributes, key);
    assert!(found.is_some(), "{} has no {key}", span.name);
    found.unwrap()
}

fn assert_children(spans: &BTreeMap<&str, &Span>) {
    let plan = spans["agent.plan"];
    let invoke = spans["mcp.tool.invoke"];
    assert_eq!(hex::encode(&plan.parent_span_id), CALLER);
    assert_eq!(invoke.parent_span_id, plan.span_id);
    for part in ["policy.evaluate", "service.api.call", "dlp.redact"] {
        assert_eq!(spans[part].parent_span_id, invoke.span_id, "{part}");
        assert!(spans[part].end_time_unix_nano >= spans[part].start_time_unix_nano);
    }
}

/// Each attribute of a good call by a test's agent.
fn assert_attributes(span: &Span, record: &str) {
    for key in attribute::ON_EVERY_SPAN {
        of(span, key);
    }
    for (key, value) in [
        ("tool.name", "orders.get"),
        ("actor.type", "agent"),
        ("policy.decision", "allow"),
        ("scope.grants", "orders.read"),
        ("idem.key", "none"),
        ("route.pool", "eu-west"),
        ("budget.used_micro_usd", "0"),
        ("budget.left_micro_usd", "10000000000"),
        ("record.id", record),
    ] {
        assert_eq!(of(span, key), value, "{}: {key}", span.name);
    }
    assert!(of(span, "tenant.id").starts_with("tnt_"));
    assert_ne!(of(span, "pii.count"), "0");
    assert_eq!(span.trace_state, "", "others wrote it");
}

async fn five_spans_of_a_call(collector: &Collector, platform: &Platform) {
    let client = platform.caller("acme").await.unwrap();
    let trace = fresh_trace();
    let order = platform.an_order("acme").unwrap();
    let reply = traced(&client, "orders.get", json!({"orderId": order}), &trace).await;
    assert_result(&reply);
    let receipt = reply.meta(RECEIPT);
    assert_eq!(receipt["trace_id"], trace.as_str());
    let spans = collector.trace(&trace, 5).await.unwrap();
    assert_eq!(spans.len(), 5, "{spans:#?}");
    assert_children(&by_name(&spans));
    let record = receipt["record"].as_str().unwrap();
    for span in &spans {
        assert_attributes(span, record);
    }
    let resource = collector.resource();
    let said = |key| collector::attribute(&resource, key).unwrap();
    assert_eq!(said("service.name"), "portcullis");
    assert!(!said("service.version").is_empty() && !said("service.instance.id").is_empty());
}

#[tokio::test]
async fn five_spans_of_a_call_arrive_over_grpc() {
    let collector = Collector::start().await.unwrap();
    let options = sending(&collector.grpc(), "grpc", "1");
    let platform = Platform::start_with(options).await.unwrap();
    five_spans_of_a_call(&collector, &platform).await;
}

#[tokio::test]
async fn five_spans_of_a_call_arrive_over_http() {
    let collector = Collector::start().await.unwrap();
    let options = sending(&collector.http(), "http", "1");
    let platform = Platform::start_with(options).await.unwrap();
    five_spans_of_a_call(&collector, &platform).await;
}

#[tokio::test]
async fn at_a_ratio_of_nothing_refusals_and_failures_arrive_and_good_calls_do_not() {
    let collector = Collector::start().await.unwrap();
    let options = sending(&collector.grpc(), "grpc", "0");
    let platform = Platform::start_with(options).await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    let mut evil = week();
    evil["evil"] = json!("planted");
    let (good, refused, unknown, scope) =
        (fresh_trace(), fresh_trace(), fresh_trace(), fresh_trace());
    let call =
        async |tool, arguments, trace| client.call_traced(tool, arguments, trace).await.unwrap();
    assert_result(&call("orders.get", json!({"orderId": "none"}), &good).await);
    assert_denied(
        &call("orders.export", evil, &refused).await,
        "invalid-arguments",
    );
    call("made.up.name", json!({}), &unknown).await;
    let flag = json!({"name": "f", "env": "dev", "rolloutPct": 5});
    call("flag.set", flag, &scope).await;
    for (trace, problem) in [(&refused, "invalid-arguments"), (&unknown, "unknown-tool")] {
        let spans = collector.trace(trace, 1).await.unwrap();
        let invoke = by_name(&spans)["mcp.tool.invoke"];
        assert_eq!(of(invoke, "error.type"), problem);
        assert_eq!(of(invoke, "portcullis.outcome"), "refused");
        assert!(
            of(invoke, "record.id").starts_with("rec_"),
            "each refusal has a record"
        );
    }
    assert!(
        !collector.heard_of("made.up.name"),
        "a name that a caller made up"
    );
    collector.trace(&scope, 1).await.unwrap();
    // Whoever has no token leaves one span, of which nothing is known.
    let nobody = fresh_trace();
    let request = Http::new().unwrap().post(client.url()).json(&json!({}));
    let parent = format!("00-{nobody}-{CALLER}-01");
    Reply::to(request.header("traceparent", parent))
        .await
        .unwrap();
    let spans = collector.trace(&nobody, 1).await.unwrap();
    assert_eq!(of(&spans[0], "error.type"), "token-missing");
    assert_eq!(of(&spans[0], "tenant.id"), "none");
    assert!(collector.of_trace(&good).is_empty());
}

#[tokio::test]
async fn a_caller_that_keeps_its_span_gets_a_few_kept_and_not_all() {
    let collector = Collector::start().await.unwrap();
    let options = sending(&collector.grpc(), "grpc", "0");
    let options = options.with(&otlp("SAMPLED_CALLS_PER_SECOND"), "1");
    let platform = Platform::start_with(options).await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    let began = tokio::time::Instant::now();
    let traces: Vec<_> = (0..60).map(|_| fresh_trace()).collect();
    for trace in &traces {
        let reply = client.call_traced("orders.get", json!({"orderId": "none"}), trace);
        assert_result(&reply.await.unwrap());
    }
    let allowed = usize::try_from(began.elapsed().as_secs()).unwrap() + 2;
    collector.trace(&traces[0], 1).await.unwrap();
    wait_for_export(&collector, &client).await;
    let kept = traces
        .iter()
        .filter(|trace| !collector.of_trace(trace).is_empty());
    let kept = kept.count();
    assert!(kept >= 1 && kept <= allowed, "{kept} of {}", traces.len());
}

/// Waits until what was there before this call has been sent: a refusal made now arrives after it.
async fn wait_for_export(collector: &Collector, client: &McpClient) {
    let mark = fresh_trace();
    client
        .call_traced("no.such.tool", json!({}), &mark)
        .await
        .unwrap();
    collector.trace(&mark, 1).await.unwrap();
}

#[tokio::test]
async fn an_upstream_is_told_the_span_that_the_collector_gets_and_the_callers_state() {
    let collector = Collector::start().await.unwrap();
    let upstream = Upstream::start().await.unwrap();
    let options = sending(&collector.grpc(), "grpc", "1");
    let platform = Platform::start_with(options).await.unwrap();
    let settings = stage::settings(&platform, &upstream).unwrap();
    let replica = Replica::configured(&platform, &settings, &[])
        .await
        .unwrap();
    // The replica knows what was opened of the inside; the platform beside it does not.
    let token = platform.operator().owner_token("acme").unwrap();
    let owner = Management::new(&replica.url(), token).unwrap();
    stage::register(&owner, &upstream).await.unwrap();
    let agent = platform.agent("acme", &Grants::of(&[SCOPE])).await.unwrap();
    let client = replica.called_by(&agent.caller().await.unwrap());
    let trace = fresh_trace();
    let call = || async {
        let key = json!({"dev.portcullis/idempotency-key": "planted-key-of-the-caller"});
        let mut meta = key;
        meta["traceparent"] = json!(format!("00-{trace}-{CALLER}-01"));
        meta["tracestate"] = json!("rojo=00f067aa0ba902b7");
        let params = json!({"name": TOOL, "arguments": {EFFECT: "one"}, "_meta": meta});
        let reply = client.send("tools/call", params).await?;
        // The replica has to hear of the tool first.
        Ok((upstream.arrived() > 0).then_some(reply))
    };
    let reply = wait::until("the upstream's answer", Duration::from_secs(30), call);
    assert_result(&reply.await.unwrap());
    let told = upstream.arrivals()[0].clone();
    assert_eq!(told.tracestate.as_deref(), Some("rojo=00f067aa0ba902b7"));
    let spans = collector.trace(&trace, 4).await.unwrap();
    let mut spans = spans.iter().filter(|span| span.name == "service.api.call");
    let span = spans.next().unwrap();
    let expected = format!("00-{trace}-{}-01", hex::encode(&span.span_id));
    assert_eq!(told.traceparent.as_deref(), Some(expected.as_str()));
    let key = of(span, "idem.key");
    assert_eq!(key.len(), 16, "a keyed hash: {key}");
    assert!(!collector.heard_of("planted-key-of-the-caller"));
}

#[tokio::test]
async fn without_a_collector_calls_go_on_spans_are_counted_as_dropped_and_it_can_come_back() {
    let collector = Collector::start().await.unwrap();
    let options = sending(&collector.grpc(), "grpc", "1");
    let platform = Platform::start_with(options).await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    let first = fresh_trace();
    let get = json!({"orderId": "none"});
    assert_result(
        &client
            .call_traced("orders.get", get.clone(), &first)
            .await
            .unwrap(),
    );
    collector.trace(&first, 4).await.unwrap();
    collector.leave().await;
    for _ in 0..50 {
        assert_result(&client.call("orders.get", get.clone()).await.unwrap());
    }
    let dropped = "portcullis_spans_dropped_total{reason=\"not_taken\"}";
    wait::until("a drop that is counted", Duration::from_mins(1), || async {
        assert_result(&client.call("orders.get", get.clone()).await?);
        let text = metrics(&platform).await;
        Ok(series(&text, dropped).filter(|count| *count > 0.0))
    })
    .await
    .unwrap();
    let failed = "portcullis_otlp_requests_failed_total{signal=\"metrics\"}";
    assert!(series(&metrics(&platform).await, failed).unwrap() > 0.0);
    let warned = platform.logs().unwrap();
    let warned = warned.matches("the collector does not take").count();
    assert!(
        (1..=2).contains(&warned),
        "once a signal, not once a try: {warned}"
    );
    let collector = collector.back().await.unwrap();
    let last = fresh_trace();
    assert_result(&client.call_traced("orders.get", get, &last).await.unwrap());
    collector.trace(&last, 4).await.unwrap();
}

#[tokio::test]
async fn a_stopping_replica_sends_its_last_spans() {
    let collector = Collector::start().await.unwrap();
    let options = sending(&collector.grpc(), "grpc", "1");
    let mut platform = Platform::start_with(options).await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    let last = fresh_trace();
    let get = json!({"orderId": "none"});
    assert_result(&client.call_traced("orders.get", get, &last).await.unwrap());
    let status = platform
        .stop(nix::sys::signal::Signal::SIGTERM)
        .await
        .unwrap();
    assert!(status.success());
    assert_eq!(collector.of_trace(&last).len(), 4);
}

/// A counter that a collector was sent, under some labels.
fn counted(metrics: &[Metric], name: &str, labels: &[(&str, &str)]) -> Option<i64> {
    let metric = metrics.iter().find(|metric| metric.name == name)?;
    let Some(Data::Sum(sum)) = &metric.data else {
        return None;
    };
    let mut points = sum.data_points.iter();
    let point = points.find(|point| {
        let has = |(key, value): &(&str, &str)| {
            collector::attribute(&point.attributes, key).as_deref() == Some(value)
        };
        labels.iter().all(has)
    })?;
    match point.value? {
        number_data_point::Value::AsInt(count) => Some(count),
        number_data_point::Value::AsDouble(_) => None,
    }
}

#[tokio::test]
async fn metrics_arrive_with_the_values_of_the_admin_listener_and_exemplars_of_kept_traces() {
    let collector = Collector::start().await.unwrap();
    let options = sending(&collector.http(), "http", "0.5");
    let platform = Platform::start_with(options).await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    for _ in 0..40 {
        let trace = fresh_trace();
        let reply = client.call_traced("orders.get", json!({"orderId": "none"}), &trace);
        assert_result(&reply.await.unwrap());
    }
    let metrics_sent = collector.next_metrics().await.unwrap();
    let labels = [
        ("tool", "orders.get"),
        ("decision", "allow"),
        ("outcome", "answered"),
    ];
    assert_eq!(
        counted(&metrics_sent, "portcullis_tool_calls", &labels),
        Some(40)
    );
    let text = metrics(&platform).await;
    let line =
        r#"portcullis_tool_calls_total{tool="orders.get",decision="allow",outcome="answered"}"#;
    assert_eq!(series(&text, line), Some(40.0));
    // Each family of the text is there, under its own name.
    for family in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = family.split(' ').next().unwrap();
        let has_series = text.lines().any(|line| line.starts_with(name));
        let sent = metrics_sent.iter().any(|metric| metric.name == name);
        assert!(sent || !has_series, "{name} was not sent");
    }
    wait_for_export(&collector, &client).await;
    let exemplars = text
        .lines()
        .filter_map(|line| line.split_once("trace_id=\""));
    let exemplars: Vec<_> = exemplars
        .map(|(_, rest)| rest.split('"').next().unwrap())
        .collect();
    assert!(!exemplars.is_empty(), "{text}");
    for trace in exemplars {
        assert!(
            !collector.of_trace(trace).is_empty(),
            "{trace} was not kept"
        );
    }
}

/// A certificate for this machine that no authority of the system signed.
fn own_certificate() -> Certificate {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Certificate {
        certificate: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
    }
}

fn file(platform: &str, name: &str, text: &str) -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("portcullis-e2e-{}-{platform}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn a_collector_over_tls_is_believed_by_the_named_authority_and_is_sent_its_token() {
    let certificate = own_certificate();
    let collector = Collector::over_tls(&certificate).await.unwrap();
    let endpoint = format!("https://localhost:{}", collector.port());
    let ca = file("tls", "ca.pem", &certificate.certificate);
    let headers = file(
        "tls",
        "headers",
        "# the collector's own\nx-collector-token: hunter2-planted\n",
    );
    let options = sending(&endpoint, "grpc", "1")
        .with(&otlp("CA_FILE"), ca.to_str().unwrap())
        .with(&otlp("HEADERS_FILE"), headers.to_str().unwrap())
        .with("PORTCULLIS_TELEMETRY_LOG_LEVEL", "debug");
    let platform = Platform::start_with(options).await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    let trace = fresh_trace();
    client
        .call_traced("orders.get", json!({"orderId": "none"}), &trace)
        .await
        .unwrap();
    collector.trace(&trace, 4).await.unwrap();
    assert_eq!(collector.token().as_deref(), Some("hunter2-planted"));
    assert!(
        !platform.logs().unwrap().contains("hunter2-planted"),
        "not even at debug"
    );
}

#[tokio::test]
async fn a_collector_with_a_strangers_certificate_is_sent_nothing() {
    let collector = Collector::over_tls(&own_certificate()).await.unwrap();
    let endpoint = format!("https://localhost:{}", collector.port());
    let ca = file("stranger", "ca.pem", &own_certificate().certificate);
    let options = sending(&endpoint, "grpc", "1").with(&otlp("CA_FILE"), ca.to_str().unwrap());
    let platform = Platform::start_with(options).await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    assert_result(
        &client
            .call("orders.get", json!({"orderId": "none"}))
            .await
            .unwrap(),
    );
    let failed = "portcullis_otlp_requests_failed_total{signal=\"traces\"}";
    wait::until(
        "a failure that is counted",
        Duration::from_secs(30),
        || async { Ok(series(&metrics(&platform).await, failed).filter(|count| *count > 0.0)) },
    )
    .await
    .unwrap();
    assert_eq!(collector.count(), 0);
}

#[tokio::test]
async fn metrics_count_calls_and_refusals_and_stand_on_the_admin_listener_alone() {
    let platform = Platform::start().await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    assert_result(
        &client
            .call("orders.get", json!({"orderId": "none"}))
            .await
            .unwrap(),
    );
    let mut evil = week();
    evil["evil"] = json!(1);
    client.call("orders.export", evil).await.unwrap();
    client.call("made.up.name", json!({})).await.unwrap();
    let http = Http::new().unwrap();
    Reply::to(http.post(client.url()).json(&json!({})))
        .await
        .unwrap();
    let text = metrics(&platform).await;
    for (name, value) in [
        (
            r#"portcullis_tool_calls_total{tool="orders.get",decision="allow",outcome="answered"}"#,
            1.0,
        ),
        (
            r#"portcullis_tool_calls_total{tool="orders.export",decision="none",outcome="refused"}"#,
            1.0,
        ),
        (
            r#"portcullis_tool_calls_total{tool="unknown",decision="none",outcome="refused"}"#,
            1.0,
        ),
        (
            r#"portcullis_refusals_total{problem="invalid-arguments",room="call"}"#,
            1.0,
        ),
        (
            r#"portcullis_refusals_total{problem="token-missing",room="door"}"#,
            1.0,
        ),
        ("portcullis_ready{}", 1.0),
        ("portcullis_otlp_queue_length", 0.0),
    ] {
        assert_eq!(series(&text, name), Some(value), "{name}: {text}");
    }
    assert!(!text.contains("made.up.name"), "{text}");
    let public = Reply::to(http.get(&format!("{}/metrics", platform.url())))
        .await
        .unwrap();
    assert_eq!(public.status, 404, "{}", public.told());
    let admin = format!("{}/metrics", platform.admin().unwrap());
    let rebound = http.get(&admin).header("host", "evil.example");
    assert_eq!(Reply::to(rebound).await.unwrap().status, 403);
}
