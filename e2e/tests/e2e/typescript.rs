//! Stock MCP clients against the running binary: both generations of the official TypeScript client and
//! the Inspector, over the stdio bridge and over HTTPS, past the end of their tokens.

use std::path::Path;
use std::process::Output;

use portcullis_e2e::node::{Node, node};
use portcullis_e2e::{Agent, Grants, Options, Platform};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::answers::{ids, week};

/// The clients, the mode in which each is driven, and what must come of it.
const CLIENTS: [(&str, &str, &str); 3] = [
    ("sdk", "legacy", "2025-11-25"),
    ("client", "legacy", "2025-11-25"),
    ("client", "auto", "2026-07-28"),
];

/// A token ends after two seconds, and is honoured for a minute more (clocks differ).
const LIFETIME: (&str, &str) = ("PORTCULLIS_TOKENS_LIFETIME_SECONDS", "2");
const PAST_ITS_END_MS: u64 = 64_000;

async fn platform(https: bool) -> Platform {
    let options = Options::default().roomy().with(LIFETIME.0, LIFETIME.1);
    let options = if https { options.by_https() } else { options };
    Platform::start_with(options).await.unwrap()
}

async fn agent(platform: &Platform) -> (Agent, TempDir) {
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    // The clients do not wait until the replica knows a new principal.
    agent.caller().await.unwrap();
    (agent, tempfile::tempdir().unwrap())
}

async fn packages() -> Node {
    tokio::task::spawn_blocking(|| node().unwrap())
        .await
        .unwrap()
}

async fn driven(node: &Node, asked: Value, authority: Option<&Path>) -> Value {
    let (node, authority) = (node.clone(), authority.map(Path::to_owned));
    tokio::task::spawn_blocking(move || node.drive(&asked, authority.as_deref()).unwrap())
        .await
        .unwrap()
}

async fn inspected(node: &Node, arguments: &[&str], authority: Option<&Path>) -> Output {
    let (node, authority) = (node.clone(), authority.map(Path::to_owned));
    let arguments: Vec<_> = arguments.iter().map(|&one| one.to_owned()).collect();
    let run = move || {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        node.inspector(&arguments, authority.as_deref()).unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn by_bridge(platform: &Platform, agent: &Agent, folder: &TempDir) -> Value {
    let file = agent.connection(folder.path()).unwrap();
    json!({"command": platform.binary(), "args": ["stdio", "--connection", file]})
}

fn by_https(agent: &Agent, issuer: &str) -> Value {
    json!({
        "url": agent.mcp_url(), "issuer": issuer,
        "client_id": agent.client_id, "client_secret": agent.client_secret,
    })
}

fn asked(way: &Value, client: &str, mode: &str, steps: Value) -> Value {
    let mut asked = way.clone();
    asked["client"] = json!(client);
    asked["mode"] = json!(mode);
    asked["steps"] = steps;
    asked
}

/// What every client must see, before and after its token has ended.
fn sees_the_platform(answer: &Value, revision: &str) {
    assert_eq!(answer["protocol"], revision, "{answer}");
    assert_eq!(answer["server"], "portcullis", "{answer}");
    let steps = answer["steps"].as_array().unwrap();
    let tools = steps[0]["tools"].as_array().unwrap();
    let names: Vec<_> = tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["orders.export", "orders.get"], "{answer}");
    let before = ids(&steps[1]["structuredContent"]);
    assert!(before.len() > 100, "{answer}");
    let last = steps.last().unwrap();
    assert_eq!(ids(&last["structuredContent"]), before, "{last}");
}

/// What a program that hosts several clients would lose of its secrets.
fn tells_no_secret(text: &str, agent: &Agent) {
    assert!(!text.contains(&agent.client_secret), "{text}");
    assert!(!text.contains("eyJ"), "a token is told: {text}");
}

fn tokens_used(platform: &Platform) -> u32 {
    let control = platform.database("portcullis_control");
    let uses = control.query("select count(*) from token_bindings");
    uses.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn the_typescript_clients_go_on_over_stdio_while_their_tokens_end() {
    let (node, platform) = (packages().await, platform(false).await);
    for (client, mode, revision) in CLIENTS {
        let (agent, folder) = agent(&platform).await;
        let before = tokens_used(&platform);
        let way = by_bridge(&platform, &agent, &folder);
        let export = json!({"call": "orders.export", "arguments": week()});
        let steps = json!([
            {"list": true},
            export,
            {"call": "orders.get", "arguments": {"orderId": "none"}, "repeat": 9, "every_ms": 700},
            {"call": "orders.export", "arguments": {"evil": "oops"}},
            {"call": "no.such.tool"},
            export,
        ]);
        let answer = driven(&node, asked(&way, client, mode, steps), None).await;
        sees_the_platform(&answer, revision);
        assert_eq!(answer["steps"][3]["isError"], true, "{answer}");
        assert_eq!(answer["steps"][4]["error"]["code"], -32_602, "{answer}");
        let used = tokens_used(&platform) - before;
        assert!(used >= 3, "{client} {mode}: {used} tokens in six seconds");
        tells_no_secret(&answer.to_string(), &agent);
    }
}

#[tokio::test]
async fn the_typescript_clients_over_https_get_a_new_token_when_theirs_has_ended() {
    let (node, platform) = (packages().await, platform(true).await);
    let authority = platform.authority().unwrap();
    let mut agents = Vec::new();
    for _ in CLIENTS {
        agents.push(agent(&platform).await.0);
    }
    let export = json!({"call": "orders.export", "arguments": week()});
    let steps = json!([{"list": true}, export, {"pause_ms": PAST_ITS_END_MS}, export]);
    let drive = |number: usize| {
        let (client, mode, _) = CLIENTS[number];
        let way = by_https(&agents[number], platform.url());
        driven(
            &node,
            asked(&way, client, mode, steps.clone()),
            Some(&authority),
        )
    };
    let held = agents[0].token().await.unwrap();
    let bearer = format!("Authorization: Bearer {held}");
    let call = ["--transport", "http", "--method", "tools/list", "--header"];
    let line = [
        &[agents[0].mcp_url()][..],
        &call,
        &[&bearer, "--format", "json"],
    ]
    .concat();
    // All of them wait at the same time.
    let (first, second, third, inspected) = tokio::join!(drive(0), drive(1), drive(2), async {
        let early = inspected(&node, &line, Some(&authority)).await;
        tokio::time::sleep(std::time::Duration::from_millis(PAST_ITS_END_MS)).await;
        (early, inspected(&node, &line, Some(&authority)).await)
    });
    for (answer, (client, mode, revision)) in [first, second, third].iter().zip(CLIENTS) {
        sees_the_platform(answer, revision);
        assert_eq!(answer["tokens"], 2, "{client} {mode}: {answer}");
    }
    let (early, late) = inspected;
    assert!(early.status.success(), "{early:?}");
    assert!(String::from_utf8_lossy(&early.stdout).contains("orders.export"));
    // A token that nobody renews ends, and the Inspector is told so in words.
    assert!(!late.status.success() && late.stdout.is_empty(), "{late:?}");
    let words = String::from_utf8_lossy(&late.stderr);
    assert!(words.contains("auth") && !words.contains("eyJ"), "{words}");
    let fresh = format!("Authorization: Bearer {}", agents[0].token().await.unwrap());
    let line = line
        .iter()
        .map(|&one| if one == bearer { fresh.as_str() } else { one });
    let again = inspected_again(&node, &line.collect::<Vec<_>>(), &authority).await;
    assert!(again.status.success(), "{again:?}");
}

async fn inspected_again(node: &Node, line: &[&str], authority: &Path) -> Output {
    inspected(node, line, Some(authority)).await
}

#[tokio::test]
async fn the_typescript_clients_believe_no_certificate_of_an_authority_that_they_do_not_trust() {
    let (node, platform) = (packages().await, platform(true).await);
    let (agent, _folder) = agent(&platform).await;
    for (client, mode, _) in CLIENTS {
        let way = by_https(&agent, platform.url());
        let answer = driven(
            &node,
            asked(&way, client, mode, json!([{"list": true}])),
            None,
        )
        .await;
        assert!(answer["steps"].is_null(), "{answer}");
        let told = answer["error"].to_string();
        assert!(
            told.contains("certificate") || told.contains("fetch failed"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn the_typescript_clients_send_their_secret_to_no_other_authorization_server() {
    let (node, platform) = (packages().await, platform(true).await);
    let (agent, _folder) = agent(&platform).await;
    let authority = platform.authority().unwrap();
    for (client, mode, _) in CLIENTS {
        let way = by_https(&agent, "https://issuer.example");
        let list = asked(&way, client, mode, json!([{"list": true}]));
        let answer = driven(&node, list, Some(&authority)).await;
        assert!(answer["steps"].is_null(), "{answer}");
        assert!(
            answer["error"]["message"]
                .as_str()
                .unwrap()
                .contains("issuer"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn the_typescript_clients_with_a_wrong_secret_get_words_not_tools() {
    let (node, platform) = (packages().await, platform(true).await);
    let (mut agent, folder) = agent(&platform).await;
    agent.client_secret = "pcs_wrong".to_owned();
    let authority = platform.authority().unwrap();
    for (client, mode, _) in CLIENTS {
        for way in [
            by_https(&agent, platform.url()),
            by_bridge(&platform, &agent, &folder),
        ] {
            let list = asked(&way, client, mode, json!([{"list": true}]));
            let answer = driven(&node, list, Some(&authority)).await;
            assert!(answer["steps"].is_null(), "{answer}");
            let told = answer.to_string();
            assert!(told.contains("client"), "{told}");
            tells_no_secret(&told, &agent);
        }
    }
}

#[tokio::test]
async fn the_inspector_calls_over_stdio_in_both_eras_while_its_tokens_end() {
    let (node, platform) = (packages().await, platform(false).await);
    let (agent, folder) = agent(&platform).await;
    let file = agent.connection(folder.path()).unwrap();
    let binary = platform.binary().to_str().unwrap();
    let server = [binary, "stdio", "--connection", file.to_str().unwrap()];
    for era in ["legacy", "modern"] {
        let options = ["--protocol-era", era, "--format", "json", "--method"];
        let line = [&options[..], &["tools/list", "--"], &server].concat();
        let listed = inspected(&node, &line, None).await;
        assert!(listed.status.success(), "{listed:?}");
        let text = String::from_utf8_lossy(&listed.stdout);
        assert!(
            text.contains("orders.export") && text.contains("orders.get"),
            "{text}"
        );
        let before = tokens_used(&platform);
        let call = [
            "tools/call",
            "--tool-name",
            "orders.get",
            "--tool-args-json",
        ];
        let load = ["--load", "--load-duration", "6", "--load-rate", "5"];
        let arguments = [r#"{"orderId":"none"}"#];
        let line = [&options[..], &call, &arguments, &load, &["--"], &server].concat();
        let loaded = inspected(&node, &line, None).await;
        let text = String::from_utf8_lossy(&loaded.stdout);
        assert!(loaded.status.success(), "{loaded:?}");
        assert!(
            tokens_used(&platform) - before >= 3,
            "no token was renewed: {text}"
        );
        tells_no_secret(&format!("{loaded:?}"), &agent);
    }
}

#[tokio::test]
async fn the_inspector_exports_over_https_in_both_eras() {
    let (node, platform) = (packages().await, platform(true).await);
    let (agent, _folder) = agent(&platform).await;
    let authority = platform.authority().unwrap();
    for era in ["legacy", "modern"] {
        let bearer = format!("Authorization: Bearer {}", agent.token().await.unwrap());
        let week = week().to_string();
        let line = [
            agent.mcp_url(),
            "--transport",
            "http",
            "--protocol-era",
            era,
            "--header",
            &bearer,
            "--format",
            "json",
            "--method",
            "tools/call",
            "--tool-name",
            "orders.export",
            "--tool-args-json",
            &week,
        ];
        let called = inspected(&node, &line, Some(&authority)).await;
        assert!(called.status.success(), "{called:?}");
        let text = String::from_utf8_lossy(&called.stdout);
        assert!(text.contains("structuredContent"), "{text}");
        let untrusting = inspected(&node, &line, None).await;
        assert!(!untrusting.status.success(), "{untrusting:?}");
    }
}
