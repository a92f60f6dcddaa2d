//! Which pool a call runs in, which database keeps its record, and what is never in the other.

use portcullis_e2e::Platform;
use serde_json::{Value, json};

use crate::answers::{EU, US, assert_denied, assert_result, fresh_trace, week};

/// How many records of a trace a region's database has.
fn count(platform: &Platform, database: &str, trace: &str) -> u32 {
    let sql = format!("select count(*) from records where encode(trace_id, 'hex') = '{trace}'");
    platform
        .database(database)
        .query(&sql)
        .unwrap()
        .parse()
        .unwrap()
}

async fn record(platform: &Platform, tenant: &str, trace: &str) -> Value {
    let records = platform
        .owner(tenant)
        .unwrap()
        .records(tenant, trace)
        .await
        .unwrap();
    assert_eq!(records.len(), 1, "{records:?}");
    records[0].clone()
}

#[tokio::test]
async fn an_export_of_acme_runs_and_is_recorded_in_the_eu_pool() {
    let platform = Platform::shared().unwrap();
    let client = platform.caller("acme").await.unwrap();
    let trace = fresh_trace();
    let reply = client
        .call_traced("orders.export", week(), &trace)
        .await
        .unwrap();
    assert_eq!(assert_result(&reply)["region"], "EU");
    let record = record(platform, "acme", &trace).await;
    assert_eq!(record["pool"], "eu-west", "{record}");
    let route = &record["record"]["body"]["route"];
    assert_eq!(route["pool"], "eu-west", "{record}");
    assert_eq!(route["rule"], "route-eu-personal-data", "{record}");
    assert_eq!(
        (count(platform, EU, &trace), count(platform, US, &trace)),
        (1, 0)
    );
}

#[tokio::test]
async fn acme_naming_the_other_region_is_refused_with_a_remedy() {
    let platform = Platform::shared().unwrap();
    let client = platform.caller("acme").await.unwrap();
    let mut arguments = week();
    arguments["region"] = json!("US");
    let trace = fresh_trace();
    let reply = client
        .call_traced("orders.export", arguments, &trace)
        .await
        .unwrap();
    assert_denied(&reply, "policy-denied");
    let problem = reply.meta(portcullis_e2e::mcp::PROBLEM);
    assert!(problem["rule"].is_string(), "{problem}");
    assert!(
        problem["remedy"]
            .as_str()
            .is_some_and(|words| words.contains("region")),
        "{problem}"
    );
    assert!(!reply.text().contains("orderId"), "{}", reply.told());
    assert_eq!(
        (count(platform, EU, &trace), count(platform, US, &trace)),
        (1, 0)
    );
}

#[tokio::test]
async fn globex_reads_its_eu_customers_from_the_eu_pool_and_is_recorded_there() {
    let platform = Platform::shared().unwrap();
    let client = platform.caller("globex").await.unwrap();
    let mut ids = Vec::new();
    for (region, pool, inside, outside) in [("EU", "eu-west", EU, US), ("US", "us-east", US, EU)] {
        let mut arguments = week();
        arguments["region"] = json!(region);
        let trace = fresh_trace();
        let reply = client
            .call_traced("orders.export", arguments, &trace)
            .await
            .unwrap();
        let result = assert_result(&reply);
        assert_eq!(result["region"], region);
        let rows = result["rows"].as_array().unwrap();
        assert!(!rows.is_empty());
        ids.extend(
            rows.iter()
                .map(|row| row["orderId"].as_str().unwrap().to_owned()),
        );
        assert_eq!(record(platform, "globex", &trace).await["pool"], pool);
        let counts = (
            count(platform, inside, &trace),
            count(platform, outside, &trace),
        );
        assert_eq!(counts, (1, 0), "{region}");
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "no order is in both pools");
}

#[tokio::test]
async fn without_a_region_the_tenants_home_is_read() {
    let platform = Platform::shared().unwrap();
    for (tenant, region) in [("acme", "EU"), ("globex", "US")] {
        let client = platform.caller(tenant).await.unwrap();
        let reply = client.call("orders.export", week()).await.unwrap();
        assert_eq!(assert_result(&reply)["region"], region, "{tenant}");
    }
}

#[tokio::test]
async fn no_order_of_an_eu_customer_is_in_the_us_database() {
    let platform = Platform::shared().unwrap();
    for (database, jurisdiction) in [(EU, "EU"), (US, "US")] {
        let sql = "select jurisdiction, count(*) from orders group by 1";
        let rows = platform.database(database).query(sql).unwrap();
        let (only, number) = rows.split_once('|').unwrap();
        assert_eq!(only, jurisdiction, "{rows}");
        assert!(number.parse::<u32>().unwrap() >= 1_000, "{rows}");
    }
    let totals: u32 = [EU, US]
        .iter()
        .map(|name| {
            platform
                .database(name)
                .query("select count(*) from orders")
                .unwrap()
        })
        .map(|count| count.parse::<u32>().unwrap())
        .sum();
    assert!(totals >= 10_000, "5,000 a tenant: {totals}");
}
