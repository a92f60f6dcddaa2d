//! The command line against the running platform: from nothing to a first answer, and its words
//! where something is wrong.

use portcullis_e2e::shell::{self, Ran};
use portcullis_e2e::{Http, McpClient, Platform, wait};
use serde_json::{Value, json};

use crate::answers::assert_result;

/// Runs `portcullis` with the platform's operator file.
fn portcullis(platform: &Platform, arguments: &str) -> Ran {
    let file = platform.data().join("operator.json");
    let script = format!(
        "portcullis {arguments} --operator-file '{}'",
        file.display()
    );
    shell::run(&script, platform.binary()).unwrap()
}

/// The same, and it has to succeed: what it prints.
#[track_caller]
fn printed(platform: &Platform, arguments: &str) -> String {
    let ran = portcullis(platform, arguments);
    assert!(ran.success, "{arguments}: {}", ran.err);
    ran.out
}

#[tokio::test]
async fn a_new_tenant_gets_from_the_command_line_to_its_first_answer() {
    let platform = Platform::start().await.unwrap();
    for command in [
        "tenant create newcomer --home us-east",
        "service-token create --tenant newcomer --role owner --save",
        "principal create --tenant newcomer agent:first",
        "grant add --tenant newcomer agent:first orders.read",
        "principal secret create --tenant newcomer agent:first --save",
    ] {
        printed(&platform, command);
    }
    let token = printed(&platform, "token --tenant newcomer --principal agent:first");
    let url = platform.mcp_url("newcomer");
    let client = McpClient::new(&Http::new().unwrap(), url, token.trim().to_owned());
    wait::until(
        "the new tenant",
        portcullis_e2e::agent::PATIENCE,
        || async {
            let reply = client.send("tools/list", json!({})).await?;
            Ok((reply.status == 200).then_some(()))
        },
    )
    .await
    .unwrap();
    let all = json!({"from": "2020-01-01", "to": "2030-12-31"});
    let result = assert_result(&client.call("orders.export", all).await.unwrap());
    assert_eq!(
        (&result["count"], &result["region"]),
        (&json!(0), &json!("US"))
    );
    // What the newcomer did is there for its own owner and for nobody else.
    let records = printed(
        &platform,
        "records --tenant newcomer --from 2020-01-01T00:00:00Z",
    );
    assert!(records.contains("orders.export"));
}

#[tokio::test]
async fn what_it_prints_as_json_is_json_and_holds_no_secret_unasked() {
    let platform = Platform::shared().unwrap();
    for command in [
        "--json tenant list",
        "--json tenant show acme",
        "--json principal list --tenant acme",
        "--json grant list --tenant acme agent:copilot",
        "--json tool list --tenant acme",
        "--json policy list --tenant acme",
        "--json limits show --tenant acme",
        "--json service-token list",
    ] {
        let out = printed(platform, command);
        let parsed: Result<Value, _> = serde_json::from_str(&out);
        assert!(parsed.is_ok(), "{command}: {out}");
        for secret in platform.operator().secrets() {
            assert!(!out.contains(&secret), "{command}: {out}");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_in_words_with_a_way_on() {
    let platform = Platform::shared().unwrap();
    for (command, words) in [
        ("tenant show nobody", "no such thing"),
        ("principal create --tenant acme copilot", "agent:"),
        (
            "grant add --tenant acme agent:copilot 'orders.*'",
            "wildcard",
        ),
        (
            "token --tenant acme --principal agent:nobody",
            "secret create",
        ),
        ("records --tenant acme --trace zz", "trace"),
    ] {
        let ran = portcullis(platform, command);
        assert!(!ran.success, "{command}: {}", ran.out);
        let told = ran.err;
        assert!(told.to_lowercase().contains(words), "{command}: {told}");
        assert!(!told.contains("panicked"), "{command}: {told}");
    }
}
