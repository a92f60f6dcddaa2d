//! The command line without a server: what is understood, what is refused, and with which exit code.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::{CommandFactory, Parser};
use portcullis_domain::ManualClock;

use super::{Command, Options, run};

#[derive(Debug, Parser)]
#[command(name = "portcullis")]
struct CommandLine {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

/// The exit code, standard output and standard error.
async fn portcullis(arguments: &[&str]) -> (u8, String, String) {
    let line = std::iter::once("portcullis").chain(arguments.iter().copied());
    let line = match CommandLine::try_parse_from(line) {
        Ok(line) => line,
        Err(error) => return (2, String::new(), error.to_string()),
    };
    let (mut out, mut hints) = (Vec::new(), Vec::new());
    let clock = ManualClock::at(1_756_000_000);
    let code = run(line.command, &line.options, &clock, &mut out, &mut hints).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (code, text(out), text(hints))
}

fn operator_file(dir: &Path, server: &str) -> String {
    let path = dir.join("operator.json");
    let text = format!(
        r#"{{"server":"{server}","platform_token":"pst_p","tenants":{{"acme":{{"owner_token":"pst_o"}}}}}}"#
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_command_line_is_sound() {
    CommandLine::command().debug_assert();
}

#[tokio::test]
async fn a_server_that_is_away_is_told_with_its_own_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    // A port that was just free: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let file = operator_file(dir.path(), &format!("http://127.0.0.1:{port}"));
    let (code, out, hints) = portcullis(&["tenant", "list", "--operator-file", &file]).await;
    assert_eq!((code, out.as_str()), (3, ""));
    assert!(hints.contains("portcullis up"), "{hints}");
    assert!(!hints.contains("pst_"), "{hints}");
}

#[tokio::test]
async fn without_an_operator_file_it_says_what_to_start() {
    let (code, _, hints) = portcullis(&[
        "tenant",
        "list",
        "--operator-file",
        "/nonexistent/operator.json",
    ])
    .await;
    assert_eq!(code, 1);
    assert!(hints.contains("portcullis up"), "{hints}");
}

#[tokio::test]
async fn the_operators_tokens_are_not_sent_to_another_server() {
    let dir = tempfile::tempdir().unwrap();
    let file = operator_file(dir.path(), "http://127.0.0.1:1");
    let other = [
        "--server",
        "https://gate.example.com",
        "--operator-file",
        &file,
    ];
    let line = [&["tenant", "list"][..], &other].concat();
    let (code, _, hints) = portcullis(&line).await;
    assert_eq!(code, 2);
    assert!(hints.contains("--token-file"), "{hints}");
}

#[tokio::test]
async fn a_token_file_that_holds_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    for text in ["", "pcs_abc", "pst_a b", "hello\npst_x"] {
        std::fs::write(&path, text).unwrap();
        let file = path.to_str().unwrap();
        let server = ["--server", "http://127.0.0.1:1", "--token-file", file];
        let line = [&["tenant", "list"][..], &server].concat();
        let (code, _, hints) = portcullis(&line).await;
        assert_eq!(code, 2, "{text}: {hints}");
    }
}

#[tokio::test]
async fn wrong_arguments_are_a_matter_of_usage() {
    for line in [
        &["tenant", "create", "x1"][..],
        &["tenant", "create", "x1", "--home", "mars"],
        &[
            "grant",
            "add",
            "--tenant",
            "acme",
            "agent:copilot",
            "orders.*",
        ],
        &["principal", "create", "--tenant", "acme", "copilot"],
        &["records", "--tenant", "acme"],
        &["records", "--tenant", "acme", "--trace", "zz"],
        &["service-token", "create", "--role", "root"],
        &["token", "--tenant", "acme"],
        &[
            "token",
            "--tenant",
            "acme",
            "--client-id",
            "prn_0199a6b0c0007000800000000000002a",
        ],
    ] {
        let (code, out, hints) = portcullis(line).await;
        assert_eq!((code, out.as_str()), (2, ""), "{line:?}");
        assert!(
            hints.contains("Usage") || hints.contains("error"),
            "{hints}"
        );
    }
}

#[tokio::test]
async fn the_operator_file_keeps_only_owners() {
    let line = [
        "service-token",
        "create",
        "--tenant",
        "acme",
        "--role",
        "viewer",
        "--save",
    ];
    let (code, _, hints) = portcullis(&line).await;
    assert_eq!(code, 2);
    assert!(hints.contains("--out"), "{hints}");
}
