//! Policy versions: drafts that compile, publications that have been seen, rollbacks.

use http::Method;
use serde_json::{Value, json};

use crate::platform::{Ask, POLICY, Platform, Reply};

const PATH: &str = "/tenants/acme/policies";
/// A policy that nothing is wrong with.
const SOUND: &str =
    "- { rule: reads, when: { tool.risk: low, tool.mutating: false }, decision: allow }\n";

async fn draft(platform: &Platform, text: &str) -> Reply {
    let ask = Ask::new(Method::POST, PATH).text("application/yaml", text);
    platform.send(ask.by(&platform.acme)).await
}

async fn publish(platform: &Platform, number: i64, etag: &str, body: Value) -> Reply {
    let path = format!("{PATH}/{number}/publish");
    let ask = Ask::change(Method::POST, path, etag, body);
    platform.send(ask.by(&platform.acme)).await
}

async fn read(platform: &Platform, number: i64) -> Reply {
    let ask = Ask::get(format!("{PATH}/{number}")).by(&platform.acme);
    platform.send(ask).await
}

fn number(reply: &Reply) -> i64 {
    reply.json()["number"].as_i64().unwrap()
}

#[tokio::test]
async fn a_draft_decides_nothing_until_it_is_published() {
    let platform = Platform::start().await;
    let drafted = draft(&platform, SOUND).await.expect(201);
    assert_eq!(drafted.json()["status"], "draft");
    assert_eq!(read(&platform, 1).await.json()["status"], "published");
    let published = publish(&platform, 2, &drafted.etag(), json!({}))
        .await
        .expect(200);
    assert_eq!(published.json()["status"], "published");
    assert_eq!(read(&platform, 1).await.json()["status"], "superseded");
    assert_eq!(read(&platform, 2).await.json()["source"], SOUND);
    let list = platform
        .send(Ask::get(PATH).by(&platform.acme))
        .await
        .json();
    let numbers: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| &v["number"])
        .collect();
    assert_eq!(numbers, [2, 1]);
    assert!(list["items"][0].get("source").is_none());
}

#[tokio::test]
async fn a_text_that_does_not_hold_is_refused_with_its_places() {
    let platform = Platform::start().await;
    let changes = platform.changes().await;
    for (text, line) in [
        (
            "- rule: x\n  when: { tool: orders.get }\n  decison: allow\n",
            3,
        ),
        (
            "- rule: x\n  when: { tool.rsk: low }\n  decision: allow\n",
            2,
        ),
        ("- rule: x\n  when: [\n", 3),
    ] {
        let problem = draft(&platform, text)
            .await
            .refused(422, "invalid-request")
            .json();
        let found = problem["facts"]["diagnostics"].as_array().unwrap();
        let error = found
            .iter()
            .find(|found| found["severity"] == "error")
            .unwrap();
        assert_eq!(error["line"], line, "{problem}");
        assert!(error["column"].as_u64().unwrap() > 0);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("line {line}")), "{detail}");
    }
    let json = Ask::post(PATH, json!([])).by(&platform.acme);
    platform
        .send(json)
        .await
        .refused(415, "unsupported-media-type");
    let bytes = Ask::new(Method::POST, PATH).text("application/yaml", &"#".repeat(512 * 1024 + 1));
    platform
        .send(bytes.by(&platform.acme))
        .await
        .refused(413, "body-too-large");
    assert_eq!(platform.changes().await, changes);
}

#[tokio::test]
async fn a_redaction_that_breaks_a_tools_own_output_is_refused() {
    let platform = Platform::start().await;
    for (field, mode, refused) in [
        ("currency", "drop", true),
        ("status", "mask", true),
        ("placedOn", "hash", true),
        ("email", "mask", false),
    ] {
        let text = format!(
            "- rule: x\n  when: {{ tool: orders.get }}\n  decision: allow\n  redact: [{{ field: {field}, mode: {mode} }}]\n"
        );
        let reply = draft(&platform, &text).await;
        if refused {
            let problem = reply.refused(422, "invalid-request").json();
            let found = &problem["facts"]["diagnostics"][0];
            assert_eq!(
                (&found["line"], &found["severity"]),
                (&json!(1), &json!("error"))
            );
            let message = found["message"].as_str().unwrap();
            assert!(
                message.contains(field) && message.contains("`orders.get`"),
                "{message}"
            );
        } else {
            reply.expect(201);
        }
    }
}

#[tokio::test]
async fn the_shipped_policy_is_a_draft_as_it_is() {
    let platform = Platform::start().await;
    draft(&platform, POLICY).await.expect(201);
    let playbook = include_str!("../../../../policies/playbook.yaml");
    draft(&platform, playbook).await.expect(201);
}

#[tokio::test]
async fn warnings_are_accepted_by_name_or_not_at_all() {
    let platform = Platform::start().await;
    // A policy without rules denies everything, which its author is told.
    let drafted = draft(&platform, "[]").await.expect(201);
    assert_eq!(drafted.json()["warnings"].as_array().unwrap().len(), 1);
    let etag = drafted.etag();
    let problem = publish(&platform, 2, &etag, json!({}))
        .await
        .refused(409, "conflict");
    let problem = problem.json();
    assert_eq!(problem["facts"]["diagnostics"][0]["severity"], "warning");
    assert!(
        problem["remedy"]
            .as_str()
            .unwrap()
            .contains("accept_warnings")
    );
    publish(&platform, 2, &etag, json!({"accept": true}))
        .await
        .refused(422, "invalid-request");
    publish(&platform, 2, &etag, json!({"accept_warnings": true}))
        .await
        .expect(200);
}

#[tokio::test]
async fn nobody_publishes_over_a_publication_that_he_has_not_seen() {
    let platform = Platform::start().await;
    let second = draft(&platform, SOUND).await.expect(201);
    let third = draft(&platform, &format!("# another\n{SOUND}"))
        .await
        .expect(201);
    publish(&platform, number(&third), &third.etag(), json!({}))
        .await
        .expect(200);
    let stale = publish(&platform, number(&second), &second.etag(), json!({})).await;
    stale.refused(412, "precondition-failed");
    let bare = Ask::post(format!("{PATH}/2/publish"), json!({})).by(&platform.acme);
    platform
        .send(bare)
        .await
        .refused(428, "precondition-required");
    let seen = read(&platform, 2).await.etag();
    publish(&platform, 2, &seen, json!({})).await.expect(200);
}

#[tokio::test]
async fn of_two_publications_at_once_one_wins() {
    let platform = Platform::start().await;
    let second = draft(&platform, SOUND).await.expect(201);
    let third = draft(&platform, &format!("# another\n{SOUND}"))
        .await
        .expect(201);
    let (one, two) = futures_util::future::join(
        publish(&platform, 2, &second.etag(), json!({})),
        publish(&platform, 3, &third.etag(), json!({})),
    )
    .await;
    let (won, lost) = if one.status == 200 {
        (one, two)
    } else {
        (two, one)
    };
    won.expect(200);
    lost.refused(412, "precondition-failed");
    let sql = "select count(*) from policy_versions p join tenants t on t.id = p.tenant_id
               where t.slug = 'acme' and p.status = 'published'";
    assert_eq!(platform.superuser.count(sql).await, 1);
}

#[tokio::test]
async fn an_older_version_is_published_again_as_a_rollback() {
    let platform = Platform::start().await;
    let second = draft(&platform, SOUND).await.expect(201);
    publish(&platform, 2, &second.etag(), json!({}))
        .await
        .expect(200);
    let first = read(&platform, 1).await;
    let back = publish(
        &platform,
        1,
        &first.etag(),
        json!({"accept_warnings": true}),
    )
    .await;
    assert_eq!(back.expect(200).json()["status"], "published");
    assert_eq!(read(&platform, 2).await.json()["status"], "superseded");
    assert_eq!(read(&platform, 1).await.json()["source"], POLICY);
}

#[tokio::test]
async fn a_version_that_is_not_there_is_not_found() {
    let platform = Platform::start().await;
    for number in ["0", "-1", "99", "x", "1e0", "99999999999999999999"] {
        let ask = Ask::get(format!("{PATH}/{number}")).by(&platform.acme);
        platform.send(ask).await.refused(404, "not-found");
    }
}
