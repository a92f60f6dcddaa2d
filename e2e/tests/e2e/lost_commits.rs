//! Commits whose fate the replica does not know, since the line to the database was cut at that very
//! moment: what happened is found out, what nobody knows is not answered, and nothing happens twice.

use std::time::Duration;

use portcullis_e2e::faults::{Stage, load, stage};
use portcullis_e2e::proxy::{CutAt, Proxy};
use portcullis_e2e::{Replica, Reply, wait};

/// A lease, the reaper's look and a busy machine.
const RESOLVED: Duration = Duration::from_secs(40);
/// Commits of a call that holds a claim, in their order.
const CLAIM: usize = 0;
const EFFECT: usize = 1;

struct Scene {
    replica: Replica,
    line: Proxy,
    stage: Stage,
}

impl Scene {
    async fn set() -> Self {
        let stage = Stage::set(1).await.unwrap();
        let (replica, line) = stage.replica_with_a_line().await.unwrap();
        Self {
            replica,
            line,
            stage,
        }
    }

    async fn set_flag(&self, name: &str) -> Reply {
        let url = self.replica.url();
        self.stage.caller.set_flag(&url, name).await.unwrap()
    }

    /// The same while a commit is lost.
    async fn set_flag_losing(&self, name: &str, commit: usize, at: CutAt) -> Reply {
        let before = self.line.lost();
        self.line.lose_commit(commit, at);
        let reply = self.set_flag(name).await;
        assert_eq!(self.line.lost(), before + 1, "no commit was lost");
        reply
    }

    async fn until_set(&self, name: &str) -> Reply {
        wait::until("a flag that is set", RESOLVED, || async {
            let reply = self
                .stage
                .caller
                .set_flag(&self.replica.url(), name)
                .await?;
            assert!([200, 409, 503].contains(&reply.status), "{}", reply.told());
            Ok((reply.status == 200).then_some(reply))
        })
        .await
        .unwrap()
    }

    fn count(&self, sql: &str) -> String {
        let region = self.stage.database("portcullis_eu_west");
        region
            .query(&format!("select count(*) from {sql}"))
            .unwrap()
    }

    fn changes_of(&self, name: &str) -> String {
        self.count(&format!("flag_changes where name = '{name}'"))
    }

    /// That every claim is done and has its record.
    #[track_caller]
    fn nothing_is_left_open(&self) {
        assert_eq!(self.count("claims where state <> 'done'"), "0");
        let unrecorded = "claims c where not exists (select from records r \
                          where r.tenant_id = c.tenant_id and r.id = c.outcome_id)";
        assert_eq!(self.count(unrecorded), "0");
    }
}

#[track_caller]
fn assert_not_answered(reply: &Reply) {
    assert!([409, 503].contains(&reply.status), "{}", reply.told());
    let waits = reply.header("retry-after").is_some();
    let says = reply
        .text()
        .contains("Repeat it with the same idempotency key in some seconds");
    assert!(waits || says, "{}", reply.told());
    assert!(!reply.text().contains("previousPct"), "{}", reply.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_whose_commit_was_done_and_never_confirmed_is_looked_for_and_answered() {
    let scene = Scene::set().await;
    let name = stage::unique("confirmed");
    let reply = scene.set_flag_losing(&name, EFFECT, CutAt::Answer).await;
    assert_eq!(reply.status, 200, "{}", reply.told());
    assert_eq!(scene.changes_of(&name), "1");
    let again = scene.set_flag(&name).await;
    assert!(load::is_replay(&again), "{}", again.told());
    assert_eq!(load::result(&again), load::result(&reply));
    assert_eq!(scene.changes_of(&name), "1");
    scene.nothing_is_left_open();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_whose_commit_never_arrived_is_not_answered_and_happens_once_when_repeated() {
    let scene = Scene::set().await;
    let name = stage::unique("vanished");
    let reply = scene.set_flag_losing(&name, EFFECT, CutAt::Request).await;
    assert_not_answered(&reply);
    assert_eq!(scene.changes_of(&name), "0");
    let again = scene.until_set(&name).await;
    assert!(!load::is_replay(&again), "{}", again.told());
    assert_eq!(scene.changes_of(&name), "1");
    scene.nothing_is_left_open();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_nobody_knows_of_is_looked_for_and_its_call_runs_once() {
    let scene = Scene::set().await;
    for at in [CutAt::Request, CutAt::Answer] {
        let name = stage::unique("unclaimed");
        let reply = scene.set_flag_losing(&name, CLAIM, at).await;
        assert_eq!(reply.status, 200, "{at:?}: {}", reply.told());
        assert!(!load::is_replay(&reply), "{at:?}: {}", reply.told());
        assert_eq!(scene.changes_of(&name), "1", "{at:?}");
        let again = scene.set_flag(&name).await;
        assert!(load::is_replay(&again), "{at:?}: {}", again.told());
        assert_eq!(scene.changes_of(&name), "1", "{at:?}");
    }
    scene.nothing_is_left_open();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_elsewhere_is_recorded_in_spite_of_a_lost_commit_and_never_repeated() {
    let scene = Scene::set().await;
    for at in [CutAt::Request, CutAt::Answer] {
        let effect = stage::unique("elsewhere");
        scene.line.lose_commit(EFFECT, at);
        let url = scene.replica.url();
        let reply = scene.stage.caller.make(&url, &effect).await.unwrap();
        assert_eq!(reply.status, 200, "{at:?}: {}", reply.told());
        let again = scene.stage.caller.make(&url, &effect).await.unwrap();
        assert!(load::is_replay(&again), "{at:?}: {}", again.told());
        assert_eq!(scene.stage.upstream.effects_of(&effect), 1, "{at:?}");
    }
    assert_eq!(scene.line.lost(), 2);
    scene.nothing_is_left_open();
}
