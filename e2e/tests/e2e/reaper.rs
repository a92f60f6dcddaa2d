//! Claims that cannot be closed: they hold up no other, and whoever watches is told.

use std::time::Duration;

use portcullis_e2e::{Grants, Http, Platform, Reply, wait};
use serde_json::json;

use crate::answers::assert_result;

const SOON: Duration = Duration::from_secs(30);
const REGION: &str = "portcullis_eu_west";
/// A claim of a call in another pool, whose intent is no record and so cannot be recorded.
const BROKEN: &str = "insert into claims (tenant_id, principal_id, tool, key_hash, id, fingerprint, \
    intent_id, outcome_id, intent, pool, transactional, state, replica_id, lease_until, created_at) \
    select tenant_id, principal_id, 'broken', key_hash, gen_random_uuid(), fingerprint, \
    gen_random_uuid(), gen_random_uuid(), 'no record', 'us-east', false, 'claimed', replica_id, \
    now() - interval '1 hour', now() from claims limit 1";
/// Claims that are still held.
const HELD: &str = "select count(*) from claims where state = 'claimed'";

async fn shown(platform: &Platform, path: &str) -> Reply {
    let url = format!("{}{path}", platform.admin().unwrap());
    Reply::to(Http::new().unwrap().get(&url)).await.unwrap()
}

#[tokio::test]
async fn a_claim_that_cannot_be_closed_is_told_and_holds_up_no_other() {
    let platform = Platform::start().await.unwrap();
    let agent = platform
        .agent("acme", &Grants::of(&["flags.write:dev"]))
        .await
        .unwrap();
    let client = agent.caller().await.unwrap();
    let set = json!({"name": "a", "env": "dev", "rolloutPct": 1, "idemKey": "00000000-0000-4000-8000-0000000000c2"});
    assert_result(&client.call("flag.set", set.clone()).await.unwrap());
    let region = platform.database(REGION);
    region.query(BROKEN).unwrap();
    wait::until("a claim that is told", SOON, || async {
        let health = shown(&platform, "/health").await;
        Ok((health.at("/claims_unclosed/eu-west") == 1).then_some(()))
    })
    .await
    .unwrap();
    let metrics = shown(&platform, "/metrics").await.text();
    let told = "portcullis_claims_unclosed{pool=\"eu-west\"} 1";
    assert!(metrics.contains(told), "{metrics}");
    // Another that has lost its replica is closed all the same, though it is younger.
    let orphan = "update claims set state = 'claimed', completed_at = null, \
                  lease_until = now() - interval '1 minute' where tool = 'flag.set'";
    region.query(orphan).unwrap();
    wait::until("the end of the other claim", SOON, || async {
        Ok((region.query(HELD)? == "1").then_some(()))
    })
    .await
    .unwrap();
    wait::until("an alert in the log", SOON, || async {
        let logs = platform.logs()?;
        Ok(logs
            .contains("a claim cannot be closed: its key stays taken")
            .then_some(()))
    })
    .await
    .unwrap();
    let logs = platform.logs().unwrap();
    let tries = logs.matches("a claim could not be closed").count();
    assert!(
        (1..=3).contains(&tries),
        "{tries} warnings before the alert"
    );
    region
        .query("delete from claims where tool = 'broken'")
        .unwrap();
    wait::until("the end of the alarm", Duration::from_mins(1), || async {
        let health = shown(&platform, "/health").await;
        Ok(health
            .at("/claims_unclosed/eu-west")
            .is_null()
            .then_some(()))
    })
    .await
    .unwrap();
}
