//! Secrets and personal values, planted wherever a caller can put one and in every answer, are found in no
//! log, no span and no metric.
//!
//! It makes 300 calls; `E2E_SCAN_CALLS=10000` makes as many as the project's guarantee says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis_e2e::{Agent, Collector, Grants, Http, McpClient, Options, Platform, Reply};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::answers::{EU, fresh_trace, week};

/// Calls that go on at once.
const WORKERS: usize = 8;
/// Stands in every value that is planted here, and nowhere else.
const MARK: &str = "planted";
/// Cards and accounts have a form of their own.
const CARD: &str = "4111111111111111";
const IBAN: &str = "DE89370400440532013000";

fn calls() -> usize {
    let wanted = std::env::var_os("E2E_SCAN_CALLS");
    let wanted = wanted.and_then(|text| text.to_str()?.parse().ok());
    wanted.unwrap_or(300)
}

/// A request that bears planted values in one place after another.
fn request(http: &Http, client: &McpClient, number: usize) -> RequestBuilder {
    let email = format!("{MARK}.person.{number}@example.com");
    let secret = format!("pcs_{MARK}{number:036}");
    let call = |name: &str, arguments: Value| {
        let meta = json!({
            "traceparent": format!("00-{}-00f067aa0ba902b7-01", fresh_trace()),
            "tracestate": format!("{MARK}={MARK}{number}"),
            "dev.portcullis/idempotency-key": format!("{MARK}-key-{number}"),
            "baggage": format!("user={email}"),
        });
        let params = json!({"name": name, "arguments": arguments, "_meta": meta});
        client.request(&client.body("tools/call", params))
    };
    let plain = |tool: &str| {
        let url = client.url().trim_end_matches("/mcp").to_owned();
        http.post(&format!("{url}/tools/{tool}"))
            .bearer_auth(client.token())
    };
    match number % 12 {
        0 => call("orders.get", json!({"orderId": email})),
        1 => call("orders.export", week()),
        2 => call("orders.get", json!({"orderId": "x", (&*email): CARD})),
        3 => call(
            "orders.get",
            json!({"orderId": {"note": email, "card": CARD, "iban": IBAN}}),
        ),
        4 => call(&format!("{MARK}.tool.{number}"), json!({"card": CARD})),
        5 => call(
            "flag.set",
            json!({"name": format!("{MARK}-{number}"), "env": "dev", "rolloutPct": 5}),
        ),
        6 => call(
            "flag.set",
            json!({"name": secret, "env": email, "rolloutPct": 5}),
        ),
        7 => plain("orders.get")
            .header(
                "traceparent",
                format!("00-{}-00f067aa0ba902b7-00", fresh_trace()),
            )
            .header("tracestate", format!("{MARK}=1"))
            .header("user-agent", &email)
            .header("idempotency-key", format!("{MARK}-{number}"))
            .header("x-request-id", &secret)
            .json(&json!({"orderId": format!("{MARK}{number}")})),
        8 => plain(&format!(
            "{MARK}.{number}?email={email}&access_token={secret}"
        ))
        .json(&json!({})),
        9 => plain("orders.get").body(format!("{{\"orderId\": \"{email}\", {secret}")),
        10 => http
            .post(client.url())
            .bearer_auth(&secret)
            .json(&json!({"email": email})),
        _ => client.request(&client.body(&email, json!({"cursor": secret, "card": CARD}))),
    }
}

/// Makes the calls, and tells how many were answered with a result.
async fn make(agent: &Agent, client: &McpClient, calls: usize) -> usize {
    let (next, good) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let http = Http::new().unwrap();
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (next, good) = (Arc::clone(&next), Arc::clone(&good));
        let (http, client) = (http.clone(), client.clone());
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= calls {
                    return;
                }
                let reply = Reply::to(request(&http, &client, number)).await.unwrap();
                if reply.status == 200 && reply.structured().is_object() {
                    good.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    workers.join_all().await;
    // Secrets at the token endpoint too.
    let mut guess = agent.clone();
    guess.client_secret = format!("pcs_{MARK}{}", "0".repeat(36));
    guess.ask_for_token(&http, None).await.unwrap();
    good.load(Ordering::Relaxed)
}

/// What must be found nowhere: what was planted, what proved the callers, and what the answers hold.
fn needles(platform: &Platform, agent: &Agent, client: &McpClient) -> Vec<String> {
    let mut needles: Vec<_> = [MARK, CARD, IBAN, "4111 1111", "DE89 3704"]
        .map(str::to_owned)
        .to_vec();
    needles.push(agent.client_secret.clone());
    needles.push(client.token().to_owned());
    needles.extend(client.token().split('.').skip(1).map(str::to_owned));
    needles.extend(platform.operator().secrets());
    for column in ["email", "phone"] {
        let sql =
            format!("select distinct {column} from orders where {column} is not null limit 50");
        let rows = platform.database(EU).query(&sql).unwrap();
        let values: Vec<_> = rows.lines().map(str::to_owned).collect();
        assert!(!values.is_empty(), "no {column} in the orders");
        needles.extend(values);
    }
    needles
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_planted_value_is_in_logs_spans_or_metrics() {
    let calls = calls();
    let collector = Collector::start().await.unwrap();
    let options = Options::default()
        .roomy()
        .with("PORTCULLIS_TELEMETRY_OTLP_ENDPOINT", &collector.grpc())
        .with("PORTCULLIS_TELEMETRY_OTLP_SAMPLING_RATIO", "1")
        .with("PORTCULLIS_TELEMETRY_OTLP_METRICS_INTERVAL_SECONDS", "1")
        .with("PORTCULLIS_TELEMETRY_LOG_LEVEL", "debug");
    let mut platform = Platform::start_with(options).await.unwrap();
    let grants = Grants::of(&["orders.read", "flags.write:dev"]);
    let agent = platform.agent("acme", &grants).await.unwrap();
    let client = agent.caller().await.unwrap();
    let good = make(&agent, &client, calls).await;
    assert!(good * 12 >= calls, "{good} of {calls} had a result");
    // A fault says more than a refusal does.
    let away = platform.database(EU).take_away().unwrap();
    for number in 0..12 {
        Reply::to(request(&Http::new().unwrap(), &client, number))
            .await
            .unwrap();
    }
    drop(away);
    let needles = needles(&platform, &agent, &client);
    collector.next_metrics().await.unwrap();
    let url = format!("{}/metrics", platform.admin().unwrap());
    let metrics = Reply::to(Http::new().unwrap().get(&url))
        .await
        .unwrap()
        .text();
    let status = platform
        .stop(nix::sys::signal::Signal::SIGTERM)
        .await
        .unwrap();
    assert!(status.success(), "{status}");
    let logs = platform.logs().unwrap();
    let spans = collector.count();
    println!(
        "{calls} calls, {good} with a result; {spans} spans, {} bytes of logs",
        logs.len()
    );
    // What was sent is what would have told: spans of calls, metrics, and lines of logs.
    assert!(spans > calls, "{spans} spans of {calls} calls");
    assert!(collector.heard_of("orders.export") && collector.heard_of("portcullis_tool_calls"));
    assert!(metrics.contains("orders.export") && logs.len() > 1_000);
    for needle in needles {
        let line = logs.lines().find(|line| line.contains(&needle));
        assert!(
            line.is_none(),
            "`{needle}` is logged: {}",
            line.unwrap_or_default()
        );
        assert!(
            !collector.heard_of(&needle),
            "the collector was sent `{needle}`"
        );
        assert!(!metrics.contains(&needle), "`{needle}` is in the metrics");
    }
}
