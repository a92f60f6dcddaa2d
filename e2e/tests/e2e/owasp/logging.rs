//! Logs and records: no personal value, no token.

use portcullis_e2e::{Grants, Http, McpClient, Options, Platform, Reply};
use serde_json::{Value, json};

use crate::answers::EU;

/// Values that stand nowhere else, sent wherever a caller can put one.
async fn plant(platform: &Platform, client: &McpClient, email: &str, card: &str) -> Vec<String> {
    let http = Http::new().unwrap();
    let secret = "pcs_0000000000000000000000000000000000000planted";
    let call = |name: &str, arguments: Value| {
        let params = json!({"name": name, "arguments": arguments});
        client.request(&client.body("tools/call", params))
    };
    let url = |path: &str| format!("{}{path}", platform.url());
    let query = format!("/t/acme/mcp?access_token={}&email={email}", client.token());
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", email),
        ("client_secret", secret),
    ];
    let requests = [
        call("orders.get", json!({"orderId": email})),
        call("orders.get", json!({"orderId": "x", email: card})),
        call(
            "orders.get",
            json!({"orderId": {"note": email, "card": card}}),
        ),
        call(email, json!({"card": card})),
        client.request(&client.body(email, json!({"card": card}))),
        client.request(&client.body("initialize", json!({"protocolVersion": email}))),
        call("orders.get", json!({"orderId": "none"})).header("user-agent", email),
        http.post(&url(&query)).json(&json!({"email": email})),
        http.post(client.url())
            .bearer_auth(format!("{email}.{card}.x")),
        http.post(&url("/oauth/token")).form(&form),
        http.get(&url(&format!("/api/v1/tenants/{email}")))
            .bearer_auth("pst_planted"),
        http.post(&url(&format!("/t/acme/tools/{email}")))
            .bearer_auth(client.token())
            .json(&json!({})),
    ];
    for request in requests {
        Reply::to(request).await.unwrap();
    }
    let encoded = email.replace('@', "%40");
    [email, &encoded, card, secret, "pst_planted"]
        .map(str::to_owned)
        .to_vec()
}

#[tokio::test]
async fn owasp_logging_no_personal_value_and_no_token_is_in_the_logs() {
    for level in ["info", "debug"] {
        let options = Options::default().with("PORTCULLIS_TELEMETRY_LOG_LEVEL", level);
        let platform = Platform::start_with(options).await.unwrap();
        let agent = platform.agent("acme", &Grants::default()).await.unwrap();
        let client = agent.caller().await.unwrap();
        let email = "planted.person@example.com";
        let mut planted = plant(&platform, &client, email, "4111111111111111").await;
        // A fault logs more than a success does.
        let away = platform.database(EU).take_away().unwrap();
        client
            .call("orders.get", json!({"orderId": "planted-order-id"}))
            .await
            .unwrap();
        drop(away);
        planted.push("planted-order-id".to_owned());
        planted.push(client.token().to_owned());
        planted.extend(client.token().split('.').skip(1).map(str::to_owned));
        planted.push(agent.client_secret.clone());
        planted.extend(platform.operator().secrets());
        let logs = platform.logs().unwrap();
        assert!(logs.len() > 100, "the logs were not found: {logs}");
        for value in planted {
            let found = logs.lines().find(|line| line.contains(&value));
            assert!(
                found.is_none(),
                "{level}: `{value}` is logged: {}",
                found.unwrap_or_default()
            );
        }
    }
}

#[tokio::test]
async fn owasp_logging_no_personal_value_is_in_the_records_in_the_clear() {
    let platform = Platform::start().await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    let planted = plant(
        &platform,
        &client,
        "planted.person@example.com",
        "4111111111111111",
    )
    .await;
    for name in [
        "portcullis_control",
        "portcullis_eu_west",
        "portcullis_us_east",
    ] {
        let dump = dump(&platform, name);
        assert!(dump.contains("COPY"), "{name} was not dumped");
        for value in &planted {
            // The dump writes bytea in hex.
            let hex = hex(value);
            assert!(
                !dump.contains(value) && !dump.contains(&hex),
                "`{value}` is in {name}"
            );
        }
    }
}

fn hex(text: &str) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap();
    text.bytes()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

fn dump(platform: &Platform, name: &str) -> String {
    platform.database(name).dump().unwrap()
}
