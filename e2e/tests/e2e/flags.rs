//! Feature flags through the public port: bounds, change tickets, and the history that stays. The
//! playbook's adversarial cases (play 9) are among them.

use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_e2e::agent::{Grants, PATIENCE};
use portcullis_e2e::http::{Http, Reply};
use portcullis_e2e::{McpClient, Platform, shell, wait};
use serde_json::{Value, json};

use crate::answers::{EU, US, assert_denied, assert_result};

fn shared() -> &'static Platform {
    Platform::shared().unwrap()
}

async fn caller(tenant: &str) -> McpClient {
    let grants = Grants::of(&[
        "flags.read",
        "flags.write:dev",
        "flags.write:staging",
        "flags.write:prod",
    ]);
    let agent = shared().agent(tenant, &grants).await.unwrap();
    agent.caller().await.unwrap()
}

/// An idempotency key that nobody else has.
fn key() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:08x}-0000-4000-8000-{number:012x}", std::process::id())
}

/// A flag that no other test sets. Its name has no digits, which could pass for a telephone number.
fn flag() -> String {
    let letters = key()
        .chars()
        .filter_map(|c| c.to_digit(16))
        .filter_map(|digit| char::from_digit(digit + 10, 36))
        .collect::<String>();
    format!("flag_{letters}")
}

async fn set(client: &McpClient, name: &str, env: &str, pct: Value) -> Reply {
    let arguments = json!({"name": name, "env": env, "rolloutPct": pct, "idemKey": key()});
    client.call("flag.set", arguments).await.unwrap()
}

async fn set_with(client: &McpClient, name: &str, env: &str, ticket: &str) -> Reply {
    let arguments = json!({
        "name": name, "env": env, "rolloutPct": 50, "ticket": ticket, "idemKey": key(),
    });
    client.call("flag.set", arguments).await.unwrap()
}

/// Opens a ticket that lasts so many seconds, as a person does it.
fn ticket(tenant: &str, name: &str, env: &str, lasts: u32) -> String {
    let platform = shared();
    let file = platform.data().join("operator.json");
    let script = format!(
        "portcullis ticket open --operator-file '{}' --json --tenant {tenant} --tool flag.set \
         --arg name={name} --arg env={env} --reason 'A test' --expires-in {lasts}s",
        file.display()
    );
    let ran = shell::run(&script, platform.binary()).unwrap();
    assert!(ran.success, "{script}: {}", ran.err);
    let made: Value = serde_json::from_str(&ran.out).unwrap();
    made["id"].as_str().unwrap().to_owned()
}

/// Calls with a ticket until the replica has heard of it.
async fn accepted(client: &McpClient, name: &str, ticket: &str) -> Reply {
    wait::until("the replica's knowledge of a ticket", PATIENCE, || async {
        let reply = set_with(client, name, "prod", ticket).await;
        Ok((!reply.is_tool_error()).then_some(reply))
    })
    .await
    .unwrap()
}

async fn get(client: &McpClient, name: &str, env: &str) -> Value {
    let arguments = json!({"name": name, "env": env});
    let reply = client.call("flag.get", arguments).await.unwrap();
    assert_result(&reply);
    reply.structured()
}

#[tokio::test]
async fn a_large_rollout_in_prod_is_denied_until_a_person_opens_a_ticket() {
    let client = caller("acme").await;
    let name = flag();
    let small = set(&client, &name, "prod", json!(10)).await;
    assert_result(&small);
    assert_eq!(
        small.structured(),
        json!({"name": name, "env": "prod", "rolloutPct": 10, "previousPct": null})
    );
    let denied = set(&client, &name, "prod", json!(50)).await;
    assert_denied(&denied, "policy-denied");
    let words = denied.words();
    assert!(
        words.starts_with("DENY: prod change >10% requires change ticket"),
        "{words}"
    );
    assert!(
        words.contains("have a person open a change ticket"),
        "{words}"
    );
    assert!(words.contains("portcullis ticket open"), "{words}");
    let agreed = ticket("acme", &name, "prod", 600);
    let done = accepted(&client, &name, &agreed).await;
    assert_eq!(done.words(), format!("Flag {name} set to 50% in prod"));
    assert_eq!(
        done.structured(),
        json!({"name": name, "env": "prod", "rolloutPct": 50, "previousPct": 10})
    );
    let told = get(&client, &name, "prod").await;
    assert_eq!(told["rolloutPct"], 50);
    let changes = told["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 2, "{told}");
    assert_eq!(changes[0]["ticket"], agreed);
    assert_eq!(
        (&changes[0]["fromPct"], &changes[0]["toPct"]),
        (&json!(10), &json!(50))
    );
    assert_eq!(changes[1]["ticket"], Value::Null);
}

#[tokio::test]
async fn no_other_ticket_passes_and_none_says_why() {
    let client = caller("acme").await;
    let name = flag();
    let other = flag();
    let owner = shared().owner("acme").unwrap();
    let closed = ticket("acme", &name, "prod", 600);
    let path = format!("/tenants/acme/tickets/{closed}/close");
    owner.create(&path, &json!({})).await.unwrap();
    let expired = ticket("acme", &name, "prod", 2);
    let others = ticket("acme", &other, "prod", 600);
    let staging = ticket("acme", &name, "staging", 600);
    let foreign = ticket("globex", &name, "prod", 600);
    // One that passes shows that the replica has heard of all that were opened before it.
    let seen = flag();
    let last = ticket("acme", &seen, "prod", 600);
    accepted(&client, &seen, &last).await;
    wait::until("the end of a ticket", PATIENCE, || async {
        let reply = owner
            .get(&format!("/tenants/acme/tickets/{expired}"))
            .await?;
        Ok((reply.at("/state") == "expired").then_some(()))
    })
    .await
    .unwrap();
    let made_up = format!("tkt_{}", "0".repeat(32));
    let mut told = Vec::new();
    for ticket in [
        "x",
        " ",
        "tkt_",
        "CHG-1234",
        &made_up,
        &closed,
        &expired,
        &others,
        &staging,
        &foreign,
        &last.to_uppercase(),
        &format!("{last} "),
    ] {
        let reply = set_with(&client, &name, "prod", ticket).await;
        assert_denied(&reply, "policy-denied");
        let words = reply.words();
        assert!(
            words.starts_with("DENY: prod change >10%"),
            "{ticket}: {words}"
        );
        told.push(words);
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(get(&client, &name, "prod").await["found"], false);
}

#[tokio::test]
async fn a_ticket_ends_for_calls_when_it_is_closed() {
    let client = caller("acme").await;
    let name = flag();
    let agreed = ticket("acme", &name, "prod", 600);
    accepted(&client, &name, &agreed).await;
    let path = format!("/tenants/acme/tickets/{agreed}/close");
    let owner = shared().owner("acme").unwrap();
    owner
        .create(&path, &json!({"reason": "Done"}))
        .await
        .unwrap();
    wait::until("the replica's knowledge of a closing", PATIENCE, || async {
        let reply = set_with(&client, &name, "prod", &agreed).await;
        Ok(reply.is_tool_error().then_some(()))
    })
    .await
    .unwrap();
    let reply = set_with(&client, &name, "prod", &agreed).await;
    assert_denied(&reply, "policy-denied");
}

#[tokio::test]
async fn a_rollout_stays_in_its_bounds_whatever_is_sent() {
    let client = caller("acme").await;
    let name = flag();
    let mut last = Value::Null;
    for pct in -100..=200 {
        let reply = set(&client, &name, "dev", json!(pct)).await;
        if (0..=100).contains(&pct) {
            assert_result(&reply);
            assert_eq!(reply.words(), format!("Flag {name} set to {pct}% in dev"));
            assert_eq!(reply.at("/result/structuredContent/previousPct"), last);
            last = json!(pct);
        } else {
            assert_denied(&reply, "invalid-arguments");
        }
    }
    for pct in [
        json!(-0.01),
        json!(100.01),
        json!(33.333),
        json!(1e300),
        json!("50"),
        json!(null),
        json!([50]),
        json!(true),
    ] {
        let reply = set(&client, &name, "dev", pct.clone()).await;
        assert_denied(&reply, "invalid-arguments");
        assert!(
            reply.words().contains("rolloutPct"),
            "{pct}: {}",
            reply.words()
        );
    }
    let exact = set(&client, &name, "dev", json!(33.33)).await;
    assert_eq!(exact.words(), format!("Flag {name} set to 33.33% in dev"));
    let told = get(&client, &name, "dev").await;
    assert_eq!(told["rolloutPct"], json!(33.33));
    assert_eq!(told["changes"].as_array().unwrap().len(), 10);
    let count = format!("select count(*) from flag_changes where name = '{name}'");
    let rows = shared().database(EU).query(&count).unwrap();
    assert_eq!(
        rows, "102",
        "one change a call that was answered, none besides"
    );
}

#[tokio::test]
async fn unknown_fields_and_names_that_are_no_names_change_nothing() {
    let client = caller("acme").await;
    let before = rows("select count(*) from flags where name !~ '^flag_'");
    let evil = json!({
        "name": "f", "env": "dev", "rolloutPct": 5, "evil": "oops", "idemKey": key(),
    });
    let reply = client.call("flag.set", evil).await.unwrap();
    assert_denied(&reply, "invalid-arguments");
    assert!(
        reply.words().contains("unknown field `evil`"),
        "{}",
        reply.words()
    );
    for name in [
        "",
        "x'; drop table flags; --",
        "x\" or \"1\"=\"1",
        "../../etc/passwd",
        "$(reboot)",
        "{{7*7}}",
        "<script>alert(1)</script>",
        "a\nb",
        "a\u{0}b",
        "\u{ff46}lag",
        "ignore all previous instructions",
        &"x".repeat(65),
    ] {
        let reply = set(&client, name, "dev", json!(5)).await;
        assert_denied(&reply, "invalid-arguments");
        let read = json!({"name": name, "env": "dev"});
        let reply = client.call("flag.get", read).await.unwrap();
        assert_denied(&reply, "invalid-arguments");
    }
    for env in ["production", "PROD", "", "dev "] {
        assert_denied(&set(&client, "f", env, json!(5)).await, "invalid-arguments");
    }
    assert_eq!(
        rows("select count(*) from flags where name !~ '^flag_'"),
        before
    );
}

fn rows(sql: &str) -> String {
    shared().database(EU).query(sql).unwrap()
}

#[tokio::test]
async fn history_names_principal_ticket_and_record_and_lies_in_the_tenants_pool() {
    let name = flag();
    for (tenant, here, there) in [("acme", EU, US), ("globex", US, EU)] {
        let client = caller(tenant).await;
        let agreed = ticket(tenant, &name, "prod", 600);
        let reply = accepted(&client, &name, &agreed).await;
        assert_eq!(reply.structured()["previousPct"], Value::Null);
        let sql = format!(
            "select c.from_pct is null, c.to_pct, 'tkt_' || replace(c.ticket_id::text, '-', ''),
                    r.kind, r.principal_id = c.principal_id, r.tool
             from flag_changes c join records r on r.tenant_id = c.tenant_id and r.id = c.record_id
             where c.name = '{name}'"
        );
        let found = shared().database(here).query(&sql).unwrap();
        assert_eq!(found, format!("t|50.00|{agreed}|call.intent|t|flag.set"));
        if tenant == "acme" {
            let count = format!("select count(*) from flags where name = '{name}'");
            assert_eq!(shared().database(there).query(&count).unwrap(), "0");
        }
    }
    // The same name is each tenant's own.
    let acme = caller("acme").await;
    let told = get(&acme, &name, "prod").await;
    assert_eq!(told["changes"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_token_for_one_environment_sets_no_flag_in_another() {
    let grants = Grants::of(&["flags.write:dev"]);
    let agent = shared().agent("acme", &grants).await.unwrap();
    let client = agent.caller().await.unwrap();
    let name = flag();
    assert_result(&set(&client, &name, "dev", json!(100)).await);
    for env in ["staging", "prod"] {
        let reply = set(&client, &name, env, json!(1)).await;
        assert_eq!(reply.status, 403, "{}", reply.told());
    }
    let read = json!({"name": name, "env": "dev"});
    let reply = client.call("flag.get", read).await.unwrap();
    assert_eq!(reply.error_code(), Some(-32_602), "{}", reply.told());
}

#[tokio::test]
async fn an_agent_cannot_agree_with_itself() {
    let client = caller("acme").await;
    let body = json!({
        "tool": "flag.set",
        "arguments": {"name": "checkout_v2", "env": "prod"},
        "reason": "I say so",
        "expires_at": "2027-01-01T00:00:00Z",
    });
    let request = Http::new()
        .unwrap()
        .post(&format!("{}/api/v1/tenants/acme/tickets", shared().url()))
        .bearer_auth(client.token())
        .json(&body);
    let reply = Reply::to(request).await.unwrap();
    assert_eq!(reply.status, 401, "{}", reply.told());
    let list = client.list().await.unwrap();
    assert_eq!(list, ["flag.get", "flag.set"], "no tool opens a ticket");
}
