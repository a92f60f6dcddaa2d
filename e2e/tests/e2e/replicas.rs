//! Several replicas on the same databases: what one knows or forbids, all do.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use portcullis_e2e::agent::PATIENCE;
use portcullis_e2e::mcp::RECEIPT;
use portcullis_e2e::{Grants, Http, McpClient, Options, Platform, Replica, Reply, wait};
use serde_json::json;
use tokio::task::JoinSet;

use crate::answers::{assert_result, assert_unauthorized, fresh_trace};

#[tokio::test]
async fn a_token_that_one_replica_has_bound_is_bound_on_every_other() {
    let options = Options::default().with("PORTCULLIS_TOKENS_NETWORK_PREFIX_V4", "32");
    let platform = Platform::start_with(options).await.unwrap();
    let second = Replica::beside(&platform).await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    let elsewhere = Http::calling_from(IpAddr::from([127, 0, 0, 2])).unwrap();
    let thief = McpClient::new(
        &elsewhere,
        client.url().to_owned(),
        client.token().to_owned(),
    );
    let refused = second
        .called_by(&thief)
        .send("tools/list", json!({}))
        .await
        .unwrap();
    assert_unauthorized(&refused, "token-replayed");
    let own = second
        .called_by(&client)
        .send("tools/list", json!({}))
        .await
        .unwrap();
    assert_eq!(own.status, 200, "{}", own.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_uses_of_a_one_time_token_over_three_replicas_one_is_accepted() {
    let platform = Platform::start_with(Options::default().roomy())
        .await
        .unwrap();
    let owner = platform.owner("acme").unwrap();
    owner
        .patch("/tenants/acme", &json!({"replay": "one-time"}))
        .await
        .unwrap();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let replicas = [
        Replica::beside(&platform).await.unwrap(),
        Replica::beside(&platform).await.unwrap(),
    ];
    let url = agent.mcp_url().to_owned();
    for round in 0..3 {
        let token = agent.token().await.unwrap();
        let first = McpClient::new(&Http::new().unwrap(), url.clone(), token);
        let clients = [
            replicas[0].called_by(&first),
            replicas[1].called_by(&first),
            first.clone(),
        ];
        let mut uses = JoinSet::new();
        for number in 0..300 {
            let client = clients[number % 3].clone();
            uses.spawn(async move { client.send("tools/list", json!({})).await.unwrap() });
        }
        let replies = uses.join_all().await;
        let accepted = replies.iter().filter(|reply| reply.status == 200).count();
        assert_eq!(accepted, 1, "round {round}");
        for reply in replies.iter().filter(|reply| reply.status != 200) {
            assert_unauthorized(reply, "token-replayed");
        }
    }
}

#[tokio::test]
async fn a_change_reaches_every_replica_soon() {
    let platform = Platform::start().await.unwrap();
    let second = Replica::beside(&platform).await.unwrap();
    let agent = platform.agent("acme", &Grants::default()).await.unwrap();
    let client = second.called_by(&agent.caller().await.unwrap());
    wait::until("the second replica's knowledge", PATIENCE, || async {
        let reply = client.send("tools/list", json!({})).await?;
        Ok((reply.status == 200).then_some(()))
    })
    .await
    .unwrap();
    let owner = platform.owner("acme").unwrap();
    let path = format!("/tenants/acme/principals/{}", agent.client_id);
    owner
        .patch(&path, &json!({"status": "suspended"}))
        .await
        .unwrap();
    let changed = Instant::now();
    wait::until("the suspension on the second replica", PATIENCE, || async {
        let reply = client.send("tools/list", json!({})).await?;
        Ok((reply.status == 403).then_some(()))
    })
    .await
    .unwrap();
    let took = changed.elapsed();
    println!("a suspension reached the other replica in {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn a_record_names_the_replica_that_made_it_and_any_replica_finds_it() {
    let platform = Platform::start().await.unwrap();
    let second = Replica::beside(&platform).await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    let mut makers = Vec::new();
    for client in [client.clone(), second.called_by(&client)] {
        let trace = fresh_trace();
        let order = json!({"orderId": "none"});
        let reply = client
            .call_traced("orders.get", order, &trace)
            .await
            .unwrap();
        assert_result(&reply);
        let records = platform
            .owner("acme")
            .unwrap()
            .records("acme", &trace)
            .await
            .unwrap();
        assert_eq!(records[0]["id"], reply.meta(RECEIPT)["record"]);
        makers.push(records[0]["record"]["replica"].to_string());
    }
    assert_ne!(makers[0], makers[1]);
}

#[tokio::test]
async fn a_killed_replica_takes_nobody_with_it() {
    let platform = Platform::start().await.unwrap();
    let second = Replica::beside(&platform).await.unwrap();
    let client = platform.caller("acme").await.unwrap();
    let at_second = second.called_by(&client);
    let order = || json!({"orderId": "none"});
    assert_result(&at_second.call("orders.get", order()).await.unwrap());
    drop(second);
    assert!(at_second.call("orders.get", order()).await.is_err());
    assert_result(&client.call("orders.get", order()).await.unwrap());
    let url = format!("{}/readyz", platform.url());
    assert_eq!(
        Reply::to(Http::new().unwrap().get(&url))
            .await
            .unwrap()
            .status,
        200
    );
}
