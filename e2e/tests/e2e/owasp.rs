//! The rows of the OWASP API table (playbook, pocket table) that exist by now, one test or more each.

use std::collections::BTreeSet;
use std::net::IpAddr;

use portcullis_e2e::mcp::PROBLEM;
use portcullis_e2e::{Grants, Http, McpClient, Options, Platform, Reply};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::answers::{EU, US, assert_denied, assert_result, comparable, ids, orders_of, week};

async fn an_order_of(platform: &Platform, tenant: &str) -> String {
    let client = platform.caller(tenant).await.unwrap();
    let rows = assert_result(&client.call("orders.export", week()).await.unwrap())["rows"].clone();
    rows[0]["orderId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn owasp_bola_a_foreign_order_is_byte_for_byte_an_absent_one() {
    let platform = Platform::shared().unwrap();
    let foreign = an_order_of(platform, "acme").await;
    let absent = foreign.replacen('_', "-", 1);
    let client = platform.caller("globex").await.unwrap();
    for region in [None, Some("EU"), Some("US")] {
        let mut seen = Vec::new();
        for id in [&foreign, &absent] {
            let mut arguments = json!({"orderId": id});
            if let Some(region) = region {
                arguments["region"] = json!(region);
            }
            let over_mcp = client.call("orders.get", arguments.clone()).await.unwrap();
            assert_eq!(
                assert_result(&over_mcp),
                json!({"found": false}),
                "{region:?}"
            );
            let plain = Http::new()
                .unwrap()
                .post(&platform.tool_url("globex", "orders.get"))
                .bearer_auth(client.token())
                .json(&arguments);
            let plain = Reply::to(plain).await.unwrap();
            let both = format!("{}\n{}", comparable(&over_mcp), comparable(&plain));
            seen.push(both.replace(id.as_str(), "ID"));
        }
        assert_eq!(seen[0], seen[1], "{region:?}");
    }
    let owner = platform.caller("acme").await.unwrap();
    let own = owner
        .call("orders.get", json!({"orderId": foreign}))
        .await
        .unwrap();
    assert_eq!(assert_result(&own)["found"], true, "its owner finds it");
}

#[tokio::test]
async fn owasp_bola_an_export_holds_rows_of_its_tenant_alone() {
    let platform = Platform::shared().unwrap();
    for (tenant, pool) in [("acme", EU), ("globex", US)] {
        let client = platform.caller(tenant).await.unwrap();
        let all = json!({"from": "2020-01-01", "to": "2030-12-31"});
        let result = assert_result(&client.call("orders.export", all).await.unwrap());
        assert_eq!(
            ids(&result),
            orders_of(platform, tenant, pool).await,
            "{tenant}"
        );
    }
}

#[tokio::test]
async fn owasp_broken_auth_a_tool_is_never_run_without_a_token_of_its_tenant() {
    let platform = Platform::shared().unwrap();
    let globex = platform.caller("globex").await.unwrap();
    let http = Http::new().unwrap();
    let service = platform.operator().owner_token("acme").unwrap();
    for token in [
        None,
        Some(globex.token()),
        Some("x"),
        Some(service.as_str()),
    ] {
        for url in [
            platform.mcp_url("acme"),
            platform.tool_url("acme", "orders.export"),
        ] {
            let call = globex.body(
                "tools/call",
                json!({
                    "name": "orders.export", "arguments": week(),
                }),
            );
            let mut request = http.post(&url).json(&call);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let reply = Reply::to(request).await.unwrap();
            assert_eq!(reply.status, 401, "{url}: {}", reply.told());
            assert!(!reply.text().contains("orderId"), "{}", reply.told());
        }
    }
}

#[tokio::test]
async fn owasp_broken_auth_guessing_secrets_is_slowed_down_where_it_comes_from() {
    let platform = Platform::shared().unwrap();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let mut guess = agent.clone();
    guess.client_secret = format!("pcs_{}", "A".repeat(43));
    let elsewhere = Http::calling_from(IpAddr::from([127, 0, 0, 77])).unwrap();
    let mut statuses = BTreeSet::new();
    for _ in 0..100 {
        let reply = guess.ask_for_token(&elsewhere, None).await.unwrap();
        if reply.status == 429 {
            let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&seconds), "{}", reply.told());
        }
        statuses.insert(reply.status);
    }
    assert_eq!(statuses, BTreeSet::from([401, 429]));
    // The client itself, elsewhere, is not locked out by whoever guesses in its name.
    assert_eq!(
        agent
            .ask_for_token(&Http::new().unwrap(), None)
            .await
            .unwrap()
            .status,
        200
    );
}

#[tokio::test]
async fn owasp_excess_exposure_emails_are_masked_unasked_and_cannot_be_unmasked() {
    let platform = Platform::shared().unwrap();
    let client = platform.caller("acme").await.unwrap();
    for mask in [
        None,
        Some(json!([])),
        Some(json!(["phone"])),
        Some(json!(["email", "phone"])),
    ] {
        let mut arguments = week();
        if let Some(mask) = &mask {
            arguments["mask"] = mask.clone();
        }
        let reply = client.call("orders.export", arguments).await.unwrap();
        let result = assert_result(&reply);
        assert!(!reply.text().contains("@example."), "{mask:?}");
        for row in result["rows"].as_array().unwrap() {
            let email = row["email"].as_str().unwrap();
            assert!(email.contains('*'), "{mask:?}: {email}");
            let phone = row["phone"].as_str().unwrap();
            let asked = mask
                .as_ref()
                .is_some_and(|mask| mask.to_string().contains("phone"));
            assert!(!asked || phone.contains('*'), "{mask:?}: {phone}");
        }
    }
}

#[tokio::test]
async fn owasp_excess_exposure_personal_data_in_free_text_is_masked() {
    let platform = Platform::shared().unwrap();
    for (tenant, pool) in [("acme", EU), ("globex", US)] {
        let client = platform.caller(tenant).await.unwrap();
        let notes = platform
            .database(pool)
            .query("select distinct note from orders")
            .unwrap();
        for planted in [
            "4111 1111 1111 1111",
            "DE89 3704 0044 0532 0130 00",
            "@example.",
        ] {
            assert!(notes.contains(planted), "no note of {pool} holds {planted}");
        }
        let all = json!({"from": "2020-01-01", "to": "2030-12-31"});
        let reply = client.call("orders.export", all).await.unwrap();
        let result = assert_result(&reply);
        let rows = result["rows"].as_array().unwrap().iter();
        let remarks: Vec<_> = rows.filter_map(|row| row["note"].as_str()).collect();
        assert!(
            remarks.iter().any(|note| note.contains("Ring twice")),
            "notes are shown"
        );
        let together = remarks.join("\n");
        for planted in [
            "4111",
            "3704 0044",
            "@example.",
            "555-01",
            "+49 30",
            "+33 1",
        ] {
            assert!(
                !together.contains(planted),
                "{tenant}: `{planted}` in a note"
            );
        }
    }
}

#[tokio::test]
async fn owasp_excess_exposure_a_result_has_only_declared_fields() {
    let platform = Platform::shared().unwrap();
    let client = platform.caller("acme").await.unwrap();
    let listed = client.send("tools/list", json!({})).await.unwrap();
    let export = listed.at("/result/tools/0/outputSchema/properties/rows/items/properties");
    let declared: BTreeSet<_> = export.as_object().unwrap().keys().cloned().collect();
    let result = assert_result(&client.call("orders.export", week()).await.unwrap());
    for row in result["rows"].as_array().unwrap() {
        let shown: BTreeSet<_> = row.as_object().unwrap().keys().cloned().collect();
        assert!(shown.is_subset(&declared), "{shown:?}");
    }
    assert!(!result.to_string().contains("tenant_id"));
}

#[tokio::test]
async fn owasp_lack_of_limits_a_burst_is_429_and_never_5xx() {
    let platform = Platform::start().await.unwrap();
    let agent = platform.seeded("acme", "agent:copilot").unwrap();
    let client = agent.caller().await.unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..200 {
        let client = client.clone();
        calls.spawn(async move { client.call("orders.export", week()).await.unwrap() });
    }
    let replies = calls.join_all().await;
    let count = |status| {
        replies
            .iter()
            .filter(|reply| reply.status == status)
            .count()
    };
    assert_eq!(count(200) + count(429), 200, "nothing but 200 and 429");
    assert!(
        count(200) > 0 && count(429) > 0,
        "{} passed, {} did not",
        count(200),
        count(429)
    );
    for reply in replies.iter().filter(|reply| reply.status == 429) {
        let told = reply.told();
        let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{told}");
        assert!(
            reply
                .header("ratelimit")
                .is_some_and(|value| value.contains("r=0")),
            "{told}"
        );
        assert!(
            reply
                .header("ratelimit-policy")
                .is_some_and(|value| value.contains("q=")),
            "{told}"
        );
        let kind = reply.at("/error/data/type");
        let known = ["/problems/rate-limited", "/problems/concurrency-limited"];
        assert!(known.contains(&kind.as_str().unwrap_or_default()), "{told}");
    }
}

#[tokio::test]
async fn owasp_lack_of_limits_one_tenants_flood_is_not_anothers_limit() {
    let platform = Platform::start().await.unwrap();
    let flooder = platform
        .seeded("acme", "agent:copilot")
        .unwrap()
        .caller()
        .await
        .unwrap();
    let neighbour = platform.caller("globex").await.unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..400 {
        let client = flooder.clone();
        calls.spawn(async move {
            client
                .call("orders.get", json!({"orderId": "none"}))
                .await
                .unwrap()
                .status
        });
    }
    for _ in 0..20 {
        let reply = neighbour
            .call("orders.get", json!({"orderId": "none"}))
            .await
            .unwrap();
        assert_result(&reply);
    }
    assert!(calls.join_all().await.contains(&429));
}

#[tokio::test]
async fn owasp_lack_of_limits_a_smaller_limit_holds_within_moments() {
    let platform = Platform::shared().unwrap();
    let tight = Grants::default().and_limits(json!({
        "rpm": 1, "burst": 3, "concurrency": 5, "daily_cost_usd": 50,
    }));
    let agent = platform.agent("acme", &tight).await.unwrap();
    let token = agent.token().await.unwrap();
    let client = McpClient::new(&Http::new().unwrap(), agent.mcp_url().to_owned(), token);
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(client.send("tools/list", json!({})).await.unwrap().status);
    }
    // Until the replica knows the principal it answers 401; from then on, three and no more.
    let admitted = statuses.iter().filter(|status| **status == 200).count();
    assert!(admitted <= 3, "{statuses:?}");
}

#[tokio::test]
async fn owasp_mass_assignment_an_unknown_field_is_refused_by_name() {
    let platform = Platform::shared().unwrap();
    let client = platform.caller("acme").await.unwrap();
    for field in ["evil", "tenant_id", "__proto__", "limit", "From"] {
        let mut arguments = week();
        arguments[field] = json!("oops");
        let reply = client
            .call("orders.export", arguments.clone())
            .await
            .unwrap();
        assert_denied(&reply, "invalid-arguments");
        assert!(reply.words().contains(field), "{}", reply.words());
        let plain = Http::new()
            .unwrap()
            .post(&platform.tool_url("acme", "orders.export"))
            .bearer_auth(client.token())
            .json(&arguments);
        let plain = Reply::to(plain).await.unwrap();
        assert_eq!(plain.status, 400, "{}", plain.told());
        assert_eq!(plain.json()["type"], "/problems/invalid-arguments");
        assert!(plain.text().contains(field), "{}", plain.told());
    }
}

#[tokio::test]
async fn owasp_mass_assignment_the_management_api_refuses_unknown_members_too() {
    let platform = Platform::shared().unwrap();
    let owner = platform.owner("acme").unwrap();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let principal = format!("/tenants/acme/principals/{}", agent.client_id);
    for (method, path, body) in [
        (
            "POST",
            "/tenants/acme/principals".to_owned(),
            json!({"name": "agent:x", "role": "owner"}),
        ),
        (
            "POST",
            format!("{principal}/grants"),
            json!({"scope": "a.b", "granted_by": "user:boss"}),
        ),
        (
            "PATCH",
            principal.clone(),
            json!({"status": "active", "tenant_id": "x"}),
        ),
        (
            "PATCH",
            "/tenants/acme".to_owned(),
            json!({"home_pool": "us-east"}),
        ),
    ] {
        let method: reqwest::Method = method.parse().unwrap();
        let tag = owner.get(&path).await.unwrap();
        let tag = tag.header("etag").unwrap_or("\"1\"").to_owned();
        let request = owner
            .request(method, &path)
            .header("if-match", tag)
            .json(&body);
        let reply = Reply::to(request).await.unwrap();
        assert_eq!(reply.status, 422, "{path}: {}", reply.told());
    }
}

#[tokio::test]
async fn owasp_injection_payloads_are_values_and_nothing_else() {
    let platform = Platform::shared().unwrap();
    let client = platform.caller("acme").await.unwrap();
    let payloads = [
        "' or '1'='1",
        "1; drop table orders; --",
        "x' union select * from principals --",
        "${jndi:ldap://127.0.0.1/x}",
        "$(id)",
        "`id`",
        "../../etc/passwd",
        "{{7*7}}",
        "%00",
        "\u{0}",
        "a\r\nSet-Cookie: x=1",
        "<script>alert(1)</script>",
        "𝕒𝕔𝕞𝕖",
    ];
    for payload in payloads {
        let by_id = client
            .call("orders.get", json!({"orderId": payload}))
            .await
            .unwrap();
        assert_denied(&by_id, "invalid-arguments");
        assert!(by_id.header("set-cookie").is_none());
        let mut arguments = week();
        arguments["from"] = json!(payload);
        let by_date = client.call("orders.export", arguments).await.unwrap();
        assert_denied(&by_date, "invalid-arguments");
        let by_name = client.call(payload, json!({})).await.unwrap();
        assert!(
            by_name.status < 500 && !by_name.is_tool_error(),
            "{}",
            by_name.told()
        );
        assert!(by_name.error_code().is_some(), "{}", by_name.told());
    }
    let kept = client.call("orders.export", week()).await.unwrap();
    assert!(
        assert_result(&kept)["count"].as_u64().unwrap() > 0,
        "the orders are still there"
    );
}

#[tokio::test]
async fn owasp_injection_a_refusal_does_not_carry_the_value_back() {
    let platform = Platform::shared().unwrap();
    let client = platform.caller("acme").await.unwrap();
    let mut arguments = week();
    arguments["to"] = json!("jo.doe@example.com");
    let reply = client.call("orders.export", arguments).await.unwrap();
    assert_denied(&reply, "invalid-arguments");
    assert!(!reply.text().contains("jo.doe"), "{}", reply.told());
    assert_eq!(reply.meta(PROBLEM)["facts"]["field"], "to");
}

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

#[tokio::test]
async fn owasp_misconfiguration_the_servers_are_private_to_their_machine_and_user() {
    let platform = Platform::shared().unwrap();
    assert!(platform.address().unwrap().ip().is_loopback());
    let listening = platform
        .database("postgres")
        .query("show listen_addresses")
        .unwrap();
    assert_eq!(listening, "", "the database listens on no network");
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        let value = platform
            .database("postgres")
            .query(&format!("show {setting}"))
            .unwrap();
        assert_eq!(value, "on", "{setting}");
    }
    for file in ["operator.json", "keys.json", "secrets/admin.password"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = platform
            .data()
            .join(file)
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{file} can be read by others");
    }
}

#[tokio::test]
async fn owasp_inventory_every_tool_has_a_hash_and_a_closed_schema() {
    let platform = Platform::shared().unwrap();
    let owner = platform.owner("acme").unwrap();
    let tools = owner.get("/tenants/acme/tools").await.unwrap();
    let items = tools.at("/items");
    assert!(
        items.as_array().is_some_and(|items| items.len() >= 2),
        "{}",
        tools.told()
    );
    for tool in items.as_array().unwrap() {
        assert!(
            tool["sha256"].as_str().is_some_and(|hash| hash.len() >= 43),
            "{tool}"
        );
        assert_ne!(tool["sha256"], Value::Null);
    }
}
