//! Administrative changes in the ledger: each once, whatever dies in between, and nothing secret.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use portcullis_e2e::{Grants, Management, Options, Platform, Replica, shell, wait};
use serde_json::{Value, json};

use crate::answers::assert_result;

const SOON: Duration = Duration::from_secs(30);
const CONTROL: &str = "portcullis_control";
const REGION: &str = "portcullis_eu_west";
/// Before the project began.
const LONG_AGO: &str = "2026-01-01T00:00:00Z";
/// A day that a token may live to, as the database's own clock says.
const TOMORROW: &str = "select to_char((now() + interval '1 day') at time zone 'UTC', \
                        'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
const WAITING: &str = "select (select count(*) from outbox where relayed_at is null) \
                       + (select count(*) from platform_outbox where relayed_at is null)";
/// The ledger of the platform's own changes.
const PLATFORM_LEDGER: &str = "tnt_00000000000070008000000000000000";

async fn all_relayed(platform: &Platform) {
    wait::until("an empty outbox", SOON, || async {
        let waiting = platform.database(CONTROL).query(WAITING)?;
        Ok((waiting == "0").then_some(()))
    })
    .await
    .unwrap();
}

/// The ids of a tenant's changes.
fn outbox(platform: &Platform, slug: &str) -> Vec<String> {
    let sql = format!(
        "select 'rec_' || replace(o.id::text, '-', '') from outbox o \
         join tenants t on t.id = o.tenant_id where t.slug = '{slug}' order by o.id"
    );
    let rows = platform.database(CONTROL).query(&sql).unwrap();
    rows.lines().map(str::to_owned).collect()
}

/// The tenant's records of administrative changes, oldest first, as the API shows them.
async fn ledger(owner: &Management, tenant: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let first = format!("/tenants/{tenant}/records?from={LONG_AGO}&limit=200");
    let mut path = first.clone();
    loop {
        let page = owner.get(&path).await.unwrap();
        assert_eq!(page.status, 200, "{}", page.told());
        let items = page.at("/items").as_array().cloned().unwrap();
        found.extend(
            items
                .into_iter()
                .filter(|item| item["record"]["kind"] == "admin.change"),
        );
        match page.at("/next_cursor").as_str() {
            Some(cursor) => path = format!("{first}&cursor={cursor}"),
            None => break,
        }
    }
    found.reverse();
    found
}

fn ids(records: &[Value]) -> Vec<String> {
    let ids = records.iter().map(|record| record["id"].as_str().unwrap());
    ids.map(str::to_owned).collect()
}

/// Makes a change of every kind that an owner can make.
async fn change_everything(owner: &Management, tomorrow: &str) -> Vec<String> {
    let all = "/tenants/acme/principals";
    let made = owner
        .create(all, &json!({"name": "user:somebody-unmistakable"}))
        .await
        .unwrap();
    let own = format!("{all}/{}", made["id"].as_str().unwrap());
    let secret = owner
        .create(&format!("{own}/secrets"), &json!({}))
        .await
        .unwrap();
    let grants = format!("{own}/grants");
    let grant = owner
        .create(&grants, &json!({"scope": "orders.read"}))
        .await
        .unwrap();
    let limits = json!({
        "limits": {"rpm": 61, "burst": 100, "concurrency": 5, "daily_cost_usd": 50},
        "stop_rules": {"max_plan_depth": 12, "max_retries": 3},
    });
    owner.put(&format!("{own}/limits"), &limits).await.unwrap();
    owner
        .patch(&own, &json!({"status": "suspended"}))
        .await
        .unwrap();
    owner
        .patch("/tenants/acme", &json!({"name": "Acme again"}))
        .await
        .unwrap();
    owner
        .patch(
            "/tenants/acme/tools/orders.export",
            &json!({"enabled": false}),
        )
        .await
        .unwrap();
    let policy = include_str!("../../../policies/default.yaml");
    owner
        .publish("acme", &format!("{policy}\n# again\n"))
        .await
        .unwrap();
    let body = json!({
        "name": "a test", "role": "viewer", "tenant": "acme", "expires_at": tomorrow
    });
    let token = owner.create("/service-tokens", &body).await.unwrap();
    for path in [
        format!("{own}/secrets/{}", secret["id"].as_str().unwrap()),
        format!("{grants}/{}", grant["id"].as_str().unwrap()),
        format!(
            "/service-tokens/{}",
            token["service_token"]["id"].as_str().unwrap()
        ),
    ] {
        owner.remove(&path).await.unwrap();
    }
    [&secret["client_secret"], &token["token"]]
        .map(|secret| secret.as_str().unwrap().to_owned())
        .to_vec()
}

/// Every action by which an owner changes something, as the API's documentation lists them.
fn kinds() -> Vec<&'static str> {
    let page = include_str!("../../../docs/management-api.md");
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.trim_matches('|').split(" | ").map(str::trim);
        let (action, route, owner) = (cells.next()?, cells.next()?, cells.next()?);
        let changes = ["POST ", "PUT ", "PATCH ", "DELETE "];
        let changes = changes.iter().any(|method| route.starts_with(method));
        (changes && owner == "yes").then_some(action)
    });
    let mut kinds: Vec<_> = rows.collect();
    kinds.dedup();
    assert!(kinds.len() > 20, "{kinds:?}");
    kinds
}

/// The changes that more than one request makes: rotated secrets, keys, tools, hosts, tickets, switches
/// and a claim.
async fn change_the_rest(platform: &Platform, owner: &Management) -> Vec<String> {
    let agent = platform
        .agent("acme", &Grants::of(&["flags.write:dev"]))
        .await
        .unwrap();
    let own = format!("/tenants/acme/principals/{}", agent.client_id);
    let rotated = owner
        .create(&format!("{own}/secrets/rotate"), &json!({}))
        .await
        .unwrap();
    let jwk = json!({
        "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    });
    let key = owner
        .create(&format!("{own}/keys"), &json!({"jwk": jwk}))
        .await
        .unwrap();
    let key = key["id"].as_str().unwrap();
    owner.remove(&format!("{own}/keys/{key}")).await.unwrap();
    let hosts = json!({"hosts": ["api.example.com"]});
    owner
        .put("/tenants/acme/egress-allowlist", &hosts)
        .await
        .unwrap();
    owner
        .create("/tenants/acme/tools", &a_tool())
        .await
        .unwrap();
    open_and_close_a_ticket(platform, owner).await;
    let freeze = json!({"kind": "tool-quarantine", "target": "orders.get", "reason": "A test"});
    let switch = owner
        .create("/tenants/acme/switches", &freeze)
        .await
        .unwrap();
    let lift = switch
        .pointer("/switch/id")
        .and_then(Value::as_str)
        .unwrap();
    let lift = format!("/tenants/acme/switches/{lift}/lift");
    owner
        .create(&lift, &json!({"reason": "Over"}))
        .await
        .unwrap();
    owner
        .create("/switches/drill", &json!({"reason": "A drill"}))
        .await
        .unwrap();
    resolve_a_claim(platform, owner, &agent).await;
    vec![rotated["client_secret"].as_str().unwrap().to_owned()]
}

async fn open_and_close_a_ticket(platform: &Platform, owner: &Management) {
    let ticket = json!({
        "tool": "flag.set", "arguments": {"name": "a", "env": "prod"}, "reason": "Launch",
        "expires_at": platform.database(CONTROL).query(TOMORROW).unwrap(),
    });
    let ticket = owner
        .create("/tenants/acme/tickets", &ticket)
        .await
        .unwrap();
    let close = format!(
        "/tenants/acme/tickets/{}/close",
        ticket["id"].as_str().unwrap()
    );
    owner
        .create(&close, &json!({"reason": "Launched"}))
        .await
        .unwrap();
}

/// Makes a call's outcome unknown, as a tool elsewhere leaves it that breaks off, and resolves it.
async fn resolve_a_claim(platform: &Platform, owner: &Management, agent: &portcullis_e2e::Agent) {
    // The rotation above ended the agent's secret: its successor is another's.
    let setter = platform
        .agent("acme", &Grants::of(&["flags.write:dev"]))
        .await
        .unwrap();
    assert_ne!(setter.name, agent.name);
    let client = setter.caller().await.unwrap();
    let call = json!({"name": "a", "env": "dev", "rolloutPct": 1, "idemKey": "00000000-0000-4000-8000-0000000000c1"});
    assert_result(&client.call("flag.set", call).await.unwrap());
    let lost = "update claims set state = 'unknown' where state = 'done'";
    platform.database(REGION).query(lost).unwrap();
    let claims = owner
        .get("/tenants/acme/claims?state=unknown")
        .await
        .unwrap();
    let claim = claims.at("/items/0/id").as_str().unwrap().to_owned();
    let found = json!({"outcome": "executed", "reason": "It is set"});
    let resolve = format!("/tenants/acme/claims/{claim}/resolve");
    owner.create(&resolve, &found).await.unwrap();
}

fn a_tool() -> Value {
    let nothing = json!({"type": "object", "additionalProperties": false, "properties": {}});
    json!({
        "definition": {
            "name": "billing.ping", "title": "Ping", "description": "Pings another system.",
            "inputSchema": nothing, "outputSchema": nothing,
            "examples": [{"title": "One", "arguments": {}}],
            "scope": "billing.ping", "mutating": false, "risk": "low", "data": {},
            "cost": {"micro_usd": 0, "max_micro_usd": 0}, "idempotent": true,
            "egress": ["api.example.com"],
        },
        "connector": "http",
        "config": {
            "server": "billing", "method": "GET", "path": "/ping",
            "base_urls": {"eu-west": "https://api.example.com"},
        },
    })
}

#[tokio::test]
async fn every_kind_of_change_is_in_the_ledger_once_and_names_nobody() {
    let platform = Platform::start().await.unwrap();
    let owner = platform.owner("acme").unwrap();
    let tomorrow = platform.database(CONTROL).query(TOMORROW).unwrap();
    let mut secrets = change_everything(&owner, &tomorrow).await;
    secrets.extend(change_the_rest(&platform, &owner).await);
    all_relayed(&platform).await;
    let records = ledger(&owner, "acme").await;
    assert_eq!(ids(&records), outbox(&platform, "acme"));
    let mut by_kind = BTreeMap::<_, Vec<_>>::new();
    for record in &records {
        let body = &record["record"]["body"];
        assert_eq!(record["record"]["id"], record["id"], "{record}");
        assert!(body["change"]["commitment"].is_string(), "{record}");
        by_kind
            .entry(body["action"].as_str().unwrap())
            .or_default()
            .push(body);
    }
    for kind in kinds() {
        let made = by_kind.get(kind).into_iter().flatten();
        let by_token = made.filter(|body| body["actor"]["type"] == "service_token");
        assert!(by_token.count() >= 1, "{kind}: {:?}", by_kind.keys());
    }
    let epochs = records
        .iter()
        .filter_map(|record| record["record"]["body"]["epoch"].as_u64());
    // In the order in which they were committed.
    let epochs: Vec<_> = epochs.collect();
    assert!(epochs.len() > 20 && epochs.is_sorted(), "{epochs:?}");
    for kind in [
        "policy.publish",
        "grant.create",
        "switch.drop",
        "switch.lift",
        "ticket.open",
    ] {
        let known = by_kind[kind].iter().all(|body| body["epoch"].is_u64());
        assert!(known, "{kind}: {:?}", by_kind[kind]);
    }
    let published = by_kind["policy.publish"].last().unwrap();
    assert_eq!(
        published["sha256"].as_str().map(str::len),
        Some(64),
        "{published}"
    );
    let shown = Value::from(records).to_string();
    let dump = platform.database(REGION).dump().unwrap();
    for word in secrets
        .iter()
        .map(String::as_str)
        .chain(["user:", "somebody-unmistakable"])
    {
        assert!(!shown.contains(word), "{word} stands in the ledger");
    }
    for secret in secrets.iter().chain(&platform.operator().secrets()) {
        assert!(
            !dump.contains(secret.as_str()),
            "a secret stands in the region's database"
        );
    }
}

#[tokio::test]
async fn a_relay_that_died_between_the_record_and_its_mark_leaves_one_record() {
    let mut platform = Platform::start().await.unwrap();
    let owner = platform.owner("acme").unwrap();
    all_relayed(&platform).await;
    let before = ledger(&owner, "acme").await;
    assert_eq!(ids(&before), outbox(&platform, "acme"));
    platform.stop(Signal::SIGTERM).await.unwrap();
    platform.start_again().await.unwrap();
    // What a relay leaves that died before its mark.
    let unmark = "update outbox set relayed_at = null";
    platform.database(CONTROL).query(unmark).unwrap();
    all_relayed(&platform).await;
    assert_eq!(
        ledger(&platform.owner("acme").unwrap(), "acme").await,
        before
    );
}

#[tokio::test]
async fn killed_again_and_again_while_it_relays_it_loses_and_repeats_nothing() {
    let mut platform = Platform::start_with(Options::default().roomy())
        .await
        .unwrap();
    for round in 0..4_u64 {
        let owner = platform.owner("acme").unwrap();
        for number in 0..20 {
            let body = json!({"name": format!("agent:relayed-{round}-{number}")});
            owner
                .create("/tenants/acme/principals", &body)
                .await
                .unwrap();
            // Not for something to happen: another moment of the relay's second each round.
            if number == 10 + round * 2 {
                platform.kill().unwrap();
                break;
            }
        }
        platform.start_again().await.unwrap();
    }
    all_relayed(&platform).await;
    let records = ledger(&platform.owner("acme").unwrap(), "acme").await;
    assert_eq!(ids(&records), outbox(&platform, "acme"));
}

#[tokio::test]
async fn two_replicas_that_relay_write_each_change_once() {
    let platform = Platform::start_with(Options::default().roomy())
        .await
        .unwrap();
    let second = Replica::beside(&platform).await.unwrap();
    for _ in 0..3 {
        platform.agent("acme", &Grants::default()).await.unwrap();
        platform.agent("globex", &Grants::default()).await.unwrap();
    }
    all_relayed(&platform).await;
    for slug in ["acme", "globex"] {
        let records = ledger(&platform.owner(slug).unwrap(), slug).await;
        assert_eq!(ids(&records), outbox(&platform, slug), "{slug}");
    }
    drop(second);
}

#[tokio::test]
async fn a_change_that_cannot_be_recorded_holds_up_no_other() {
    let platform = Platform::start().await.unwrap();
    all_relayed(&platform).await;
    let control = platform.database(CONTROL);
    control
        .query(
            "insert into outbox (tenant_id, id, actor, action, subject, detail, created_at)
             select id, '00000000-0000-7000-8000-00000000000b', 'nobody-knows', 'tenant.update',
                    'x', 'no JSON', now() from tenants where slug = 'acme'",
        )
        .unwrap();
    platform.agent("acme", &Grants::default()).await.unwrap();
    wait::until("the changes behind the bad one", SOON, || async {
        Ok((control.query(WAITING)? == "1").then_some(()))
    })
    .await
    .unwrap();
    let logs = platform.logs().unwrap();
    assert!(logs.contains("an administrative change is not in the ledger"));
    assert!(!logs.contains("nobody-knows"), "the log quotes the change");
}

#[tokio::test]
async fn the_platforms_own_changes_have_a_ledger_of_their_own() {
    let platform = Platform::start().await.unwrap();
    let token = platform.operator().platform_token().unwrap();
    let root = Management::new(platform.url(), token).unwrap();
    let tomorrow = platform.database(CONTROL).query(TOMORROW).unwrap();
    let body = json!({
        "name": "a test", "role": "platform", "expires_at": tomorrow
    });
    let made = root.create("/service-tokens", &body).await.unwrap();
    all_relayed(&platform).await;
    let id = &made["service_token"]["id"];
    let path = format!("/records?from={LONG_AGO}&limit=200");
    let shown = root.get(&path).await.unwrap();
    assert_eq!(shown.status, 200, "{}", shown.told());
    let items = shown.at("/items").as_array().cloned().unwrap();
    let about = |item: &&Value| item["record"]["body"]["target"]["id"] == *id;
    assert_eq!(items.iter().filter(about).count(), 1, "{}", shown.told());
    for item in &items {
        assert_eq!(item["record"]["tenant"], PLATFORM_LEDGER, "{item}");
        assert!(
            item["record"]["body"]["change"].get("text").is_none(),
            "{item}"
        );
    }
    let secret = made["token"].as_str().unwrap();
    assert!(!shown.text().contains(secret) && !shown.text().contains("a test"));
    let file = platform.data().join("operator.json");
    let script = format!(
        "portcullis records --platform --from {LONG_AGO} --operator-file '{}'",
        file.display()
    );
    let ran = shell::run(&script, platform.binary()).unwrap();
    assert!(
        ran.out.contains(id.as_str().unwrap()),
        "{} {}",
        ran.out,
        ran.err
    );
    // No tenant's token reads them.
    let owner = platform.owner("acme").unwrap();
    let refused = owner.get(&path).await.unwrap();
    assert_eq!(refused.status, 403, "{}", refused.told());
    // No tenant's owner sees them.
    let shown = ledger(&owner, "acme").await;
    assert!(
        !Value::from(shown)
            .to_string()
            .contains(made["service_token"]["id"].as_str().unwrap())
    );
}
