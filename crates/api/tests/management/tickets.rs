//! Change tickets: what may be bound, who may agree, and that nothing of it is another tenant's.

use http::Method;
use portcullis_wire::api::Role;
use serde_json::{Value, json};

use crate::platform::{Ask, Platform, text_at};

const TICKETS: &str = "/tenants/acme/tickets";

fn wish() -> Value {
    json!({
        "tool": "flag.set",
        "arguments": {"name": "checkout_v2", "env": "prod"},
        "reason": "Launch of the new checkout",
        "expires_at": text_at(3_600),
    })
}

/// The wish with another value at a JSON pointer.
fn with(pointer: &str, value: Value) -> Value {
    let mut wish = wish();
    *wish.pointer_mut(pointer).unwrap() = value;
    wish
}

async fn open(platform: &Platform, body: Value) -> Value {
    let ask = Ask::post(TICKETS, body).by(&platform.acme);
    platform.send(ask).await.expect(201).json()
}

fn place(ticket: &Value) -> String {
    format!("{TICKETS}/{}", ticket["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_ticket_is_opened_shown_and_closed_once_and_each_step_is_written_down() {
    let platform = Platform::start().await;
    let (changes, epoch) = (platform.changes().await, platform.epoch().await);
    let reply = platform
        .send(Ask::post(TICKETS, wish()).by(&platform.acme))
        .await
        .expect(201);
    let ticket = reply.json();
    assert_eq!(ticket["state"], "open");
    assert_eq!(ticket["arguments"], wish()["arguments"]);
    assert!(
        ticket["opened_by"]
            .as_str()
            .unwrap()
            .starts_with("service-token:svt_")
    );
    let location = reply.headers["location"].to_str().unwrap();
    assert!(
        location.ends_with(ticket["id"].as_str().unwrap()),
        "{location}"
    );
    let read = platform
        .send(Ask::get(place(&ticket)).by(&platform.acme))
        .await;
    assert_eq!(read.expect(200).json(), ticket);
    let close = || {
        let path = format!("{}/close", place(&ticket));
        Ask::post(path, json!({"reason": "Done"})).by(&platform.acme)
    };
    let closed = platform.send(close()).await.expect(200).json();
    assert_eq!(closed["state"], "closed");
    assert_eq!(closed["closed_reason"], "Done");
    platform.send(close()).await.refused(409, "conflict");
    // Each step reaches every replica, and the ledger.
    assert_eq!(platform.changes().await, changes + 2);
    assert_eq!(platform.epoch().await, epoch + 2);
    let written = "select count(*) from outbox where action in ('ticket.open', 'ticket.close')";
    assert_eq!(platform.superuser.count(written).await, 2);
}

/// Wishes that are refused, each with the field that is named and words of the rule.
fn refused() -> Vec<(Value, &'static str, &'static str)> {
    let bound = |arguments: Value| with("/arguments", arguments);
    let tool = |name: &str| with("/tool", json!(name));
    vec![
        (tool("flag.absent"), "tool", "no enabled tool"),
        (tool("x'; --"), "tool", "no enabled tool"),
        (tool("orders.get"), "tool", "takes no change ticket"),
        (bound(json!({})), "arguments.env", "`env` is required"),
        (
            bound(json!({"name": "f"})),
            "arguments.env",
            "`env` is required",
        ),
        (
            bound(json!({"name": "f", "env": "prod", "rolloutPct": 50})),
            "arguments.rolloutPct",
            "unknown field",
        ),
        (
            bound(json!({"name": "f", "env": "production"})),
            "arguments.env",
            "must be one of",
        ),
        (
            bound(json!({"name": "f'; drop table flags; --", "env": "prod"})),
            "arguments.name",
            "must match",
        ),
        (
            bound(json!({"name": 7, "env": "prod"})),
            "arguments.name",
            "must be of type string",
        ),
        (
            bound(json!({"name": "4111111111111111", "env": "prod"})),
            "arguments",
            "personal data",
        ),
        (with("/reason", json!("")), "reason", "1 to 200"),
        (
            with("/reason", json!("a\nb")),
            "reason",
            "control characters",
        ),
        (
            with("/expires_at", json!(text_at(0))),
            "expires_at",
            "in the future",
        ),
        (
            with("/expires_at", json!(text_at(31 * 86_400 + 1))),
            "expires_at",
            "at most 31 days",
        ),
    ]
}

#[tokio::test]
async fn a_ticket_binds_what_the_tool_says_and_nothing_else() {
    let platform = Platform::start().await;
    let changes = platform.changes().await;
    for (body, field, words) in refused() {
        let ask = Ask::post(TICKETS, body.clone()).by(&platform.acme);
        let reply = platform.send(ask).await;
        let problem = reply.refused(422, "invalid-request").json();
        assert_eq!(problem["facts"]["field"], field, "{body}: {problem}");
        let rule = problem["facts"]["rule"].as_str().unwrap();
        assert!(rule.contains(words), "{body}: {rule}");
    }
    assert_eq!(platform.changes().await, changes);
    let sql = "select count(*) from tickets";
    assert_eq!(platform.superuser.count(sql).await, 0);
}

#[tokio::test]
async fn a_tool_that_was_taken_out_of_the_catalog_gets_no_ticket() {
    let platform = Platform::start().await;
    let tool = "/tenants/acme/tools/flag.set";
    let etag = platform
        .send(Ask::get(tool).by(&platform.acme))
        .await
        .etag();
    let off = Ask::change(Method::PATCH, tool, &etag, json!({"enabled": false}));
    platform.send(off.by(&platform.acme)).await.expect(200);
    let ask = Ask::post(TICKETS, wish()).by(&platform.acme);
    platform.send(ask).await.refused(422, "invalid-request");
}

#[tokio::test]
async fn lists_show_where_tickets_stand_now() {
    let platform = Platform::start().await;
    let kept = open(&platform, wish()).await;
    let closed = open(&platform, wish()).await;
    let path = format!("{}/close", place(&closed));
    let ask = Ask::post(path, json!({})).by(&platform.acme);
    platform.send(ask).await.expect(200);
    let over = open(&platform, with("/expires_at", json!(text_at(60)))).await;
    platform.advance(60);
    for (query, expected) in [
        ("", vec![&kept, &closed, &over]),
        ("?state=open", vec![&kept]),
        ("?state=closed", vec![&closed]),
        ("?state=expired", vec![&over]),
        ("?tool=flag.set&state=open", vec![&kept]),
        ("?tool=orders.get", vec![]),
    ] {
        let ask = Ask::get(format!("{TICKETS}{query}")).by(&platform.acme);
        let list = platform.send(ask).await.expect(200).json();
        let ids = |list: &[Value]| {
            let mut ids: Vec<_> = list.iter().map(|one| one["id"].clone()).collect();
            ids.sort_by_key(ToString::to_string);
            ids
        };
        let expected: Vec<Value> = expected.into_iter().cloned().collect();
        assert_eq!(
            ids(list["items"].as_array().unwrap()),
            ids(&expected),
            "{query}"
        );
    }
    for query in ["?state=void", "?state=Open", "?name=x"] {
        let ask = Ask::get(format!("{TICKETS}{query}")).by(&platform.acme);
        platform.send(ask).await.refused(422, "invalid-request");
    }
    // One that expired may still be closed, for the record.
    let path = format!("{}/close", place(&over));
    let ask = Ask::post(path, json!({})).by(&platform.acme);
    platform.send(ask).await.expect(200);
}

#[tokio::test]
async fn the_thousand_and_first_open_ticket_is_refused() {
    let platform = Platform::start().await;
    open(&platform, wish()).await;
    platform
        .superuser
        .run(
            "insert into tickets (tenant_id, id, tool, arguments, reason, opened_by, opened_at,
                                  expires_at)
             select tenant_id, gen_random_uuid(), tool, arguments, reason, opened_by, opened_at,
                    expires_at
             from tickets, generate_series(1, 999)",
        )
        .await;
    let changes = platform.changes().await;
    let ask = Ask::post(TICKETS, wish()).by(&platform.acme);
    let problem = platform.send(ask).await.refused(409, "conflict").json();
    let told = problem["detail"].as_str().unwrap();
    assert!(told.contains("1000 open tickets"), "{told}");
    assert_eq!(platform.changes().await, changes);
    // Those whose time is over count no more.
    platform.advance(3_600);
    let later = with("/expires_at", json!(text_at(7_200)));
    open(&platform, later).await;
}

#[tokio::test]
async fn only_owners_and_operators_agree_and_an_agents_access_token_never_does() {
    let platform = Platform::start().await;
    let operator = platform.token(&platform.acme, "acme", Role::Operator).await;
    let ask = Ask::post(TICKETS, wish()).by(&operator);
    let ticket = platform.send(ask).await.expect(201).json();
    let close = format!("{}/close", place(&ticket));
    for role in [Role::Approver, Role::Auditor, Role::Viewer] {
        let token = platform.token(&platform.acme, "acme", role).await;
        let read = Ask::get(place(&ticket)).by(&token);
        platform.send(read).await.expect(200);
        let ask = Ask::post(TICKETS, wish()).by(&token);
        platform.send(ask).await.refused(403, "forbidden");
        let ask = Ask::post(&close, json!({})).by(&token);
        platform.send(ask).await.refused(403, "forbidden");
    }
    // What an access token looks like, the platform's own form included, opens nothing here.
    let header = "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9";
    for token in [
        format!("{header}.eyJzdWIiOiJhZ2VudDpjb3BpbG90In0.AAAA"),
        "pcs_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        String::new(),
    ] {
        let ask = Ask::post(TICKETS, wish()).by(&token);
        platform.send(ask).await.refused(401, "unauthenticated");
    }
    let sql = "select count(*) from tickets";
    assert_eq!(platform.superuser.count(sql).await, 1);
}

#[tokio::test]
async fn another_tenants_ticket_answers_as_one_that_does_not_exist() {
    let platform = Platform::start().await;
    let ours = place(&open(&platform, wish()).await).replace("/acme/", "/globex/");
    let absent = format!("/tenants/globex/tickets/tkt_{}", "0".repeat(32));
    for (foreign, absent) in [
        (Ask::get(&ours), Ask::get(&absent)),
        (
            Ask::post(format!("{ours}/close"), json!({})),
            Ask::post(format!("{absent}/close"), json!({})),
        ),
    ] {
        let foreign = platform.send(foreign.by(&platform.globex)).await;
        let absent = platform.send(absent.by(&platform.globex)).await;
        assert_eq!(foreign.bytes, absent.bytes);
        foreign.refused(404, "not-found");
    }
    let list = Ask::get("/tenants/globex/tickets").by(&platform.globex);
    assert_eq!(
        platform.send(list).await.expect(200).json()["items"],
        json!([])
    );
}

#[tokio::test]
async fn a_repeat_with_the_same_key_opens_one_ticket() {
    let platform = Platform::start().await;
    let ask = || Ask::post(TICKETS, wish()).key("launch").by(&platform.acme);
    let first = platform.send(ask()).await.expect(201);
    let again = platform.send(ask()).await.expect(201);
    assert_eq!(first.bytes, again.bytes);
    let other = Ask::post(TICKETS, with("/reason", json!("Other"))).key("launch");
    let reply = platform.send(other.by(&platform.acme)).await;
    reply.refused(409, "idempotency-key-reused");
    let sql = "select count(*) from tickets";
    assert_eq!(platform.superuser.count(sql).await, 1);
}
