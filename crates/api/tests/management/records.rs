//! Records by trace and by time, over two pools. Payloads are not served.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::id::{Id, Record, Tenant};
use portcullis_domain::{Pool, TraceId};
use portcullis_store::records::RecordRow;
use portcullis_store::writer::{NewCallInputs, NewRecord};
use portcullis_store::{RecordWriter, RegionStore, WriterOptions};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cluster::Cluster;
use crate::platform::{Ask, Platform, URL, at, id, text_at};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Writes a record of a second and a trace; gives its canonical bytes.
async fn write(region: &RegionStore, tenant: Id<Tenant>, second: i64, trace: &str) -> String {
    let writer = RecordWriter::start(region, WriterOptions::default());
    let mut random = [0; 10];
    random[2..].copy_from_slice(&id::<Record>().as_uuid().as_bytes()[8..]);
    let record: Id<Record> = Id::mint(at(second), random);
    // Members in an order that a parser would change, to see that the bytes stay.
    let canonical = format!(r#"{{"b":1,"a":{{"id":"{record}","n":1.0}}}}"#);
    let leaf: [u8; 32] = Sha256::digest([b"\0", canonical.as_bytes()].concat()).into();
    let trace: TraceId = trace.parse().unwrap();
    let row = RecordRow {
        id: record,
        kind: "call".to_owned(),
        trace_id: trace,
        intent: None,
        principal: None,
        tool: Some("orders.get".to_owned()),
        verdict: "allow".to_owned(),
        started_at: at(second),
        ended_at: at(second),
        canonical: canonical.clone().into_bytes(),
        leaf_hash: leaf,
        signature: vec![7; 64],
        key_id: "replica-1".to_owned(),
    };
    let inputs = NewCallInputs {
        data_key: id(),
        salts: b"salts-of-the-call".to_vec(),
        arguments: b"arguments-of-the-call".to_vec(),
        answer: Some(b"answer-of-the-call".to_vec()),
    };
    let new = NewRecord {
        tenant,
        record: row,
        inputs: Some(inputs),
    };
    writer.submit(new).await.unwrap();
    writer.shutdown().await;
    canonical
}

struct Recorded {
    platform: Platform,
    regions: BTreeMap<Pool, RegionStore>,
    acme: Id<Tenant>,
    globex: Id<Tenant>,
}

impl Recorded {
    async fn start() -> Self {
        let cluster = Cluster::shared().await;
        let mut regions = BTreeMap::new();
        for pool in Pool::ALL {
            regions.insert(pool, cluster.region(pool).await);
        }
        let platform = Platform::over(regions.clone(), URL).await;
        let mut ids = Vec::new();
        for (slug, token) in [("acme", &platform.acme), ("globex", &platform.globex)] {
            let reply = platform
                .send(Ask::get(format!("/tenants/{slug}")).by(token))
                .await;
            ids.push(reply.json()["id"].as_str().unwrap().parse().unwrap());
        }
        Self {
            acme: ids[0],
            globex: ids[1],
            platform,
            regions,
        }
    }

    /// The ids on all pages of a query.
    async fn pages(&self, range: &str) -> Vec<String> {
        let mut seen = Vec::new();
        let mut query = range.to_owned();
        loop {
            let page = self.list(&query).await;
            for item in page["items"].as_array().unwrap() {
                seen.push(item["id"].as_str().unwrap().to_owned());
            }
            match page["next_cursor"].as_str() {
                Some(cursor) => query = format!("{range}&cursor={cursor}"),
                None => return seen,
            }
        }
    }

    async fn list(&self, query: &str) -> Value {
        let path = format!("/tenants/acme/records?{query}");
        let ask = Ask::get(path).by(&self.platform.acme);
        self.platform.send(ask).await.expect(200).json()
    }
}

#[tokio::test]
async fn a_trace_shows_its_records_of_every_pool_as_they_were_signed() {
    let recorded = Recorded::start().await;
    let home = write(&recorded.regions[&Pool::EuWest], recorded.acme, 1, TRACE).await;
    let routed = write(&recorded.regions[&Pool::UsEast], recorded.acme, 2, TRACE).await;
    let other = "00000000000000000000000000000001";
    write(&recorded.regions[&Pool::EuWest], recorded.acme, 3, other).await;
    let ask = Ask::get(format!("/tenants/acme/records?trace_id={TRACE}"));
    let reply = recorded
        .platform
        .send(ask.by(&recorded.platform.acme))
        .await;
    let text = String::from_utf8(reply.expect(200).bytes).unwrap();
    // Byte for byte, so that anybody can hash them.
    assert!(text.contains(&home) && text.contains(&routed), "{text}");
    let list: Value = serde_json::from_str(&text).unwrap();
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(
        (&items[0]["pool"], &items[1]["pool"]),
        (&json!("us-east"), &json!("eu-west"))
    );
    let leaf = hex::encode(Sha256::digest([b"\0", home.as_bytes()].concat()));
    assert_eq!(items[1]["leaf"], leaf);
    assert_eq!(items[1]["signature"], URL_SAFE_NO_PAD.encode([7; 64]));
    for payload in ["salts", "arguments", "answer"] {
        assert!(!text.contains(payload), "{text}");
        assert!(!text.contains(&hex::encode(format!("{payload}-of-the-call"))));
    }
}

#[tokio::test]
async fn a_time_is_read_in_pages_across_pools() {
    let recorded = Recorded::start().await;
    for second in 0..9 {
        let pool = if second % 3 == 0 {
            Pool::UsEast
        } else {
            Pool::EuWest
        };
        write(&recorded.regions[&pool], recorded.acme, second, TRACE).await;
    }
    let range = format!("from={}&to={}&limit=2", text_at(1), text_at(8));
    let seen = recorded.pages(&range).await;
    let mut expected = seen.clone();
    expected.sort();
    expected.dedup();
    expected.reverse();
    assert_eq!(seen, expected);
    assert_eq!(seen.len(), 7);
}

#[tokio::test]
async fn a_trace_is_read_in_pages_across_pools() {
    let recorded = Recorded::start().await;
    for (second, pool) in [Pool::EuWest, Pool::UsEast, Pool::EuWest]
        .into_iter()
        .enumerate()
    {
        let second = i64::try_from(second).unwrap();
        write(&recorded.regions[&pool], recorded.acme, second, TRACE).await;
    }
    let first = recorded.list(&format!("trace_id={TRACE}&limit=2")).await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let query = format!("trace_id={TRACE}&limit=2&cursor={cursor}");
    let second = recorded.list(&query).await;
    assert!(second.get("next_cursor").is_none(), "{second}");
    let ids: Vec<_> = [&first, &second]
        .into_iter()
        .flat_map(|page| page["items"].as_array().unwrap())
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.is_sorted_by(|newer, older| newer > older), "{ids:?}");
}

#[tokio::test]
async fn another_tenants_records_are_not_there() {
    let recorded = Recorded::start().await;
    for region in recorded.regions.values() {
        write(region, recorded.globex, 1, TRACE).await;
    }
    let by_trace = recorded.list(&format!("trace_id={TRACE}")).await;
    assert_eq!(by_trace, json!({"items": []}));
    let by_time = recorded.list(&format!("from={}", text_at(-60))).await;
    assert_eq!(by_time, json!({"items": []}));
}

#[tokio::test]
async fn a_query_says_which_records_it_wants() {
    let recorded = Recorded::start().await;
    let (now, later) = (text_at(0), text_at(60));
    for query in [
        String::new(),
        format!("to={later}"),
        format!("trace_id={TRACE}&from={now}"),
        format!("from={later}&to={now}"),
        format!("from={now}&to={now}"),
        "trace_id=xyz".to_owned(),
        "from=yesterday".to_owned(),
        format!("from={now}&principal=agent:x"),
    ] {
        let ask = Ask::get(format!("/tenants/acme/records?{query}"));
        let reply = recorded
            .platform
            .send(ask.by(&recorded.platform.acme))
            .await;
        reply.refused(422, "invalid-request");
    }
}

#[tokio::test]
async fn a_pool_that_is_away_is_no_empty_pool() {
    let recorded = Recorded::start().await;
    recorded.regions[&Pool::UsEast].close().await;
    let ask = Ask::get(format!("/tenants/acme/records?trace_id={TRACE}"));
    let reply = recorded
        .platform
        .send(ask.by(&recorded.platform.acme))
        .await;
    reply.refused(503, "unavailable");
}
