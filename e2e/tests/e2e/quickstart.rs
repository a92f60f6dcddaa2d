//! The newcomer's way: the commands that `up` prints, unchanged, in another shell.

use std::time::Duration;

use portcullis_e2e::bridge::Bridge;
use portcullis_e2e::{Options, Platform, shell};
use serde_json::{Value, json};

use crate::answers::ids;

/// The commands of the instructions: first those that set a variable, then the calls.
fn commands(instructions: &str) -> (Vec<String>, Vec<String>) {
    let lines = instructions
        .lines()
        .filter(|line| line.starts_with("  ") && (line.contains("=$(") || line.contains("curl ")))
        .map(|line| line.trim().to_owned());
    let (tokens, calls): (Vec<_>, Vec<_>) = lines.partition(|line| line.contains("=$("));
    assert!(tokens.len() >= 2 && calls.len() >= 5, "{instructions}");
    (tokens, calls)
}

fn answer(platform: &Platform, script: &str) -> Value {
    let ran = shell::run(script, platform.binary()).unwrap();
    assert!(ran.success, "{script}: {}", ran.err);
    let json = serde_json::from_str(&ran.out);
    json.map_err(|error| format!("{error}: {script}: {}", ran.out))
        .unwrap()
}

#[tokio::test]
async fn the_printed_commands_work_as_they_are_printed() {
    let options = Options::default().for_people();
    work_as_they_are_printed(&Platform::start_with(options).await.unwrap());
}

#[tokio::test]
async fn the_commands_that_are_printed_for_https_work_as_they_are_printed() {
    let options = Options::default().for_people().by_https();
    let platform = Platform::start_with(options).await.unwrap();
    assert!(platform.url().starts_with("https://"), "{}", platform.url());
    work_as_they_are_printed(&platform);
    // Without the platform's own authority nobody believes the certificate.
    let instructions = platform.ready().as_str().unwrap();
    let (_, calls) = commands(instructions);
    let (before, after) = calls[0].split_once("--cacert ").unwrap();
    let (_, after) = after.split_once(' ').unwrap();
    let ran = shell::run(&format!("{before}{after}"), platform.binary()).unwrap();
    assert!(!ran.success && ran.out.is_empty(), "{}", ran.out);
}

fn work_as_they_are_printed(platform: &Platform) {
    let instructions = platform.ready().as_str().unwrap().to_owned();
    let (tokens, calls) = commands(&instructions);
    // Each variable can be set in each way that is shown; each call works with each.
    let (first, rest) = tokens.split_at(2);
    let (ticket, rest) = rest.split_last().unwrap();
    assert!(
        first[0].starts_with("ACME=") && first[1].starts_with("GLOBEX="),
        "{tokens:?}"
    );
    let ways = std::iter::once(first.join("\n"))
        .chain(rest.iter().map(|other| format!("{}\n{other}", first[1])));
    let (calls, changes) = calls.split_at(5);
    for set in ways {
        let answers: Vec<Value> = calls
            .iter()
            .map(|call| answer(platform, &format!("{set}\n{call}")))
            .collect();
        let over_http = &answers[0]["result"];
        let over_mcp = &answers[1]["result"]["structuredContent"];
        assert!(ids(over_http).len() > 100, "{}", answers[0]);
        assert_eq!(over_http, over_mcp);
        for row in over_http["rows"].as_array().unwrap() {
            assert!(row["email"].as_str().unwrap().contains('*'), "{row}");
        }
        let unknown = answers[2].to_string();
        assert!(
            unknown.contains("evil") && unknown.contains("invalid-arguments"),
            "{unknown}"
        );
        assert_eq!(answers[3]["status"], 401, "{}", answers[3]);
        assert_eq!(answers[4]["result"], json!({"found": false}));
    }
    // A call that this test does not know would go untried.
    assert_eq!(changes.len(), 4, "{changes:?}");
    let [set, again, denied, agreed] = [0, 1, 2, 3].map(|index| &changes[index]);
    let words = |script: &str| {
        let answer = answer(platform, &format!("{}\n{script}", first[0]));
        let words = answer.pointer("/result/content/0/text").cloned();
        words.unwrap().as_str().unwrap().to_owned()
    };
    assert_eq!(words(set), "Flag checkout_v2 set to 25% in staging");
    assert!(words(again).starts_with("OK (idempotent)"));
    assert!(words(denied).starts_with("DENY: prod change >10% requires change ticket"));
    let with_ticket = format!("{ticket}\n{agreed}");
    let done = (0..50)
        .map(|_| words(&with_ticket))
        .find(|words| !words.starts_with("DENY"));
    assert_eq!(done.unwrap(), "Flag checkout_v2 set to 50% in prod");
}

#[tokio::test]
async fn the_printed_configuration_of_a_host_works_and_goes_on_working() {
    for options in [Options::default(), Options::default().by_https()] {
        // Ten minutes are more than a test can wait; a token of a second ends as well.
        let options = options
            .for_people()
            .with("PORTCULLIS_TOKENS_LIFETIME_SECONDS", "1");
        let platform = Platform::start_with(options).await.unwrap();
        let said = platform.ready().as_str().unwrap();
        let line = said.lines().find(|line| line.contains("mcpServers"));
        let configuration: Value = serde_json::from_str(line.unwrap()).unwrap();
        let server = &configuration["mcpServers"]["portcullis-acme"];
        let mut bridge = Bridge::configured(server).unwrap();
        let uses = || {
            let control = platform.database("portcullis_control");
            let uses = control.query("select count(*) from token_bindings");
            uses.unwrap().trim().parse::<u32>().unwrap()
        };
        let mut number = 0;
        while uses() < 3 {
            number += 1;
            assert!(number < 200, "no token is renewed");
            let call = json!({"name": "orders.get", "arguments": {"orderId": "none"}});
            let answer = bridge.ask(number, "tools/call", call).await.unwrap();
            let found = &answer["result"]["structuredContent"];
            assert_eq!(found, &json!({"found": false}), "{answer}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn the_instructions_and_the_ready_line_show_no_secret() {
    let for_people = Platform::start_with(Options::default().for_people())
        .await
        .unwrap();
    for platform in [&for_people, Platform::shared().unwrap()] {
        let said = platform.ready().to_string();
        for secret in platform.operator().secrets() {
            assert!(!said.contains(&secret), "a secret is printed: {said}");
        }
        assert!(said.contains(&platform.mcp_url("acme")), "{said}");
    }
}

#[tokio::test]
async fn the_commands_leave_no_token_in_the_process_list() {
    // What stands on a command line, every user of the machine can read.
    let platform = Platform::start_with(Options::default().for_people())
        .await
        .unwrap();
    let (tokens, _) = commands(platform.ready().as_str().unwrap());
    for command in tokens {
        for mark in ["pcs_", "pst_", "client_secret="] {
            assert!(!command.contains(mark), "{command}");
        }
    }
}
