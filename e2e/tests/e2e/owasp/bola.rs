//! Objects of others: a foreign id is an absent one.

use portcullis_e2e::{Http, Platform, Reply};
use serde_json::json;

use crate::answers::{EU, US, assert_result, comparable, ids, orders_of, week};

async fn an_order_of(platform: &Platform, tenant: &str) -> String {
    let client = platform.caller(tenant).await.unwrap();
    let rows = assert_result(&client.call("orders.export", week()).await.unwrap())["rows"].clone();
    rows[0]["orderId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn owasp_bola_a_foreign_order_is_byte_for_byte_an_absent_one() {
    let platform = Platform::shared().unwrap();
    let foreign = an_order_of(platform, "acme").await;
    let absent = foreign.replacen('_', "-", 1);
    let client = platform.caller("globex").await.unwrap();
    for region in [None, Some("EU"), Some("US")] {
        let mut seen = Vec::new();
        for id in [&foreign, &absent] {
            let mut arguments = json!({"orderId": id});
            if let Some(region) = region {
                arguments["region"] = json!(region);
            }
            let over_mcp = client.call("orders.get", arguments.clone()).await.unwrap();
            assert_eq!(
                assert_result(&over_mcp),
                json!({"found": false}),
                "{region:?}"
            );
            let plain = Http::new()
                .unwrap()
                .post(&platform.tool_url("globex", "orders.get"))
                .bearer_auth(client.token())
                .json(&arguments);
            let plain = Reply::to(plain).await.unwrap();
            let both = format!("{}\n{}", comparable(&over_mcp), comparable(&plain));
            seen.push(both.replace(id.as_str(), "ID"));
        }
        assert_eq!(seen[0], seen[1], "{region:?}");
    }
    let owner = platform.caller("acme").await.unwrap();
    let own = owner
        .call("orders.get", json!({"orderId": foreign}))
        .await
        .unwrap();
    assert_eq!(assert_result(&own)["found"], true, "its owner finds it");
}

#[tokio::test]
async fn owasp_bola_an_export_holds_rows_of_its_tenant_alone() {
    let platform = Platform::shared().unwrap();
    for (tenant, pool) in [("acme", EU), ("globex", US)] {
        let client = platform.caller(tenant).await.unwrap();
        let all = json!({"from": "2020-01-01", "to": "2030-12-31"});
        let result = assert_result(&client.call("orders.export", all).await.unwrap());
        assert_eq!(
            ids(&result),
            orders_of(platform, tenant, pool).await,
            "{tenant}"
        );
    }
}
