//! Tools and their servers: known, hashed, signed.

use portcullis_e2e::Platform;
use serde_json::Value;

#[tokio::test]
async fn owasp_inventory_every_tool_has_a_hash_and_a_closed_schema() {
    let platform = Platform::shared().unwrap();
    let owner = platform.owner("acme").unwrap();
    let tools = owner.get("/tenants/acme/tools").await.unwrap();
    let items = tools.at("/items");
    assert!(
        items.as_array().is_some_and(|items| items.len() >= 2),
        "{}",
        tools.told()
    );
    for tool in items.as_array().unwrap() {
        assert!(
            tool["sha256"].as_str().is_some_and(|hash| hash.len() >= 43),
            "{tool}"
        );
        assert_ne!(tool["sha256"], Value::Null);
    }
}
