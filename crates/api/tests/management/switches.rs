//! Kill switches through the API: who drops and lifts what, what has to be said, two people, and ends
//! that come by themselves. What a switch stops is tested where calls are.

use http::Method;
use portcullis_api::v1::switches::expiry;
use portcullis_domain::id::{Id, Replica};
use portcullis_store::replicas::{self, Presence};
use portcullis_wire::api::Role;
use serde_json::{Value, json};

use crate::platform::{Ask, Platform, Reply, at, id, text_at, token_id};

const ACME: &str = "/tenants/acme/switches";

fn dropping(kind: &str) -> Value {
    json!({"kind": kind, "reason": "an incident"})
}

fn quarantine(tool: &str) -> Value {
    json!({"kind": "tool-quarantine", "target": tool, "reason": "an incident"})
}

async fn post(platform: &Platform, by: &str, path: &str, body: Value) -> Reply {
    platform.send(Ask::post(path, body).by(by)).await
}

/// Drops a switch of acme; gives its id.
async fn dropped(platform: &Platform, body: Value) -> String {
    let reply = post(platform, &platform.acme, ACME, body).await.expect(201);
    reply.json()["switch"]["id"].as_str().unwrap().to_owned()
}

async fn lift(platform: &Platform, by: &str, switch: &str) -> Reply {
    let body = json!({"reason": "it is over"});
    post(platform, by, &format!("{ACME}/{switch}/lift"), body).await
}

async fn shown(platform: &Platform, switch: &str) -> Value {
    let ask = Ask::get(format!("{ACME}/{switch}")).by(&platform.acme);
    platform.send(ask).await.expect(200).json()
}

async fn two_people(platform: &Platform, wanted: bool) -> Reply {
    let tenant = Ask::get("/tenants/acme").by(&platform.acme);
    let etag = platform.send(tenant).await.etag();
    let body = json!({"two_person_lift": wanted});
    let ask = Ask::change(Method::PATCH, "/tenants/acme", &etag, body).by(&platform.acme);
    platform.send(ask).await
}

async fn polled(platform: &Platform, replica: Id<Replica>, known: Option<i64>) {
    let presence = Presence {
        replica,
        started_at: at(0),
    };
    let control = &platform.control;
    replicas::poll(control, presence, known).await.unwrap();
}

#[tokio::test]
async fn a_drop_and_a_lift_are_written_down_with_their_reasons() {
    let platform = Platform::start().await;
    let (changes, epoch) = (platform.changes().await, platform.epoch().await);
    let switch = dropped(&platform, quarantine("orders.get")).await;
    assert_eq!(platform.changes().await, changes + 1);
    assert_eq!(platform.epoch().await, epoch + 1);
    let body = shown(&platform, &switch).await;
    assert_eq!(body["switch"]["state"], "down");
    assert_eq!(body["switch"]["target"], "orders.get");
    assert_eq!(body["switch"]["by_platform"], false);
    assert_eq!(body["propagation"]["epoch"], epoch + 1);
    let reply = lift(&platform, &platform.acme, &switch).await.expect(200);
    assert_eq!(reply.json()["switch"]["state"], "lifted");
    assert_eq!(platform.changes().await, changes + 2);
    assert_eq!(platform.epoch().await, epoch + 2);
    let outbox = platform.superuser.dump("outbox").await;
    for words in ["switch.drop", "switch.lift", "an incident", "it is over"] {
        assert!(outbox.contains(words), "{words}");
    }
}

#[tokio::test]
async fn a_list_shows_what_is_down_and_all_only_where_asked() {
    let platform = Platform::start().await;
    let first = dropped(&platform, quarantine("orders.get")).await;
    platform.advance(1);
    let second = dropped(&platform, dropping("tenant-read-only")).await;
    lift(&platform, &platform.acme, &first).await.expect(200);
    for (query, expected) in [("", vec![&second]), ("?all=true", vec![&first, &second])] {
        let ask = Ask::get(format!("{ACME}{query}")).by(&platform.acme);
        let page = platform.send(ask).await.expect(200).json();
        let ids: Vec<_> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids.iter().collect::<Vec<_>>(), expected, "{query}");
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_said_stops_nothing_and_is_named() {
    let platform = Platform::start().await;
    let changes = platform.changes().await;
    for (body, field) in [
        (json!({"kind": "tenant-freeze"}), "reason"),
        (json!({"kind": "tenant-freeze", "reason": "  "}), "reason"),
        (
            json!({"kind": "tenant-freeze", "reason": "x".repeat(501)}),
            "reason",
        ),
        (quarantine("orders.gte"), "target"),
        (quarantine("a b"), "target"),
        (dropping("tool-quarantine"), "target"),
        (
            json!({"kind": "tenant-freeze", "target": "acme", "reason": "an incident"}),
            "target",
        ),
        (
            json!({"kind": "principal-suspension", "target": "agent:nobody", "reason": "an incident"}),
            "target",
        ),
        (
            json!({"kind": "server-quarantine", "target": "elsewhere", "reason": "an incident"}),
            "target",
        ),
        (dropping("platform-read-only"), "kind"),
        (
            json!({"kind": "tenant-freeze", "tenant": "globex", "reason": "an incident"}),
            "tenant",
        ),
        (
            json!({"kind": "tenant-freeze", "reason": "an incident", "expires_at": text_at(0)}),
            "expires_at",
        ),
    ] {
        let reply = post(&platform, &platform.acme, ACME, body.clone()).await;
        let reply = reply.refused(422, "invalid-request");
        let told = reply.json();
        assert_eq!(told["facts"]["field"], field, "{body} {told}");
    }
    assert_eq!(platform.changes().await, changes);
}

#[tokio::test]
async fn a_principal_is_named_by_its_id_or_its_name_and_stopped_by_its_name() {
    let platform = Platform::start().await;
    let principal = platform.principal("agent:copilot").await;
    let suspension = |target: &str| json!({"kind": "principal-suspension", "target": target, "reason": "an incident"});
    let switch = dropped(&platform, suspension(&principal)).await;
    let body = shown(&platform, &switch).await;
    assert_eq!(body["switch"]["target"], "agent:copilot");
    let again = post(&platform, &platform.acme, ACME, suspension("agent:copilot")).await;
    again.refused(409, "conflict");
}

#[tokio::test]
async fn activating_a_principal_lifts_no_switch() {
    let platform = Platform::start().await;
    platform.principal("agent:copilot").await;
    let body =
        json!({"kind": "principal-suspension", "target": "agent:copilot", "reason": "an incident"});
    let switch = dropped(&platform, body).await;
    let path = "/tenants/acme/principals/agent:copilot";
    for status in ["suspended", "active"] {
        let etag = platform
            .send(Ask::get(path).by(&platform.acme))
            .await
            .etag();
        let ask = Ask::change(Method::PATCH, path, &etag, json!({"status": status}));
        platform.send(ask.by(&platform.acme)).await.expect(200);
    }
    assert_eq!(shown(&platform, &switch).await["switch"]["state"], "down");
}

#[tokio::test]
async fn the_same_switch_again_is_a_conflict_that_names_the_one_that_is_down() {
    let platform = Platform::start().await;
    let switch = dropped(&platform, quarantine("orders.get")).await;
    let changes = platform.changes().await;
    let reply = post(&platform, &platform.acme, ACME, quarantine("orders.get")).await;
    let told = reply.refused(409, "conflict").json();
    assert!(told["detail"].as_str().unwrap().contains(&switch), "{told}");
    assert_eq!(platform.changes().await, changes);
    dropped(&platform, quarantine("orders.export")).await;
}

#[tokio::test]
async fn a_switch_is_lifted_once() {
    let platform = Platform::start().await;
    let switch = dropped(&platform, dropping("tenant-freeze")).await;
    lift(&platform, &platform.acme, &switch).await.expect(200);
    let changes = platform.changes().await;
    let again = lift(&platform, &platform.acme, &switch).await;
    again.refused(409, "conflict");
    assert_eq!(platform.changes().await, changes);
}

#[tokio::test]
async fn another_tenants_switch_is_neither_seen_nor_lifted() {
    let platform = Platform::start().await;
    let switch = dropped(&platform, dropping("tenant-freeze")).await;
    for path in [
        format!("{ACME}/{switch}"),
        format!("/tenants/globex/switches/{switch}"),
    ] {
        let seen = platform.send(Ask::get(&path).by(&platform.globex)).await;
        seen.refused(404, "not-found");
        let body = json!({"reason": "let it go"});
        let lifted = post(&platform, &platform.globex, &format!("{path}/lift"), body).await;
        lifted.refused(404, "not-found");
    }
    let list = Ask::get("/tenants/globex/switches?all=true").by(&platform.globex);
    let items = platform.send(list).await.expect(200).json()["items"].clone();
    assert_eq!(items, json!([]));
    assert_eq!(shown(&platform, &switch).await["switch"]["state"], "down");
}

#[tokio::test]
async fn what_the_platform_drops_a_tenant_sees_and_cannot_lift() {
    let platform = Platform::start().await;
    let body = json!({"kind": "tenant-freeze", "tenant": "acme", "reason": "an incident"});
    let frozen = post(&platform, &platform.root, "/switches", body).await;
    let read_only = dropping("platform-read-only");
    let read_only = post(&platform, &platform.root, "/switches", read_only).await;
    for (reply, seen_by_globex) in [(frozen, 404), (read_only, 200)] {
        let switch = reply.expect(201).json()["switch"]["id"].clone();
        let switch = switch.as_str().unwrap();
        let body = shown(&platform, switch).await;
        assert_eq!(body["switch"]["by_platform"], true);
        let refused = lift(&platform, &platform.acme, switch).await;
        refused.refused(403, "forbidden");
        let foreign = Ask::get(format!("/tenants/globex/switches/{switch}"));
        let foreign = platform.send(foreign.by(&platform.globex)).await;
        foreign.expect(seen_by_globex);
        let path = format!("/switches/{switch}/lift");
        let body = json!({"reason": "it is over"});
        post(&platform, &platform.root, &path, body)
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn the_platform_neither_sees_nor_lifts_what_a_tenant_dropped() {
    let platform = Platform::start().await;
    let switch = dropped(&platform, dropping("tenant-freeze")).await;
    let path = format!("/switches/{switch}");
    let seen = platform.send(Ask::get(&path).by(&platform.root)).await;
    seen.refused(404, "not-found");
    let body = json!({"reason": "let it go"});
    let lifted = post(&platform, &platform.root, &format!("{path}/lift"), body).await;
    lifted.refused(404, "not-found");
    let list = platform
        .send(Ask::get("/switches").by(&platform.root))
        .await;
    assert_eq!(list.expect(200).json()["items"], json!([]));
}

#[tokio::test]
async fn the_platform_drops_nothing_that_is_a_tenants_and_freezes_only_whom_it_names() {
    let platform = Platform::start().await;
    for (body, field) in [
        (dropping("tenant-read-only"), "kind"),
        (quarantine("orders.get"), "kind"),
        (dropping("tenant-freeze"), "tenant"),
        (
            json!({"kind": "tenant-freeze", "tenant": "initech", "reason": "an incident"}),
            "tenant",
        ),
        (
            json!({"kind": "platform-read-only", "tenant": "acme", "reason": "an incident"}),
            "tenant",
        ),
        (dropping("server-quarantine"), "target"),
    ] {
        let reply = post(&platform, &platform.root, "/switches", body.clone()).await;
        let told = reply.refused(422, "invalid-request").json();
        assert_eq!(told["facts"]["field"], field, "{body} {told}");
    }
}

#[tokio::test]
async fn a_repeat_with_the_same_key_drops_nothing_more() {
    let platform = Platform::start().await;
    let ask = || {
        Ask::post(ACME, quarantine("orders.get"))
            .key("once")
            .by(&platform.acme)
    };
    let first = platform.send(ask()).await.expect(201).json();
    let changes = platform.changes().await;
    // What is kept was written before anybody could confirm, so it promises nothing.
    let again = platform.send(ask()).await.expect(202).json();
    assert_eq!(again["switch"]["id"], first["switch"]["id"]);
    assert_eq!(again["propagation"]["acknowledged"], false);
    assert_eq!(platform.changes().await, changes);
}

#[tokio::test]
async fn two_people_lift_where_the_tenant_asks_for_them() {
    let platform = Platform::start().await;
    two_people(&platform, true).await.expect(200);
    let [first, second] = [
        platform.token(&platform.acme, "acme", Role::Operator).await,
        platform.token(&platform.acme, "acme", Role::Operator).await,
    ];
    let switch = dropped(&platform, dropping("tenant-freeze")).await;
    let asked = lift(&platform, &first, &switch).await.expect(202).json();
    assert_eq!(asked["switch"]["state"], "down");
    let by = asked["switch"]["lift_requested"]["by"].as_str().unwrap();
    assert!(by.contains(&token_id(&first)), "{by}");
    lift(&platform, &first, &switch)
        .await
        .refused(409, "conflict");
    let lifted = lift(&platform, &second, &switch).await.expect(200).json();
    assert_eq!(lifted["switch"]["state"], "lifted");
}

#[tokio::test]
async fn a_token_and_one_that_it_made_are_not_two_people_in_either_order() {
    let platform = Platform::start().await;
    two_people(&platform, true).await.expect(200);
    let owner = platform.token(&platform.acme, "acme", Role::Owner).await;
    let grandchild = platform.token(&owner, "acme", Role::Operator).await;
    let switch = dropped(&platform, dropping("tenant-freeze")).await;
    lift(&platform, &grandchild, &switch).await.expect(202);
    // One that made the other, and one that made the maker.
    for relative in [&owner, &platform.acme] {
        let refused = lift(&platform, relative, &switch).await;
        refused.refused(409, "conflict");
    }
    platform.advance(3_600);
    lift(&platform, &platform.acme, &switch).await.expect(202);
    for relative in [&owner, &grandchild] {
        let refused = lift(&platform, relative, &switch).await;
        refused.refused(409, "conflict");
    }
    assert_eq!(shown(&platform, &switch).await["switch"]["state"], "down");
}

#[tokio::test]
async fn a_request_of_long_ago_or_of_a_revoked_token_counts_for_nothing() {
    let platform = Platform::start().await;
    two_people(&platform, true).await.expect(200);
    let [first, second] = [
        platform.token(&platform.acme, "acme", Role::Operator).await,
        platform.token(&platform.acme, "acme", Role::Operator).await,
    ];
    let switch = dropped(&platform, dropping("tenant-freeze")).await;
    lift(&platform, &first, &switch).await.expect(202);
    platform.advance(3_600);
    lift(&platform, &second, &switch).await.expect(202);
    let path = format!("/service-tokens/{}", token_id(&second));
    let revoke = Ask::delete(path).by(&platform.acme);
    platform.send(revoke).await.expect(204);
    lift(&platform, &first, &switch).await.expect(202);
    assert_eq!(shown(&platform, &switch).await["switch"]["state"], "down");
}

#[tokio::test]
async fn the_second_person_cannot_be_done_away_with_while_a_switch_is_down() {
    let platform = Platform::start().await;
    two_people(&platform, true).await.expect(200);
    let switch = dropped(&platform, dropping("tenant-freeze")).await;
    two_people(&platform, false).await.refused(409, "conflict");
    let [first, second] = [
        platform.token(&platform.acme, "acme", Role::Operator).await,
        platform.token(&platform.acme, "acme", Role::Operator).await,
    ];
    lift(&platform, &first, &switch).await.expect(202);
    lift(&platform, &second, &switch).await.expect(200);
    let told = two_people(&platform, false).await.expect(200).json();
    assert_eq!(told["two_person_lift"], false);
}

#[tokio::test]
async fn an_expired_switch_ends_by_itself_and_that_is_written_down_once() {
    let platform = Platform::start().await;
    let body = json!({"kind": "tenant-freeze", "reason": "an incident", "expires_at": text_at(60)});
    let own = dropped(&platform, body).await;
    let body =
        json!({"kind": "platform-read-only", "reason": "an incident", "expires_at": text_at(60)});
    let reply = post(&platform, &platform.root, "/switches", body).await;
    let platforms = reply.expect(201).json()["switch"]["id"].clone();
    let (changes, epoch) = (platform.changes().await, platform.epoch().await);
    expiry::round(&platform.control, at(59)).await.unwrap();
    assert_eq!(platform.changes().await, changes);
    platform.advance(60);
    assert_eq!(shown(&platform, &own).await["switch"]["state"], "expired");
    for _ in 0..2 {
        expiry::round(&platform.control, at(60)).await.unwrap();
        assert_eq!(platform.changes().await, changes + 2);
        assert_eq!(platform.epoch().await, epoch + 2);
    }
    for switch in [own.as_str(), platforms.as_str().unwrap()] {
        let body = shown(&platform, switch).await;
        assert_eq!(body["switch"]["state"], "lifted");
        assert_eq!(body["switch"]["lifted"]["by"], "system:expiry");
    }
}

#[tokio::test]
async fn an_expired_switch_is_not_in_the_way_of_the_same_one() {
    let platform = Platform::start().await;
    let body = json!({"kind": "tenant-freeze", "reason": "an incident", "expires_at": text_at(60)});
    let old = dropped(&platform, body).await;
    platform.advance(60);
    let new = dropped(&platform, dropping("tenant-freeze")).await;
    assert_eq!(shown(&platform, &old).await["switch"]["state"], "lifted");
    assert_eq!(shown(&platform, &new).await["switch"]["state"], "down");
}

#[tokio::test]
async fn a_drop_waits_for_the_replica_that_has_not_confirmed() {
    let platform = Platform::start().await;
    let replica = id();
    polled(&platform, replica, Some(platform.epoch().await)).await;
    let epoch = platform.epoch().await + 1;
    let drop = dropped(&platform, quarantine("orders.get"));
    let follow = async {
        while platform.epoch().await < epoch {
            tokio::task::yield_now().await;
        }
        polled(&platform, replica, Some(epoch)).await;
    };
    let (switch, ()) = tokio::join!(drop, follow);
    let body = shown(&platform, &switch).await;
    let standing = &body["propagation"]["replicas"][0];
    assert_eq!(standing["replica"], replica.to_string());
    assert!(standing["confirmed_after_ms"].is_u64(), "{standing}");
}

#[tokio::test]
async fn a_silent_replica_delays_a_drop_until_it_refuses_by_itself() {
    let platform = Platform::start().await;
    polled(&platform, id(), Some(0)).await;
    let began = std::time::Instant::now();
    let reply = post(
        &platform,
        &platform.acme,
        ACME,
        dropping("tenant-read-only"),
    )
    .await;
    let body = reply.expect(201).json();
    let waited = began.elapsed();
    assert!(
        (1_500..6_000).contains(&waited.as_millis()),
        "a read-only switch waits for two seconds of silence: {waited:?}"
    );
    let standing = &body["propagation"]["replicas"][0];
    assert_eq!(standing["refuses_itself"], true, "{standing}");
}

#[tokio::test]
async fn a_drill_measures_and_stops_nothing() {
    let platform = Platform::start().await;
    let replica = id();
    let epoch = platform.epoch().await;
    polled(&platform, replica, Some(epoch + 1)).await;
    let changes = platform.changes().await;
    let body = json!({"reason": "the quarterly drill"});
    let reply = post(&platform, &platform.acme, "/switches/drill", body).await;
    let told = reply.expect(200).json();
    assert_eq!(told["epoch"], epoch + 1);
    assert_eq!(told["replicas"][0]["replica"], replica.to_string());
    assert_eq!(platform.changes().await, changes + 1);
    let list = Ask::get(ACME).by(&platform.acme);
    assert_eq!(platform.send(list).await.json()["items"], json!([]));
}

#[tokio::test]
async fn the_platform_sees_its_replicas_and_what_each_has_taken_in() {
    let platform = Platform::start().await;
    let (fresh, begun) = (id(), id());
    let epoch = platform.epoch().await;
    polled(&platform, fresh, Some(epoch)).await;
    polled(&platform, begun, None).await;
    let reply = platform
        .send(Ask::get("/replicas").by(&platform.root))
        .await;
    let told = reply.expect(200).json();
    assert_eq!(told["epoch"], epoch);
    assert_eq!(told["items"][0]["confirmed_epoch"], epoch);
    assert_eq!(told["items"][1]["confirmed_epoch"], Value::Null);
}
