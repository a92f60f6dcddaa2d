//! `portcullis stdio`: a host that knows nothing of HTTP or tokens reaches the gate, and goes on
//! reaching it.

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use portcullis_e2e::bridge::{Bridge, request};
use portcullis_e2e::{Agent, Grants, Options, Platform, processes, python};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::answers::{ids, week};

async fn agent(platform: &Platform) -> (Agent, TempDir) {
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    (agent, tempfile::tempdir().unwrap())
}

fn bridge(platform: &Platform, (agent, folder): &(Agent, TempDir)) -> Bridge {
    let file = agent.connection(folder.path()).unwrap();
    let file = file.to_str().unwrap();
    Bridge::start(platform, &["--connection", file, "--patience", "10s"]).unwrap()
}

fn export() -> Value {
    json!({"name": "orders.export", "arguments": week()})
}

/// The tokens of which the platform knows a use.
fn tokens_used(platform: &Platform) -> usize {
    let uses = platform
        .database("portcullis_control")
        .query("select count(*) from token_bindings");
    uses.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn the_python_client_lists_and_calls_over_stdio_in_both_eras() {
    let platform = Platform::shared().unwrap();
    for (mode, revision) in [("auto", "2026-07-28"), ("legacy", "2025-11-25")] {
        let (agent, folder) = agent(platform).await;
        let file = agent.connection(folder.path()).unwrap();
        let asked = json!({
            "command": platform.binary(), "args": ["stdio", "--connection", file],
            "mode": mode,
            "steps": [
                {"list": true},
                {"call": "orders.export", "arguments": week()},
                {"call": "orders.export", "arguments": {"evil": "oops"}},
                {"call": "no.such.tool", "arguments": {}},
            ],
        });
        let driven = move || python::script("drive.py", &asked).unwrap();
        let answer = tokio::task::spawn_blocking(driven).await.unwrap();
        assert_eq!(answer["protocol"], revision, "{answer}");
        assert_eq!(answer["server"], "portcullis", "{answer}");
        assert_eq!(answer["steps"][0]["tools"].as_array().unwrap().len(), 2);
        assert!(ids(&answer["steps"][1]["structuredContent"]).len() > 100);
        assert_eq!(answer["steps"][2]["isError"], true, "{answer}");
        assert!(answer["steps"][3]["error"]["code"].is_number(), "{answer}");
    }
}

#[tokio::test]
async fn tokens_are_renewed_before_they_end() {
    // A token of a second is renewed after nine tenths of it.
    let options = Options::default().with("PORTCULLIS_TOKENS_LIFETIME_SECONDS", "1");
    let platform = Platform::start_with(options).await.unwrap();
    let place = agent(&platform).await;
    let mut bridge = bridge(&platform, &place);
    let mut number = 0;
    while tokens_used(&platform) < 3 {
        number += 1;
        assert!(number < 2_000, "no token is renewed");
        let answer = bridge.ask(number, "tools/call", export()).await.unwrap();
        assert_eq!(answer["id"], number, "{answer}");
        assert_eq!(answer["result"]["isError"], false, "{answer}");
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_and_the_call_repeated_once() {
    let platform = Platform::start().await.unwrap();
    let owner = platform.owner("acme").unwrap();
    owner
        .patch("/tenants/acme", &json!({"replay": "one-time"}))
        .await
        .unwrap();
    let place = agent(&platform).await;
    let mut bridge = bridge(&platform, &place);
    for number in 1..=5 {
        // Each token works once: from the second call on, the kept one is refused.
        let answer = bridge.ask(number, "tools/call", export()).await.unwrap();
        assert_eq!(answer["result"]["isError"], false, "{answer}");
    }
    assert!(tokens_used(&platform) >= 5);
}

#[tokio::test]
async fn credentials_that_do_not_work_are_told_in_words_and_end_nothing() {
    let platform = Platform::shared().unwrap();
    let (mut agent, folder) = agent(platform).await;
    let right = std::mem::replace(&mut agent.client_secret, "pcs_wrong".to_owned());
    let place = (agent, folder);
    let mut bridge = bridge(platform, &place);
    for number in 1..=2 {
        let answer = bridge.ask(number, "tools/list", json!({})).await.unwrap();
        assert_eq!(answer["id"], number, "{answer}");
        let words = answer["error"]["message"].as_str().unwrap();
        assert!(words.contains("invalid_client"), "{words}");
        assert!(
            !words.contains("pcs_") && !words.contains(&right),
            "{words}"
        );
    }
    bridge.hang_up();
    let (status, words) = bridge.ended().await.unwrap();
    assert!(status.success() && words.is_empty(), "{status} {words}");
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_the_next_one_is_answered() {
    let platform = Platform::shared().unwrap();
    let place = agent(platform).await;
    let mut bridge = bridge(platform, &place);
    let list = request(1, "tools/list", json!({}));
    let too_long = format!(
        r#"{{"jsonrpc":"2.0","id":9,"x":"{}"}}"#,
        "x".repeat(3 << 20)
    );
    for (line, code) in [
        ("{\"jsonrpc\":", -32700),
        ("GET / HTTP/1.1", -32700),
        (&format!("[{list}]"), -32600),
        ("\"text\"", -32600),
        (&too_long, -32600),
    ] {
        bridge.write(line).await.unwrap();
        let answer = bridge.read().await.unwrap();
        let start: String = line.chars().take(40).collect();
        assert_eq!(answer["error"]["code"], code, "{start}: {answer}");
        assert!(answer["id"].is_null(), "{answer}");
    }
    // An answer to nobody's question and an empty line are passed over.
    bridge
        .write(r#"{"jsonrpc":"2.0","id":4,"result":{}}"#)
        .await
        .unwrap();
    bridge.write("").await.unwrap();
    bridge.write(&list).await.unwrap();
    let answer = bridge.read().await.unwrap();
    assert!(answer["result"]["tools"].is_array(), "{answer}");
}

#[tokio::test]
async fn many_requests_at_once_are_each_answered_once_and_one_line_each() {
    let platform = Platform::shared().unwrap();
    let place = agent(platform).await;
    let mut bridge = bridge(platform, &place);
    let call = json!({"name": "orders.get", "arguments": {"orderId": "none"}});
    for number in 0..40 {
        let line = request(number, "tools/call", call.clone());
        bridge.write(&line).await.unwrap();
    }
    let mut seen = Vec::new();
    for _ in 0..40 {
        let answer = bridge.read().await.unwrap();
        assert_eq!(answer["result"]["isError"], false, "{answer}");
        seen.push(answer["id"].as_u64().unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..40).collect::<Vec<_>>());
    bridge.hang_up();
    let (status, words) = bridge.ended().await.unwrap();
    assert!(status.success() && words.is_empty(), "{status} {words}");
}

#[tokio::test]
async fn calls_under_way_are_answered_although_the_host_has_closed_its_side() {
    let platform = Platform::shared().unwrap();
    let place = agent(platform).await;
    let mut bridge = bridge(platform, &place);
    bridge
        .write(&request(1, "tools/call", export()))
        .await
        .unwrap();
    bridge.hang_up();
    let answer = bridge.read().await.unwrap();
    assert_eq!(answer["result"]["isError"], false, "{answer}");
    let (status, _) = bridge.ended().await.unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_platform_that_is_away_for_a_while_is_waited_for() {
    let mut platform = Platform::start().await.unwrap();
    let place = agent(&platform).await;
    let mut bridge = bridge(&platform, &place);
    let answer = bridge.ask(1, "tools/call", export()).await.unwrap();
    assert_eq!(answer["result"]["isError"], false, "{answer}");
    platform.stop(Signal::SIGTERM).await.unwrap();
    bridge
        .write(&request(2, "tools/call", export()))
        .await
        .unwrap();
    platform.start_again().await.unwrap();
    let answer = bridge.read().await.unwrap();
    assert_eq!(answer["id"], 2, "{answer}");
    assert_eq!(answer["result"]["isError"], false, "{answer}");
}

#[tokio::test]
async fn a_platform_that_stays_away_is_told_within_the_patience_that_was_asked_for() {
    let mut platform = Platform::start().await.unwrap();
    let (agent, folder) = agent(&platform).await;
    let file = agent.connection(folder.path()).unwrap();
    let file = file.to_str().unwrap().to_owned();
    platform.stop(Signal::SIGTERM).await.unwrap();
    let arguments = ["--connection", &file, "--patience", "300ms"];
    let mut bridge = Bridge::start(&platform, &arguments).unwrap();
    for number in 1..=2 {
        let answer = bridge.ask(number, "tools/list", json!({})).await.unwrap();
        let words = answer["error"]["message"].as_str().unwrap();
        assert!(words.contains("cannot reach the server"), "{words}");
        assert_eq!(answer["id"], number);
    }
}

#[tokio::test]
async fn it_ends_at_once_when_it_is_asked_to_although_its_input_is_open() {
    let platform = Platform::shared().unwrap();
    let place = agent(platform).await;
    let mut bridge = bridge(platform, &place);
    bridge.ask(1, "tools/list", json!({})).await.unwrap();
    let pid = Pid::from_raw(bridge.pid().unwrap().try_into().unwrap());
    processes::signal(pid, Signal::SIGTERM).unwrap();
    let (status, words) = bridge.ended().await.unwrap();
    assert!(status.success() && words.is_empty(), "{status} {words}");
}

#[tokio::test]
async fn a_connection_file_that_cannot_be_used_is_told_before_anything_is_sent() {
    use std::os::unix::fs::PermissionsExt;
    let platform = Platform::shared().unwrap();
    let (agent, folder) = agent(platform).await;
    let path = agent.connection(folder.path()).unwrap();
    let file = path.to_str().unwrap();
    let refused = async |arguments: &[&str]| {
        let bridge = Bridge::start(platform, arguments).unwrap();
        let (status, words) = bridge.ended().await.unwrap();
        assert!(!status.success() && !words.contains("pcs_"), "{words}");
        words
    };
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let words = refused(&["--connection", file]).await;
    assert!(words.contains("chmod 600"), "{words}");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    for (old, new, told) in [
        ("\"url\"", "\"urls\"", "not in its form"),
        (
            "http://127.0.0.1",
            "http://gate.example.com",
            "in the clear",
        ),
    ] {
        std::fs::write(&path, text.replace(old, new)).unwrap();
        let words = refused(&["--connection", file]).await;
        assert!(words.contains(told), "{words}");
    }
    let words = refused(&["--connection", "/nonexistent.json"]).await;
    assert!(words.contains("portcullis connect"), "{words}");
    let words = refused(&[]).await;
    assert!(words.contains("--connection"), "{words}");
}

#[tokio::test]
async fn no_credential_stands_in_the_process_list_or_in_what_the_host_reads() {
    let platform = Platform::shared().unwrap();
    let place = agent(platform).await;
    let mut bridge = bridge(platform, &place);
    let answer = bridge.ask(1, "tools/call", export()).await.unwrap();
    let line = std::fs::read(format!("/proc/{}/cmdline", bridge.pid().unwrap())).unwrap();
    let shown = format!("{answer}{}", String::from_utf8_lossy(&line));
    for secret in [place.0.client_secret.as_str(), "eyJ"] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
}
