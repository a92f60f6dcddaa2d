//! Idempotency, through the public port: one effect a key, whatever goes wrong; one terminal record a
//! call; and nothing of an answer for anybody but its caller.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use portcullis_domain::Pool;
use portcullis_store::claims::ClaimState;
use serde_json::{Value, json};

use crate::platform::{Agent, Platform};
use crate::writes::{COUNTER, REMOTE, Writes};

const LONG: Duration = Duration::from_mins(1);
const HOME: Pool = Pool::EuWest;
const AWAY: Pool = Pool::UsEast;

fn does(what: &str) -> Value {
    json!({ "name": "a", "does": what })
}

fn kind(body: &Value) -> &str {
    body["type"].as_str().unwrap_or_default()
}

/// The statuses of the outcomes of all calls, sorted; with the problem, where there is one.
async fn outcomes(platform: &Platform, pool: Pool) -> Vec<String> {
    let records = platform.records_in(pool).await;
    let mut outcomes: Vec<_> = records
        .iter()
        .filter(|(row, _)| row.kind == "call.outcome")
        .map(|(_, value)| {
            let outcome = &value["body"]["outcome"];
            let status = outcome["status"].as_str().unwrap();
            match outcome["problem"].as_str() {
                Some(problem) => format!("{status}: {problem}"),
                None => status.to_owned(),
            }
        })
        .collect();
    outcomes.sort();
    outcomes
}

async fn states(platform: &Platform) -> Vec<ClaimState> {
    let claims = platform.claims().await;
    claims.into_iter().map(|claim| claim.state).collect()
}

/// Calls until the key is no longer in progress.
async fn settled(platform: &Platform, tool: &str, arguments: &Value) -> (StatusCode, Value) {
    loop {
        let answer = platform.write(Agent::One, tool, "k", arguments).await;
        if kind(&answer.1) != "/problems/idempotency-in-progress" {
            return answer;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_at_once_have_one_effect_and_one_answer() {
    let platform = Platform::start(LONG).await;
    for tool in [COUNTER, REMOTE] {
        let arguments = does("ok");
        let calls = (0..20).map(|_| settled(&platform, tool, &arguments));
        let answers = join_all(calls).await;
        let replays = answers.iter().filter(|(status, body)| {
            assert_eq!(*status, StatusCode::OK, "{body}");
            assert_eq!(body["result"]["name"], "a");
            body["idempotent_replay"] == true
        });
        assert_eq!(replays.count(), 19, "{tool}");
    }
    assert_eq!(platform.orders(HOME).await, 1);
    assert_eq!(platform.remote.effects(), 1);
    assert_eq!(platform.counter.runs(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_answers_the_first_answer_with_a_fresh_receipt_and_says_so() {
    let platform = Platform::start(LONG).await;
    let (status, first) = platform.write(Agent::One, COUNTER, "k", &does("ok")).await;
    assert_eq!(status, StatusCode::OK, "{first}");
    assert_eq!(first.get("idempotent_replay"), None);
    let (_, second) = platform.write(Agent::One, COUNTER, "k", &does("ok")).await;
    assert_eq!(second["result"], first["result"]);
    assert_eq!(second["idempotent_replay"], true);
    assert_ne!(second["receipt"]["record"], first["receipt"]["record"]);

    let result = platform.mcp(COUNTER, Some(json!("k")), &does("ok")).await;
    let result = &result["result"];
    assert_eq!(result["content"][0]["text"], "OK (idempotent)");
    assert_eq!(result["structuredContent"], first["result"]);
    assert_eq!(result["_meta"]["dev.portcullis/idempotent-replay"], true);

    assert_eq!(outcomes(&platform, HOME).await, ["ok", "ok", "ok"]);
    let records = platform.records().await;
    let intents: Vec<_> = records
        .iter()
        .filter(|(row, _)| row.kind == "call.intent")
        .collect();
    assert_eq!(intents.len(), 1);
    let original = records
        .iter()
        .find(|(row, _)| row.intent.is_some())
        .map(|(row, _)| row.id.to_string());
    assert_eq!(original.as_deref(), first["receipt"]["record"].as_str());
    let replays = records
        .iter()
        .filter(|(_, value)| value["body"]["outcome"]["replay_of"].as_str() == original.as_deref());
    assert_eq!(replays.count(), 2);
    let commitment = &intents[0].1["body"]["call"]["idempotency_key"];
    assert!(commitment.as_str().unwrap().starts_with("hmac-sha256:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_of_another_principal_gets_nothing_of_the_first_answer() {
    let platform = Platform::start(LONG).await;
    for (agent, name) in [(Agent::One, "first"), (Agent::Two, "second")] {
        let arguments = json!({ "name": name, "does": "ok" });
        let (status, body) = platform.write(agent, REMOTE, "k", &arguments).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!(body["result"]["name"], name);
        assert_eq!(body.get("idempotent_replay"), None);
    }
    assert_eq!(platform.remote.effects(), 2);
    let keys = platform.remote.keys.lock().unwrap().clone();
    assert_ne!(keys[0], keys[1]);
    assert!(!keys.iter().any(|key| key == "k"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_other_arguments_or_another_tool_is_another_matter() {
    let platform = Platform::start(LONG).await;
    platform.write(Agent::One, COUNTER, "k", &does("ok")).await;
    let other = json!({ "name": "b", "does": "ok" });
    let (status, body) = platform.write(Agent::One, COUNTER, "k", &other).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(kind(&body), "/problems/idempotency-key-reused");
    assert!(!body.to_string().contains("dana"), "{body}");
    assert_eq!(platform.orders(HOME).await, 1);
    let (status, _) = platform.write(Agent::One, REMOTE, "k", &other).await;
    assert_eq!(status, StatusCode::OK, "keys belong to a tool");
    let expected = ["ok", "ok", "refused: idempotency-key-reused"];
    assert_eq!(outcomes(&platform, HOME).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_tightened_by_todays_policy_and_never_loosened() {
    let platform = Platform::start(LONG).await;
    let call = |key| platform.write(Agent::One, COUNTER, key, does_ok());
    let (_, shown) = call("shown").await;
    assert_eq!(shown["result"]["email"], "dana@example.com");
    platform.publish(|rules| masked(rules, "mask")).await;
    let (_, tightened) = call("shown").await;
    assert_eq!(tightened["result"]["email"], "***@***");
    let (_, masked_first) = call("masked").await;
    assert_eq!(masked_first["result"]["email"], "***@***");
    platform.publish(|rules| rules).await;
    let (_, still_masked) = call("masked").await;
    assert_eq!(still_masked["idempotent_replay"], true);
    assert_eq!(still_masked["result"]["email"], "***@***");
    platform.publish(|rules| masked(rules, "hash")).await;
    let (_, hashed) = call("hashed").await;
    let (_, again) = call("hashed").await;
    assert_eq!(again["idempotent_replay"], true);
    assert_eq!(again["result"], hashed["result"], "no hash of a hash");
}

fn does_ok() -> &'static Value {
    static OK: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| does("ok"));
    &OK
}

fn masked(rules: String, mode: &str) -> String {
    let hiding = format!(
        "rules:\n  - rule: hide\n    when: {{ tool: \"{COUNTER}\" }}\n    redact:\n      - field: \
         \"email\"\n        mode: \"{mode}\"\n"
    );
    rules.replacen("rules:\n", &hiding, 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_refuses_meanwhile_refuses_the_repeat() {
    let platform = Platform::start(LONG).await;
    platform.write(Agent::One, COUNTER, "k", &does("ok")).await;
    let deny = "rules:\n  - rule: no\n    when: { tool: \"counter.add\" }\n    decision: deny\n    \
                reason: \"no\"\n";
    platform
        .publish(|rules| rules.replacen("rules:\n", deny, 1))
        .await;
    let (status, body) = platform.write(Agent::One, COUNTER, "k", &does("ok")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(!body.to_string().contains("dana"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_asked_for_only_once_policy_has_permitted() {
    let platform = Platform::start(LONG).await;
    let (status, body) = platform.bare(COUNTER, &does("forbidden")).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    assert_eq!(kind(&body), "/problems/policy-denied");
    let (status, body) = platform.bare(COUNTER, &does("ok")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(kind(&body), "/problems/idempotency-key-required");
    assert!(platform.claims().await.is_empty());
    assert_eq!(platform.orders(HOME).await, 0);
    let expected = [
        "refused: idempotency-key-required",
        "refused: policy-denied",
    ];
    assert_eq!(outcomes(&platform, HOME).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_stand_in_three_places_and_two_that_differ_are_refused() {
    let platform = Platform::start(LONG).await;
    let inside = json!({ "name": "a", "does": "ok", "idemKey": "k" });
    let (status, body) = platform.bare(COUNTER, &inside).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let (_, body) = platform
        .write(Agent::One, COUNTER, "\"k\"", &does("ok"))
        .await;
    assert_eq!(body["idempotent_replay"], true, "{body}");
    let result = platform.mcp(COUNTER, Some(json!("k")), &inside).await;
    assert_eq!(result["result"]["isError"], false, "{result}");
    assert_eq!(platform.orders(HOME).await, 1);

    let (status, body) = platform.write(Agent::One, COUNTER, "other", &inside).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(kind(&body), "/problems/invalid-arguments");
    for unfit in ["", "with space", &"k".repeat(201)] {
        let inside = json!({ "name": "a", "does": "ok", "idemKey": unfit });
        let (status, body) = platform.bare(COUNTER, &inside).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(kind(&body), "/problems/invalid-arguments");
    }
    let fault = platform.mcp(COUNTER, Some(json!(7)), &does("ok")).await;
    assert_eq!(fault["error"]["code"], -32602, "{fault}");
    assert_eq!(platform.orders(HOME).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_way_is_not_joined_and_says_when_to_come_back() {
    let platform = Platform::start(LONG).await;
    let arguments = does("hangs-before");
    let first = platform.write(Agent::One, COUNTER, "k", &arguments);
    let meanwhile = async {
        platform.counter.begun.notified().await;
        let answer = platform.write(Agent::One, COUNTER, "k", &arguments).await;
        platform.counter.go_on.notify_one();
        answer
    };
    let ((first, _), (status, body)) = tokio::join!(first, meanwhile);
    assert_eq!(first, StatusCode::OK);
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(kind(&body), "/problems/idempotency-in-progress");
    assert_eq!(platform.orders(HOME).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_without_effect_frees_the_key() {
    let platform = Platform::start(LONG).await;
    for (tool, what) in [
        (COUNTER, "panics"),
        (COUNTER, "lies"),
        (COUNTER, "uncertain"),
        (REMOTE, "refused"),
        (REMOTE, "unreachable"),
    ] {
        for _ in 0..2 {
            let (status, body) = platform.write(Agent::One, tool, "k", &does(what)).await;
            assert_eq!(status, StatusCode::BAD_GATEWAY, "{tool} {what}: {body}");
        }
    }
    assert_eq!(platform.counter.runs() + platform.remote.runs(), 10);
    assert_eq!(platform.orders(HOME).await, 0);
    assert!(platform.claims().await.is_empty());
    assert_eq!(outcomes(&platform, HOME).await, ["failed: tool-failed"; 10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uncertain_outcome_is_unknown_and_never_sent_again() {
    let platform = Platform::start(LONG).await;
    for what in ["uncertain", "panics"] {
        let (status, body) = platform.write(Agent::One, REMOTE, what, &does(what)).await;
        assert_eq!(status, StatusCode::CONFLICT, "{body}");
        assert_eq!(kind(&body), "/problems/outcome-unknown");
        let (status, body) = platform.write(Agent::One, REMOTE, what, &does(what)).await;
        assert_eq!(status, StatusCode::CONFLICT, "{body}");
        assert_eq!(kind(&body), "/problems/outcome-unknown");
        assert!(body["facts"]["claim"].as_str().unwrap().starts_with("clm_"));
    }
    assert_eq!(platform.remote.effects(), 2);
    assert_eq!(states(&platform).await, [ClaimState::Unknown; 2]);
    let refused = "refused: outcome-unknown";
    assert_eq!(
        outcomes(&platform, HOME).await,
        [refused, refused, "unknown", "unknown"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_whose_answer_may_not_be_shown_is_not_repeated() {
    let platform = Platform::start(LONG).await;
    let (status, _) = platform.write(Agent::One, REMOTE, "k", &does("lies")).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    let (status, body) = platform.write(Agent::One, REMOTE, "k", &does("lies")).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(kind(&body), "/problems/answer-lost");
    assert_eq!(platform.remote.effects(), 1);
}

/// A call whose caller hangs up at the place where the tool hangs.
async fn hang_up(platform: &Platform, writes: &Arc<Writes>, tool: &str, what: &str) {
    let arguments = does(what);
    tokio::select! {
        answer = platform.write(Agent::One, tool, "k", &arguments) => panic!("answered: {answer:?}"),
        () = writes.begun.notified() => {}
    }
    platform.gate.tasks.close();
    platform.gate.tasks.wait().await;
    platform.gate.tasks.reopen();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_hangs_up_before_the_effect_frees_the_key_and_after_it_leaves_it_unknown() {
    let platform = Platform::start(LONG).await;
    let (counter, remote) = (&platform.counter, &platform.remote);
    hang_up(&platform, counter, COUNTER, "hangs-before").await;
    hang_up(&platform, counter, COUNTER, "hangs-after").await;
    hang_up(&platform, remote, REMOTE, "hangs-before").await;
    assert!(platform.claims().await.is_empty());
    assert_eq!(platform.orders(HOME).await, 0);
    let cancelled = "cancelled: cancelled";
    assert_eq!(outcomes(&platform, HOME).await, [cancelled; 3]);
    hang_up(&platform, remote, REMOTE, "hangs-after").await;
    assert_eq!(states(&platform).await, [ClaimState::Unknown]);
    assert_eq!(
        outcomes(&platform, HOME).await,
        [cancelled, cancelled, cancelled, "unknown"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_after_the_effect_leaves_it_unknown() {
    let platform = Platform::start(Duration::from_millis(300)).await;
    let (status, body) = platform
        .write(Agent::One, REMOTE, "k", &does("hangs-after"))
        .await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(kind(&body), "/problems/outcome-unknown");
    let (status, _) = platform
        .write(Agent::One, COUNTER, "k", &does("hangs-after"))
        .await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(platform.orders(HOME).await, 0);
    let expected = ["cancelled: deadline-exceeded", "unknown"];
    assert_eq!(outcomes(&platform, HOME).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_claim_was_closed_meanwhile_commits_nothing() {
    let platform = Platform::start(LONG).await;
    let arguments = does("hangs-after");
    let first = platform.write(Agent::One, COUNTER, "k", &arguments);
    let meanwhile = async {
        platform.counter.begun.notified().await;
        platform.expire();
        assert!(platform.reap().await);
        assert!(platform.claims().await.is_empty(), "nothing was left");
        platform.counter.go_on.notify_one();
    };
    let ((status, body), ()) = tokio::join!(first, meanwhile);
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    assert_eq!(kind(&body), "/problems/outcome-unknown");
    assert_eq!(platform.orders(HOME).await, 0);
    assert_eq!(outcomes(&platform, HOME).await, ["abandoned"]);
    let (status, _) = platform.write(Agent::One, COUNTER, "k", &does("ok")).await;
    assert_eq!(status, StatusCode::OK, "the key is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_elsewhere_that_nobody_ended_becomes_unknown() {
    let platform = Platform::start(LONG).await;
    let arguments = does("hangs-before");
    let first = platform.write(Agent::One, REMOTE, "k", &arguments);
    let meanwhile = async {
        platform.remote.begun.notified().await;
        platform.expire();
        assert!(platform.reap().await);
        assert!(!platform.reap().await, "closed once");
        platform.remote.go_on.notify_one();
    };
    let ((status, body), ()) = tokio::join!(first, meanwhile);
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    assert_eq!(platform.remote.effects(), 1);
    assert_eq!(states(&platform).await, [ClaimState::Unknown]);
    assert_eq!(outcomes(&platform, HOME).await, ["unknown"]);
    platform.write(Agent::One, REMOTE, "k", &arguments).await;
    assert_eq!(platform.remote.effects(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_loses_its_claim_is_cancelled() {
    let platform = Platform::start(LONG).await;
    let arguments = does("hangs-before");
    let first = platform.write(Agent::One, REMOTE, "k", &arguments);
    let meanwhile = async {
        platform.remote.begun.notified().await;
        platform.expire();
        assert!(platform.reap().await);
    };
    // The tool is never told to go on: the next heartbeat ends the call.
    let ((status, _), ()) = tokio::join!(first, meanwhile);
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(platform.remote.effects(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_runs_longer_than_its_first_lease_keeps_its_claim() {
    let platform = Platform::start(LONG).await;
    let arguments = does("hangs-after");
    let first = platform.write(Agent::One, COUNTER, "k", &arguments);
    let meanwhile = async {
        platform.counter.begun.notified().await;
        let lease = platform.claims().await[0].lease_until;
        let extended = async {
            while platform.claims().await[0].lease_until == lease {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(8), extended)
            .await
            .unwrap();
        assert!(!platform.reap().await);
        platform.counter.go_on.notify_one();
    };
    let ((status, _), ()) = tokio::join!(first, meanwhile);
    assert_eq!(status, StatusCode::OK);
}

fn away(what: &str) -> Value {
    json!({ "name": "a", "does": what, "away": true })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_route_gives_one_key_no_second_effect() {
    let platform = Platform::start(LONG).await;
    for tool in [COUNTER, REMOTE] {
        let (status, first) = platform.write(Agent::One, tool, "k", &away("ok")).await;
        assert_eq!(status, StatusCode::OK, "{first}");
    }
    platform
        .publish(|rules| rules.replace("route: \"us-east\"", "route: \"eu-west\""))
        .await;
    for tool in [COUNTER, REMOTE] {
        let (status, again) = platform.write(Agent::One, tool, "k", &away("ok")).await;
        assert_eq!(status, StatusCode::OK, "{again}");
        assert_eq!(again["idempotent_replay"], true);
    }
    assert_eq!(
        (platform.orders(HOME).await, platform.orders(AWAY).await),
        (0, 1)
    );
    assert_eq!(platform.remote.effects(), 1);
    assert_eq!(states(&platform).await, [ClaimState::Done; 2]);
    assert_eq!(outcomes(&platform, AWAY).await, ["ok", "ok"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_in_another_pool_frees_the_key_too() {
    let platform = Platform::start(LONG).await;
    for (tool, what) in [(COUNTER, "panics"), (REMOTE, "refused")] {
        platform.write(Agent::One, tool, "k", &away(what)).await;
    }
    assert!(platform.claims().await.is_empty());
    assert_eq!(platform.orders(AWAY).await, 0);
    platform
        .write(Agent::One, REMOTE, "k", &away("uncertain"))
        .await;
    assert_eq!(states(&platform).await, [ClaimState::Unknown]);
    let failed = "failed: tool-failed";
    assert_eq!(outcomes(&platform, AWAY).await, [failed, failed, "unknown"]);
    assert!(outcomes(&platform, HOME).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_another_pool_is_closed_from_home_and_cannot_commit_any_more() {
    let platform = Platform::start(LONG).await;
    let arguments = away("hangs-after");
    let first = platform.write(Agent::One, COUNTER, "k", &arguments);
    let meanwhile = async {
        platform.counter.begun.notified().await;
        platform.expire();
        assert!(platform.reap().await);
        platform.counter.go_on.notify_one();
    };
    let ((status, body), ()) = tokio::join!(first, meanwhile);
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    assert_eq!(platform.orders(AWAY).await, 0);
    assert_eq!(outcomes(&platform, AWAY).await, ["abandoned"]);
    assert!(platform.claims().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_that_never_arrived_in_its_pool_is_recorded_when_its_claim_is_closed() {
    let platform = Platform::start(LONG).await;
    let arguments = away("hangs-before");
    let first = platform.write(Agent::One, REMOTE, "k", &arguments);
    let meanwhile = async {
        platform.remote.begun.notified().await;
        // As if the replica had died between the claim at home and the intent in the other pool.
        platform.administer(AWAY, "delete from records");
        platform.expire();
        assert!(platform.reap().await);
        let records = platform.records_in(AWAY).await;
        let mut kinds: Vec<_> = records.iter().map(|(row, _)| row.kind.as_str()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["call.intent", "call.outcome"]);
        assert!(platform.claims().await.is_empty(), "it cannot have begun");
        platform.remote.go_on.notify_one();
    };
    tokio::join!(first, meanwhile);
    assert_eq!(outcomes(&platform, AWAY).await, ["abandoned"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_its_replica_could_not_end_at_home_is_ended_as_the_record_says() {
    let platform = Platform::start(LONG).await;
    platform.write(Agent::One, COUNTER, "k", &away("ok")).await;
    // As if the replica had died between the outcome in the other pool and the claim at home.
    let back = "update claims set state = 'claimed', completed_at = null,
                                  lease_until = now() - interval '1 second'";
    platform.administer(HOME, back);
    assert!(platform.reap().await);
    assert_eq!(states(&platform).await, [ClaimState::Done]);
    let (_, again) = platform.write(Agent::One, COUNTER, "k", &away("ok")).await;
    assert_eq!(again["idempotent_replay"], true, "{again}");
    assert_eq!(platform.orders(AWAY).await, 1);
}
