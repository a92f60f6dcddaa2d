//! The runbook's commands, block by block, as they stand there.

use portcullis_e2e::{Platform, shell};

const PAGE: &str = include_str!("../../../docs/runbook.md");

/// The blocks of commands, in their order.
fn blocks() -> Vec<&'static str> {
    PAGE.split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

#[tokio::test]
async fn every_command_of_the_runbook_works_as_it_is_written() {
    let platform = Platform::start().await.unwrap();
    let operator = platform.data().join("operator.json");
    let folder = tempfile::tempdir().unwrap();
    let blocks = blocks();
    assert!(blocks.len() >= 9, "{blocks:?}");
    for block in blocks {
        // The operator's file lies in its place where an operator works, and elsewhere in a test.
        let script = format!(
            "set -e\ncd '{}'\nportcullis() {{ command portcullis --operator-file '{}' \"$@\"; }}\n{block}",
            folder.path().display(),
            operator.display()
        );
        let ran = shell::run(&script, platform.binary()).unwrap();
        assert!(ran.success, "{block}\n{}\n{}", ran.out, ran.err);
    }
    let evidence = std::fs::read_to_string(folder.path().join("incident.json")).unwrap();
    let records: serde_json::Value = serde_json::from_str(&evidence).unwrap();
    assert!(records.is_array(), "{evidence}");
    // What the platform dropped is lifted again, and what the tenant dropped is still down.
    let script = format!(
        "portcullis --operator-file '{0}' --json switch status --tenant acme",
        operator.display()
    );
    let ran = shell::run(&script, platform.binary()).unwrap();
    let switches: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let kinds: Vec<_> = switches
        .as_array()
        .unwrap()
        .iter()
        .map(|switch| switch["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        ["tool-quarantine", "principal-suspension", "tenant-freeze"]
    );
}
