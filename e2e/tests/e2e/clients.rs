//! Stock MCP clients against the running binary: the official Python client, in both eras.

use portcullis_e2e::{Grants, Platform, python};
use serde_json::{Value, json};

use crate::answers::week;

/// What a mode of the client must come out as.
const MODES: [(&str, &str); 2] = [("auto", "2026-07-28"), ("legacy", "2025-11-25")];

async fn drive(platform: &Platform, grants: &Grants, mode: &str, steps: Value) -> Value {
    let agent = platform.agent("acme", grants).await.unwrap();
    let token = agent.caller().await.unwrap().token().to_owned();
    let asked = json!({"url": agent.mcp_url(), "token": token, "mode": mode, "steps": steps});
    tokio::task::spawn_blocking(move || python::script("drive.py", &asked).unwrap())
        .await
        .unwrap()
}

#[tokio::test]
async fn the_python_client_lists_and_calls_in_both_eras() {
    let platform = Platform::shared().unwrap();
    for (mode, revision) in MODES {
        let steps = json!([
            {"list": true},
            {"call": "orders.export", "arguments": week()},
            {"call": "orders.get", "arguments": {"orderId": "no-such-order"}},
        ]);
        let answer = drive(platform, &Grants::default(), mode, steps).await;
        assert_eq!(answer["protocol"], revision, "{answer}");
        assert_eq!(answer["server"], "portcullis", "{answer}");
        let names: Vec<_> = answer["steps"][0]["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| tool["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["orders.export", "orders.get"]);
        let export = &answer["steps"][1];
        assert_eq!(export["isError"], false, "{export}");
        let rows = export["structuredContent"]["rows"].as_array().unwrap();
        assert!(!rows.is_empty());
        let emails: Vec<_> = rows
            .iter()
            .filter_map(|row| row["email"].as_str())
            .collect();
        assert_eq!(emails.len(), rows.len());
        assert!(
            emails.iter().all(|email| !email.contains("example.com")),
            "{emails:?}"
        );
        let text = export["content"][0]["text"].as_str().unwrap();
        let parsed: Value = serde_json::from_str(text).unwrap();
        assert_eq!(
            parsed, export["structuredContent"],
            "the text says the same"
        );
        assert!(
            export["_meta"]["dev.portcullis/receipt"]["record"].is_string(),
            "{export}"
        );
        assert_eq!(
            answer["steps"][2]["structuredContent"],
            json!({"found": false})
        );
    }
}

#[tokio::test]
async fn the_python_client_reads_a_refusal_as_words() {
    let platform = Platform::shared().unwrap();
    for (mode, _) in MODES {
        let mut arguments = week();
        arguments["evil"] = json!("oops");
        let steps = json!([{"call": "orders.export", "arguments": arguments}]);
        let answer = drive(platform, &Grants::default(), mode, steps).await;
        let refusal = &answer["steps"][0];
        assert_eq!(refusal["isError"], true, "{answer}");
        let text = refusal["content"][0]["text"].as_str().unwrap();
        assert!(text.starts_with("DENY:") && text.contains("evil"), "{text}");
        let problem = &refusal["_meta"]["dev.portcullis/problem"];
        assert_eq!(problem["type"], "/problems/invalid-arguments", "{answer}");
    }
}

#[tokio::test]
async fn the_python_client_gets_an_error_for_an_unknown_tool() {
    let platform = Platform::shared().unwrap();
    for (mode, _) in MODES {
        let steps = json!([{"call": "orders.destroy", "arguments": {}}]);
        let answer = drive(platform, &Grants::default(), mode, steps).await;
        let error = &answer["steps"][0]["error"];
        assert_eq!(error["code"], -32_602, "{answer}");
        assert!(
            error["message"].as_str().unwrap().contains("unknown tool"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn the_python_client_of_a_principal_without_these_grants_sees_no_tool() {
    let platform = Platform::shared().unwrap();
    for (mode, _) in MODES {
        let steps = json!([
            {"list": true},
            {"call": "orders.get", "arguments": {"orderId": "x"}},
        ]);
        let answer = drive(platform, &Grants::of(&["reports.read"]), mode, steps).await;
        assert_eq!(answer["steps"][0]["tools"], json!([]), "{answer}");
        assert_eq!(answer["steps"][1]["error"]["code"], -32_602, "{answer}");
    }
}

#[tokio::test]
async fn the_python_client_with_a_bad_token_gets_words_not_an_opaque_error() {
    let platform = Platform::shared().unwrap();
    for (mode, _) in MODES {
        let asked = json!({
            "url": platform.mcp_url("acme"), "token": "garbage", "mode": mode,
            "steps": [{"list": true}],
        });
        let answer = tokio::task::spawn_blocking(move || python::script("drive.py", &asked))
            .await
            .unwrap()
            .unwrap();
        let text = answer.to_string();
        assert!(text.contains("access token"), "{mode}: {text}");
        assert!(
            !text.contains("Server returned an error response"),
            "{mode}: {text}"
        );
    }
}
