//! Claims: who sees them, who may end an uncertainty, and that nothing of them is another tenant's.

use std::collections::BTreeMap;

use portcullis_domain::Pool;
use portcullis_domain::id::{Claim, Id, Tenant};
use portcullis_store::RegionStore;
use portcullis_store::claims::{self, NewClaim, Settled};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Superuser};
use crate::platform::{Ask, Platform, URL, id};

const CLAIMS: &str = "/tenants/acme/claims";

async fn claim(region: &RegionStore, tenant: Id<Tenant>) -> Id<Claim> {
    let new = NewClaim {
        id: id(),
        principal: id(),
        tool: "flag.set",
        key_hash: [1; 32],
        fingerprint: [2; 32],
        intent: id(),
        outcome: id(),
        pool: region.pool(),
        transactional: false,
        replica: id(),
    };
    let first = claims::claim_elsewhere(region, tenant, &new, b"{}").await;
    assert_eq!(first.unwrap(), None);
    new.id
}

/// A claim whose outcome nobody knows.
pub(crate) async fn unknown_claim(region: &RegionStore, tenant: Id<Tenant>) -> Id<Claim> {
    let claim = claim(region, tenant).await;
    let mut tx = region.begin(tenant).await.unwrap();
    let settled = claims::settle(&mut tx, claim, Settled::Unknown).await;
    assert!(settled.unwrap());
    tx.commit().await.unwrap();
    claim
}

struct Claimed {
    platform: Platform,
    regions: BTreeMap<Pool, RegionStore>,
    home: Superuser,
    acme: Id<Tenant>,
}

impl Claimed {
    async fn start() -> Self {
        let cluster = Cluster::shared().await;
        let (store, home) = cluster.watched_region(Pool::EuWest).await;
        let mut regions = BTreeMap::from([(Pool::EuWest, store)]);
        regions.insert(Pool::UsEast, cluster.region(Pool::UsEast).await);
        let platform = Platform::over(regions.clone(), URL).await;
        let reply = platform
            .send(Ask::get("/tenants/acme").by(&platform.acme))
            .await
            .expect(200);
        let acme = reply.json()["id"].as_str().unwrap().parse().unwrap();
        Self {
            platform,
            regions,
            home,
            acme,
        }
    }

    /// A claim at home, under way or of unknown outcome.
    async fn claim(&self, unknown: bool) -> Id<Claim> {
        self.claim_in(Pool::EuWest, unknown).await
    }

    async fn claim_in(&self, pool: Pool, unknown: bool) -> Id<Claim> {
        if unknown {
            unknown_claim(&self.regions[&pool], self.acme).await
        } else {
            claim(&self.regions[&pool], self.acme).await
        }
    }

    async fn exists(&self, claim: Id<Claim>) -> bool {
        self.exists_in(Pool::EuWest, claim).await
    }

    async fn exists_in(&self, pool: Pool, claim: Id<Claim>) -> bool {
        let mut tx = self.regions[&pool].begin(self.acme).await.unwrap();
        claims::by_id(&mut tx, claim).await.unwrap().is_some()
    }

    fn resolve(&self, claim: Id<Claim>, outcome: &str) -> Ask {
        let body = json!({"outcome": outcome, "reason": "Seen in the upstream's log"});
        Ask::post(format!("{CLAIMS}/{claim}/resolve"), body).by(&self.platform.acme)
    }
}

#[tokio::test]
async fn an_unknown_claim_is_resolved_once_and_that_is_written_down() {
    let claimed = Claimed::start().await;
    let platform = &claimed.platform;
    let claim = claimed.claim(true).await;
    let ask = Ask::get(format!("{CLAIMS}?state=unknown")).by(&platform.acme);
    let list = platform.send(ask).await.expect(200).json();
    assert_eq!(list["items"][0]["id"], claim.to_string());
    let changes = platform.changes().await;
    let resolved = platform.send(claimed.resolve(claim, "executed")).await;
    let resolved = resolved.expect(200).json();
    assert_eq!(resolved["outcome"], "executed");
    let ask = || Ask::get(format!("{CLAIMS}/{claim}")).by(&platform.acme);
    let shown = platform.send(ask()).await.expect(200).json();
    assert_eq!(shown["state"], "done");
    assert_eq!(shown["resolved_by"], resolved["resolved_by"]);
    let again = platform.send(claimed.resolve(claim, "not-executed")).await;
    again.refused(409, "conflict");
    assert!(claimed.exists(claim).await);
    assert_eq!(platform.changes().await, changes + 1);
}

#[tokio::test]
async fn a_call_that_was_not_executed_gives_its_key_back() {
    let claimed = Claimed::start().await;
    let claim = claimed.claim(true).await;
    let platform = &claimed.platform;
    let resolved = platform.send(claimed.resolve(claim, "not-executed")).await;
    resolved.expect(200);
    assert!(!claimed.exists(claim).await);
    let ask = Ask::get(format!("{CLAIMS}/{claim}")).by(&platform.acme);
    platform.send(ask).await.refused(404, "not-found");
    let written = "select count(*) from outbox where action = 'claim.resolve'";
    assert_eq!(platform.superuser.count(written).await, 1);
}

#[tokio::test]
async fn a_repeat_of_a_request_makes_true_what_was_only_written_down() {
    let claimed = Claimed::start().await;
    let platform = &claimed.platform;
    let claim = claimed.claim(true).await;
    let resolve = || {
        claimed
            .resolve(claim, "executed")
            .header("idempotency-key", "k")
    };
    platform.send(resolve()).await.expect(200);
    let changes = platform.changes().await;
    // As if the replica had died between its two commits.
    let back = "update claims set state = 'unknown', resolved_by = null, resolved_reason = null";
    claimed.home.run(back).await;
    platform.send(resolve()).await.expect(200);
    let ask = Ask::get(format!("{CLAIMS}/{claim}")).by(&platform.acme);
    assert_eq!(platform.send(ask).await.json()["state"], "done");
    assert_eq!(platform.changes().await, changes, "it is written down once");
}

#[tokio::test]
async fn a_call_under_way_cannot_be_resolved_and_a_reason_is_asked_for() {
    let claimed = Claimed::start().await;
    let platform = &claimed.platform;
    let held = claimed.claim(false).await;
    let refused = platform.send(claimed.resolve(held, "not-executed")).await;
    refused.refused(409, "conflict");
    assert!(claimed.exists(held).await);
    for body in [
        json!({"outcome": "executed", "reason": ""}),
        json!({"outcome": "executed"}),
        json!({"outcome": "perhaps", "reason": "Seen"}),
    ] {
        let ask = Ask::post(format!("{CLAIMS}/{held}/resolve"), body).by(&platform.acme);
        assert_ne!(platform.send(ask).await.status, 200);
    }
    let absent = Id::<Claim>::from_row(uuid::Uuid::nil());
    let refused = platform.send(claimed.resolve(absent, "executed")).await;
    refused.refused(404, "not-found");
}

#[tokio::test]
async fn a_foreign_claim_answers_as_an_absent_one() {
    let claimed = Claimed::start().await;
    let platform = &claimed.platform;
    // In the home pool of the other tenant, where row-level security alone keeps them apart.
    let claim = claimed.claim_in(Pool::UsEast, true).await;
    let globex = format!("/tenants/globex/claims/{claim}");
    let ask = Ask::get(&globex).by(&platform.globex);
    platform.send(ask).await.refused(404, "not-found");
    let body = json!({"outcome": "not-executed", "reason": "Mine"});
    let ask = Ask::post(format!("{globex}/resolve"), body).by(&platform.globex);
    platform.send(ask).await.refused(404, "not-found");
    let ask = Ask::get("/tenants/globex/claims").by(&platform.globex);
    let list: Value = platform.send(ask).await.expect(200).json();
    assert_eq!(list["items"], json!([]));
    assert!(claimed.exists_in(Pool::UsEast, claim).await);
}
