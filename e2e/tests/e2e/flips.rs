//! Kill switches from the command line, through the real program: what each stops, how it ends, and that
//! every flip is a record with its reason and its epoch.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use portcullis_e2e::shell::{self, Ran};
use portcullis_e2e::{Grants, McpClient, Platform, Replica, Reply, wait};
use serde_json::{Value, json};

use crate::answers::{assert_denied, assert_result};

const SOON: Duration = Duration::from_secs(30);
/// Before the project began.
const LONG_AGO: &str = "2026-01-01T00:00:00Z";

fn portcullis(platform: &Platform, words: &str) -> Ran {
    let file = platform.data().join("operator.json");
    let script = format!(
        "portcullis --json {words} --operator-file '{}'",
        file.display()
    );
    shell::run(&script, platform.binary()).unwrap()
}

#[track_caller]
fn done(platform: &Platform, words: &str) -> Value {
    let ran = portcullis(platform, words);
    assert!(ran.success, "{words}: {}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

fn id(report: &Value) -> &str {
    report["switch"]["id"].as_str().unwrap()
}

async fn setter(platform: &Platform) -> McpClient {
    let grants = Grants::of(&["flags.write:dev", "orders.read"]);
    platform
        .agent("acme", &grants)
        .await
        .unwrap()
        .caller()
        .await
        .unwrap()
}

async fn set(client: &McpClient, key: u8) -> Reply {
    let key = format!("00000000-0000-4000-8000-0000000000{key:02}");
    let call = json!({"name": "flipped", "env": "dev", "rolloutPct": 1, "idemKey": key});
    client.call("flag.set", call).await.unwrap()
}

async fn read(client: &McpClient) -> Reply {
    let call = json!({"orderId": "none"});
    client.call("orders.get", call).await.unwrap()
}

/// The records of a switch, oldest first, as `portcullis records` prints them.
async fn flips(platform: &Platform, whose: &str, switch: &str, count: usize) -> Vec<Value> {
    let list = format!("records {whose} --from {LONG_AGO}");
    wait::until("the records of a switch", SOON, || async {
        let all = done(platform, &list);
        let mut found: Vec<_> = all.as_array().into_iter().flatten().cloned().collect();
        found.retain(|item| item["record"]["body"]["target"]["id"] == switch);
        found.reverse();
        Ok((found.len() >= count).then_some(found))
    })
    .await
    .unwrap()
}

#[track_caller]
fn assert_flips(records: &[Value], actions: &[&str]) {
    let bodies: Vec<_> = records.iter().map(|item| &item["record"]["body"]).collect();
    let found: Vec<_> = bodies
        .iter()
        .map(|body| body["action"].as_str().unwrap())
        .collect();
    assert_eq!(found, actions);
    for body in bodies {
        assert!(body["change"]["commitment"].is_string(), "{body}");
        let asked = body["epoch"].is_null();
        // A lift that waits for its second person changes nothing that a replica holds.
        assert!(!asked || found.len() == 3, "{body}");
    }
}

#[tokio::test]
async fn a_replica_started_read_only_changes_nothing_and_reads_on() {
    let platform = Platform::start().await.unwrap();
    let only = Replica::beside_with(&platform, &[("PORTCULLIS_READ_ONLY", "1")])
        .await
        .unwrap();
    let client = setter(&platform).await;
    let there = only.called_by(&client);
    wait::until("the read-only replica's knowledge", SOON, || async {
        Ok((read(&there).await.status == 200).then_some(()))
    })
    .await
    .unwrap();
    assert_denied(&set(&there, 1).await, "read-only");
    assert_result(&read(&there).await);
    // It is this replica's own word: the others change on, and nothing has used the key up.
    assert_result(&set(&client, 1).await);
    let flags = platform.database("portcullis_eu_west");
    let changes = "select count(*) from flag_changes where name = 'flipped'";
    assert_eq!(flags.query(changes).unwrap(), "1");
}

#[tokio::test]
async fn a_switch_that_has_an_end_lifts_itself_and_that_is_a_record() {
    let platform = Platform::start().await.unwrap();
    let client = setter(&platform).await;
    let drop = "switch drop tenant-read-only --tenant acme --reason 'A drill' --expires-in 4s";
    let dropped = done(&platform, drop);
    assert_denied(&set(&client, 2).await, "read-only");
    assert_result(&read(&client).await);
    wait::until("the end of a switch", SOON, || async {
        let reply = set(&client, 3).await;
        Ok((!reply.is_tool_error()).then_some(()))
    })
    .await
    .unwrap();
    let records = flips(&platform, "--tenant acme", id(&dropped), 2).await;
    assert_flips(&records, &["switch.drop", "switch.expire"]);
    let actor = &records[1]["record"]["body"]["actor"]["type"];
    assert_eq!(actor, "platform", "nobody's hand lifted it");
    let all = done(&platform, "switch status --tenant acme --all");
    let own = all
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["id"] == id(&dropped));
    assert_eq!(own.unwrap()["lifted"]["by"], "system:expiry");
}

#[tokio::test]
async fn the_platforms_switch_stops_every_tenant_and_its_flips_are_the_platforms_records() {
    let platform = Platform::start().await.unwrap();
    let client = setter(&platform).await;
    let dropped = done(
        &platform,
        "switch drop platform-read-only --reason 'An incident'",
    );
    assert_denied(&set(&client, 4).await, "read-only");
    assert_result(&read(&client).await);
    let tenants = portcullis(
        &platform,
        &format!("switch lift {} --tenant acme --reason No", id(&dropped)),
    );
    assert!(
        !tenants.success,
        "a tenant lifted the platform's: {}",
        tenants.out
    );
    done(
        &platform,
        &format!("switch lift {} --reason Over", id(&dropped)),
    );
    wait::until("calls after the lift", SOON, || async {
        let reply = set(&client, 5).await;
        Ok((!reply.is_tool_error()).then_some(()))
    })
    .await
    .unwrap();
    let records = flips(&platform, "--platform", id(&dropped), 2).await;
    assert_flips(&records, &["platform_switch.drop", "platform_switch.lift"]);
    let tenants = done(
        &platform,
        &format!("records --tenant acme --from {LONG_AGO}"),
    );
    assert!(
        !tenants.to_string().contains(id(&dropped)),
        "the platform's are not a tenant's"
    );
}

#[tokio::test]
async fn a_lift_by_two_people_ends_the_first_command_with_its_own_code() {
    let platform = Platform::start().await.unwrap();
    let client = setter(&platform).await;
    done(&platform, "tenant update acme --two-person-lift true");
    let person = |number: u8| {
        let file = platform.data().join(format!("person-{number}"));
        let make = format!(
            "service-token create --tenant acme --role operator --out '{}'",
            file.display()
        );
        let ran = portcullis(&platform, &make);
        assert!(ran.success, "{}", ran.err);
        file
    };
    let (first, second) = (person(1), person(2));
    let dropped = done(
        &platform,
        "switch drop tenant-freeze --tenant acme --reason 'An incident'",
    );
    let lift = |file: &std::path::Path| {
        let words = format!("switch lift {} --tenant acme --reason Over", id(&dropped));
        let script = format!(
            "portcullis {words} --server {} --token-file '{}'",
            platform.url(),
            file.display()
        );
        shell::run(&script, platform.binary()).unwrap()
    };
    let asked = lift(&first);
    assert_eq!(asked.code, Some(5), "{} {}", asked.out, asked.err);
    assert!(asked.err.contains("second person"), "{}", asked.err);
    let frozen = client.send("tools/list", json!({})).await.unwrap();
    assert_eq!(frozen.status, 403, "{}", frozen.told());
    let lifted = lift(&second);
    assert_eq!(lifted.code, Some(0), "{}", lifted.err);
    let records = flips(&platform, "--tenant acme", id(&dropped), 3).await;
    assert_flips(&records, &["switch.drop", "switch.lift", "switch.lift"]);
}

#[tokio::test]
async fn without_a_reason_nothing_is_dropped_or_lifted() {
    let platform = Platform::shared().unwrap();
    let owner = platform.owner("acme").unwrap();
    for body in [
        json!({"kind": "tenant-freeze"}),
        json!({"kind": "tenant-freeze", "reason": ""}),
        json!({"kind": "tenant-freeze", "reason": "   "}),
    ] {
        let request = owner.request(reqwest::Method::POST, "/tenants/acme/switches");
        let reply = Reply::to(request.json(&body)).await.unwrap();
        assert_eq!(reply.status, 422, "{}", reply.told());
        assert!(reply.text().contains("reason"), "{}", reply.told());
    }
    let ran = portcullis(platform, "switch drop tenant-freeze --tenant acme");
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("--reason"), "{}", ran.err);
    let down = done(platform, "switch status --tenant acme");
    assert_eq!(down, json!([]), "{down}");
}

#[tokio::test]
async fn a_tool_that_the_command_line_added_is_called_through_the_public_port() {
    use portcullis_e2e::upstream::Upstream;
    let upstream = Upstream::start().await.unwrap();
    let platform = Platform::start().await.unwrap();
    let address = upstream.address();
    let replica = opened_to(&platform, address).await;
    let file = platform.data().join("tool.json");
    std::fs::write(
        &file,
        effects_tool(&format!("http://{address}"), &address.ip().to_string()),
    )
    .unwrap();
    let token = platform.data().join("owner");
    std::fs::write(&token, platform.operator().owner_token("acme").unwrap()).unwrap();
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o600)).unwrap();
    let there = format!(
        "--server {} --token-file '{}'",
        replica.url(),
        token.display()
    );
    done(
        &platform,
        &format!("egress set --tenant acme {address} {there}"),
    );
    let added = done(
        &platform,
        &format!("tool add --tenant acme -f '{}' {there}", file.display()),
    );
    assert_eq!(added["connector"], "http", "{added}");
    let grants = Grants::of(&["effects.write"]);
    let client = platform
        .agent("acme", &grants)
        .await
        .unwrap()
        .caller()
        .await
        .unwrap();
    let client = replica.called_by(&client);
    let reply = wait::until("a tool that is called", SOON, || async {
        let meta = json!({"dev.portcullis/idempotency-key": "one-effect"});
        let call = json!({
            "name": "effects.read", "arguments": {"effect": "one-effect"}, "_meta": meta
        });
        let reply = client.send("tools/call", call).await?;
        Ok((reply.status == 200 && reply.structured().is_object()).then_some(reply))
    })
    .await
    .unwrap();
    assert_eq!(reply.structured()["times"], 1, "{}", reply.told());
    assert_eq!(upstream.effects_of("one-effect"), 1);
    done(&platform, "tool disable --tenant acme effects.read");
    wait::until("a tool that is gone", SOON, || async {
        let call = json!({"name": "effects.read", "arguments": {"effect": "another"}});
        let reply = client.send("tools/call", call).await?;
        Ok(reply.error_code().map(drop))
    })
    .await
    .unwrap();
}

/// A replica that may reach a tool server on this machine.
async fn opened_to(platform: &Platform, address: std::net::SocketAddr) -> Replica {
    let settings = platform.data().join("portcullis.toml");
    let opened = format!(
        "{}\n[[egress.internal_networks]]\nnetwork = \"{}/32\"\nports = [{}]\n\
         tenants = [\"acme\"]\nservers = [\"effects\"]\n",
        std::fs::read_to_string(&settings).unwrap(),
        address.ip(),
        address.port()
    );
    let own = platform.data().join("opened.toml");
    std::fs::write(&own, opened).unwrap();
    Replica::configured(platform, &own, &[]).await.unwrap()
}

/// A tool that only reads, as far as the platform knows, so that the default policy allows it.
fn effects_tool(base: &str, host: &str) -> String {
    let effect = json!({"type": "string", "minLength": 1, "maxLength": 100});
    let tool = json!({
        "definition": {
            "name": "effects.read", "title": "Ask for an effect",
            "description": "Asks another system for something that it counts.",
            "inputSchema": {
                "type": "object", "additionalProperties": false,
                "properties": {"effect": effect.clone()}, "required": ["effect"],
            },
            "outputSchema": {
                "type": "object", "additionalProperties": false,
                "properties": {"effect": effect, "times": {"type": "integer"}},
                "required": ["effect", "times"],
            },
            "examples": [{"title": "One", "arguments": {"effect": "one"}}],
            "scope": "effects.write", "mutating": false, "risk": "low",
            "data": {"classes": [], "jurisdictions": []},
            "cost": {"micro_usd": 0, "max_micro_usd": 0}, "idempotent": false,
            "egress": [host],
        },
        "connector": "http",
        "config": {
            "server": "effects", "method": "POST", "path": "/effects",
            "base_urls": {"eu-west": base}, "timeout_ms": 10_000,
        },
    });
    tool.to_string()
}
