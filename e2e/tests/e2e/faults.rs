//! Callers that hang up and databases that go away: a record that is closed, or nothing answered.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use portcullis_e2e::database::Database;
use portcullis_e2e::processes::Frozen;
use portcullis_e2e::{Grants, McpClient, Options, Platform, Reply, raw, wait};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::answers::{assert_hygiene, assert_result, fresh_trace, problem, week};

const SOON: Duration = Duration::from_secs(30);
const REGION: &str = "portcullis_eu_west";
const CONTROL: &str = "portcullis_control";

/// A call whose tool waits until the lock on its table is gone.
const LOCK: &str = "lock table orders in access exclusive mode";

/// How many queries wait for a lock.
const WAITING: &str = "select count(*) from pg_stat_activity where datname = current_database() \
                       and wait_event_type = 'Lock'";

async fn somebody_waits_for_a_lock(database: &Database) {
    wait::until("a query that waits for the lock", SOON, || async {
        let waiting = database.query(WAITING)?;
        Ok((waiting != "0").then_some(()))
    })
    .await
    .unwrap();
}

async fn the_records(platform: &Platform, trace: &str) -> Vec<Value> {
    let owner = platform.owner("acme").unwrap();
    wait::until("the record of a call", SOON, || async {
        let records = owner.records("acme", trace).await?;
        Ok((!records.is_empty()).then_some(records))
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_caller_that_hangs_up_in_the_middle_leaves_one_closed_record() {
    let platform = Platform::start().await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    let region = platform.database(REGION);
    let held = region.hold(LOCK).unwrap();
    let trace = fresh_trace();
    let address = platform.address().unwrap();
    let bearer = format!("Bearer {}", client.token());
    let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("traceparent", &traceparent),
    ];
    let path = "/t/acme/tools/orders.export";
    let request = raw::post(path, &address.to_string(), &headers, &week().to_string());
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&request).await.unwrap();
    somebody_waits_for_a_lock(&region).await;
    drop(stream);
    // The lock is still held: the record does not wait for the tool.
    let records = the_records(&platform, &trace).await;
    let outcome = &records[0]["record"]["body"]["outcome"];
    assert_eq!(outcome["status"], "cancelled", "{outcome}");
    drop(held);
    wait::until("the end of the tool's query", SOON, || async {
        let running = region.query(
            "select count(*) from pg_stat_activity where datname = current_database() \
             and state = 'active' and pid <> pg_backend_pid() and query like '%from orders%'",
        )?;
        Ok((running == "0").then_some(()))
    })
    .await
    .unwrap();
    let after = platform
        .owner("acme")
        .unwrap()
        .records("acme", &trace)
        .await
        .unwrap();
    assert_eq!(after.len(), 1, "closed exactly once: {after:?}");
    assert_result(&client.call("orders.export", week()).await.unwrap());
}

#[tokio::test]
async fn eighty_callers_that_hang_up_take_no_slot_with_them() {
    let platform = Platform::start_with(Options::default().roomy())
        .await
        .unwrap();
    // No rate is met however slow the machine is: only the five slots are in question.
    let five_at_once = Grants::default().and_limits(json!({
        "rpm": 600_000, "burst": 100_000, "concurrency": 5, "daily_cost_usd": 10_000
    }));
    let agent = platform.agent("acme", &five_at_once).await.unwrap();
    let client = agent.caller().await.unwrap();
    let address = platform.address().unwrap();
    let bearer = format!("Bearer {}", client.token());
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let path = "/t/acme/tools/orders.get";
    let request = raw::post(
        path,
        &address.to_string(),
        &headers,
        r#"{"orderId":"none"}"#,
    );
    for bytes in [request.len(), request.len() - 5] {
        for _ in 0..40 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&request[..bytes]).await.unwrap();
        }
    }
    // Five calls at once are this principal's limit: all five slots must come back.
    wait::until("five free slots", SOON, || async {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..5 {
            let client = client.clone();
            calls.spawn(async move {
                let reply = client.call("orders.get", json!({"orderId": "none"})).await;
                reply.map_or(0, |reply| reply.status)
            });
        }
        let statuses = calls.join_all().await;
        Ok(statuses.iter().all(|status| *status == 200).then_some(()))
    })
    .await
    .unwrap();
}

/// A 5xx tells its trace id and nothing else.
#[track_caller]
fn assert_tells_nothing(reply: &Reply) {
    let told = reply.told();
    assert!([503, 504].contains(&reply.status), "{told}");
    assert_hygiene("a fault", reply);
    let problem = problem(reply);
    assert!(
        problem["trace_id"]
            .as_str()
            .is_some_and(|id| id.len() == 32),
        "{told}"
    );
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert_eq!(detail, "", "{told}");
    for word in [
        "postgres",
        "sqlx",
        "database",
        "pool",
        "connection",
        "socket",
        "orderId",
    ] {
        assert!(
            !reply.text().to_lowercase().contains(&word.to_lowercase()),
            "{word}: {told}"
        );
    }
    assert!(reply.structured().is_null(), "{told}");
}

async fn works_again(client: &McpClient) {
    wait::until("an answer after the fault", SOON, || async {
        let reply = client
            .call("orders.get", json!({"orderId": "none"}))
            .await?;
        Ok((reply.status == 200 && !reply.is_tool_error()).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn without_the_region_database_nothing_is_answered_and_with_it_all_is_well() {
    let platform = Platform::start().await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    works_again(&client).await;
    let away = platform.database(REGION).take_away().unwrap();
    for (tool, arguments) in [
        (
            "orders.get",
            json!({"orderId": platform.an_order("acme").unwrap()}),
        ),
        ("orders.export", week()),
        // A refusal is a call too: without its record it is not answered.
        (
            "orders.get",
            json!({"orderId": platform.an_order("acme").unwrap(), "evil": 1}),
        ),
    ] {
        let reply = client.call(tool, arguments).await.unwrap();
        assert_tells_nothing(&reply);
    }
    let globex = platform.caller("globex").await.unwrap();
    works_again(&globex).await;
    drop(away);
    works_again(&client).await;
}

#[tokio::test]
async fn without_the_control_database_no_new_token_is_let_in() {
    let platform = Platform::start().await.unwrap();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let client = agent.caller().await.unwrap();
    let unused = agent.token().await.unwrap();
    let away = platform.database(CONTROL).take_away().unwrap();
    let reply = client
        .clone()
        .with_token(&unused)
        .send("tools/list", json!({}))
        .await
        .unwrap();
    assert_tells_nothing(&reply);
    let token = agent
        .ask_for_token(&portcullis_e2e::Http::new().unwrap(), None)
        .await
        .unwrap();
    assert!((500..600).contains(&token.status), "{}", token.told());
    assert!(
        !token.text().to_lowercase().contains("postgres"),
        "{}",
        token.told()
    );
    // A token that is known may go on for a while; it may be refused; it never gets a 5xx with
    // words, and never an answer that is not recorded.
    let trace = fresh_trace();
    let order = json!({"orderId": "none"});
    let known = client
        .call_traced("orders.get", order, &trace)
        .await
        .unwrap();
    drop(away);
    works_again(&client).await;
    if known.status == 200 {
        assert_eq!(the_records(&platform, &trace).await.len(), 1);
    } else {
        assert_tells_nothing(&known);
    }
    works_again(&client.with_token(&unused)).await;
}

#[tokio::test]
async fn a_database_that_hangs_holds_up_no_caller_for_ever() {
    let options = Options::default().with("PORTCULLIS_SERVER_CALL_TIMEOUT_SECONDS", "2");
    let platform = Platform::start_with(options).await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    works_again(&client).await;
    let order = platform.an_order("acme").unwrap();
    let frozen = Frozen::inside(platform.data()).unwrap();
    let begun = Instant::now();
    let reply = client
        .call("orders.get", json!({"orderId": order}))
        .await
        .unwrap();
    let took = begun.elapsed();
    println!("answered {} after {took:?}", reply.status);
    assert_tells_nothing(&reply);
    // Its deadline, and what the record may take: 5 s to be written, 3 s to be looked for.
    assert!(took < Duration::from_secs(15), "{took:?}");
    drop(frozen);
    works_again(&client).await;
}

#[tokio::test]
async fn a_tool_that_hangs_is_ended_at_the_deadline_and_recorded() {
    let options = Options::default().with("PORTCULLIS_SERVER_CALL_TIMEOUT_SECONDS", "2");
    let platform = Platform::start_with(options).await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    let held = platform.database(REGION).hold(LOCK).unwrap();
    let trace = fresh_trace();
    let begun = Instant::now();
    let reply = client
        .call_traced("orders.export", week(), &trace)
        .await
        .unwrap();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(reply.is_tool_error(), "{}", reply.told());
    let kind = reply.meta(portcullis_e2e::mcp::PROBLEM)["type"].clone();
    assert_eq!(kind, "/problems/deadline-exceeded", "{}", reply.told());
    let records = the_records(&platform, &trace).await;
    assert_eq!(records.len(), 1);
    let outcome = &records[0]["record"]["body"]["outcome"];
    assert_eq!(outcome["status"], "cancelled", "{outcome}");
    assert_eq!(outcome["problem"], "deadline-exceeded", "{outcome}");
    drop(held);
    works_again(&client).await;
}

#[tokio::test]
async fn a_sixth_call_is_refused_while_five_are_under_way() {
    let platform = Platform::start().await.unwrap();
    let agent = platform.seeded("acme", "agent:copilot").unwrap();
    let client = agent.caller().await.unwrap();
    let region = platform.database(REGION);
    let held = region.hold(LOCK).unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let client = client.clone();
        calls.spawn(async move { client.call("orders.export", week()).await.unwrap() });
    }
    wait::until("five calls that wait", SOON, || async {
        let waiting = region.query(WAITING)?;
        Ok((waiting == "5").then_some(()))
    })
    .await
    .unwrap();
    let refused = client.call("orders.export", week()).await.unwrap();
    assert_eq!(refused.status, 429, "{}", refused.told());
    assert_eq!(problem(&refused)["type"], "/problems/concurrency-limited");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // It is this principal's limit, not its neighbours'.
    let neighbour = platform.caller("globex").await.unwrap();
    assert_result(&neighbour.call("orders.export", week()).await.unwrap());
    drop(held);
    for reply in calls.join_all().await {
        assert_result(&reply);
    }
    assert_result(&client.call("orders.export", week()).await.unwrap());
}

#[tokio::test]
async fn readiness_follows_the_databases_and_liveness_does_not() {
    let platform = Platform::start().await.unwrap();
    let http = portcullis_e2e::Http::new().unwrap();
    let status = async |path: &str| {
        Reply::to(http.get(&format!("{}{path}", platform.url())))
            .await
            .unwrap()
            .status
    };
    assert_eq!(
        (status("/livez").await, status("/readyz").await),
        (200, 200)
    );
    for name in [CONTROL, REGION] {
        let away = platform.database(name).take_away().unwrap();
        wait::until("unreadiness", SOON, || async {
            Ok((status("/readyz").await == 503).then_some(()))
        })
        .await
        .unwrap();
        assert_eq!(status("/livez").await, 200);
        drop(away);
        wait::until("readiness", SOON, || async {
            Ok((status("/readyz").await == 200).then_some(()))
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_platform_that_stops_answers_the_calls_under_way() {
    let mut platform = Platform::start().await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    let region = platform.database(REGION);
    let held = region.hold(LOCK).unwrap();
    let call = tokio::task::JoinSet::from_iter([{
        let client = client.clone();
        async move { client.call("orders.export", week()).await }
    }]);
    somebody_waits_for_a_lock(&region).await;
    let url = format!("{}/livez", platform.url());
    let stopping = async {
        let status = platform.stop(Signal::SIGTERM).await.unwrap();
        assert!(status.success(), "{status}");
    };
    let answering = async {
        // Once it takes no new connection, it is stopping; only then does the tool go on.
        let http = portcullis_e2e::Http::new().unwrap();
        wait::until("a closed door", SOON, || async {
            Ok(Reply::to(http.get(&url).header("connection", "close"))
                .await
                .err())
        })
        .await
        .unwrap();
        drop(held);
        call.join_all().await
    };
    let ((), mut answers) = tokio::join!(stopping, answering);
    assert_result(&answers.remove(0).unwrap());
    platform.nothing_left().await.unwrap();
}
