//! `portcullis connect`: a host's configuration is written, works as the host starts it, and is taken
//! out again without a trace.

use std::fs;
use std::path::Path;

use portcullis_e2e::bridge::Bridge;
use portcullis_e2e::shell::{self, Ran};
use portcullis_e2e::{Options, Platform};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Runs the command with a home directory of its own.
fn connect(platform: &Platform, home: &TempDir, arguments: &str) -> Ran {
    let (home, binary) = (home.path().display(), platform.binary().display());
    let operator = platform.data().join("operator.json");
    let script = format!(
        "cd {home} && HOME={home} XDG_CONFIG_HOME={home}/.config {binary} connect {arguments} \
         --operator-file {}",
        operator.display()
    );
    shell::run(&script, platform.binary()).unwrap()
}

fn connected(platform: &Platform, home: &TempDir, arguments: &str) -> Ran {
    let ran = connect(platform, home, arguments);
    assert!(ran.success, "{arguments}: {}", ran.err);
    ran
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

const COPILOT: &str = "--tenant acme --principal agent:copilot";

/// The hosts, where each looks for its configuration and under which member.
const HOSTS: [(&str, &str, &str); 7] = [
    (
        "claude",
        ".config/Claude/claude_desktop_config.json",
        "mcpServers",
    ),
    ("claude-code", ".mcp.json", "mcpServers"),
    ("vscode", ".config/Code/User/mcp.json", "servers"),
    ("cursor", ".cursor/mcp.json", "mcpServers"),
    (
        "windsurf",
        ".codeium/windsurf/mcp_config.json",
        "mcpServers",
    ),
    ("zed", ".config/zed/settings.json", "context_servers"),
    ("gemini", ".gemini/settings.json", "mcpServers"),
];

#[tokio::test]
async fn what_is_written_for_each_host_works_as_the_host_starts_it() {
    for options in [Options::default(), Options::default().by_https()] {
        let platform = Platform::start_with(options).await.unwrap();
        let home = tempfile::tempdir().unwrap();
        for (host, file, member) in HOSTS {
            connected(&platform, &home, &format!("{host} {COPILOT}"));
            let configuration = json(&home.path().join(file));
            let server = &configuration[member]["portcullis-acme"];
            assert!(!configuration.to_string().contains("pcs_"), "{host}");
            let mut bridge = Bridge::configured(server).unwrap();
            let call = json!({"name": "orders.get", "arguments": {"orderId": "none"}});
            let answer = bridge.ask(1, "tools/call", call).await.unwrap();
            let found = &answer["result"]["structuredContent"];
            assert_eq!(found, &json!({"found": false}), "{host}: {answer}");
            connected(&platform, &home, &format!("{host} --tenant acme --undo"));
            assert!(!home.path().join(file).exists(), "{host}");
        }
    }
}

#[tokio::test]
async fn credentials_that_do_not_work_change_no_host() {
    let platform = Platform::shared().unwrap();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("c.json");
    fs::write(&file, "{}").unwrap();
    for who in [
        "--tenant acme --principal agent:nobody",
        "--tenant nobody --principal agent:copilot",
        "--tenant acme",
        "--connection /nonexistent.json",
    ] {
        let ran = connect(platform, &home, &format!("claude --file c.json {who}"));
        assert!(!ran.success && !ran.err.is_empty(), "{who}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "{}", "{who}");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "{who}");
    }
}

#[tokio::test]
async fn a_broken_file_of_a_host_is_named_with_its_place_and_left_alone() {
    let platform = Platform::shared().unwrap();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("c.json");
    let broken = "{\n  \"mcpServers\": {\n";
    fs::write(&file, broken).unwrap();
    let ran = connect(platform, &home, &format!("claude --file c.json {COPILOT}"));
    assert!(!ran.success && ran.err.contains("line 3"), "{}", ran.err);
    assert_eq!(fs::read_to_string(&file).unwrap(), broken);
}

#[tokio::test]
async fn printing_and_trying_write_nothing() {
    let platform = Platform::shared().unwrap();
    let home = tempfile::tempdir().unwrap();
    for arguments in ["cursor --dry-run", "print --dry-run"] {
        let ran = connected(platform, &home, &format!("{arguments} {COPILOT}"));
        let printed: Value = serde_json::from_str(&ran.out).unwrap();
        assert!(printed["mcpServers"]["portcullis-acme"]["args"].is_array());
        assert!(!ran.out.contains("pcs_"), "{}", ran.out);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
