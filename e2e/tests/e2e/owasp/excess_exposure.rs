//! What answers hold: masked unasked, and nothing undeclared.

use std::collections::BTreeSet;

use portcullis_e2e::Platform;
use serde_json::json;

use crate::answers::{EU, US, assert_result, week};

#[tokio::test]
async fn owasp_excess_exposure_emails_are_masked_unasked_and_cannot_be_unmasked() {
    let platform = Platform::shared().unwrap();
    let client = platform.caller("acme").await.unwrap();
    for mask in [
        None,
        Some(json!([])),
        Some(json!(["phone"])),
        Some(json!(["email", "phone"])),
    ] {
        let mut arguments = week();
        if let Some(mask) = &mask {
            arguments["mask"] = mask.clone();
        }
        let reply = client.call("orders.export", arguments).await.unwrap();
        let result = assert_result(&reply);
        assert!(!reply.text().contains("@example."), "{mask:?}");
        for row in result["rows"].as_array().unwrap() {
            let email = row["email"].as_str().unwrap();
            assert!(email.contains('*'), "{mask:?}: {email}");
            let phone = row["phone"].as_str().unwrap();
            let asked = mask
                .as_ref()
                .is_some_and(|mask| mask.to_string().contains("phone"));
            assert!(!asked || phone.contains('*'), "{mask:?}: {phone}");
        }
    }
}

#[tokio::test]
async fn owasp_excess_exposure_personal_data_in_free_text_is_masked() {
    let platform = Platform::shared().unwrap();
    for (tenant, pool) in [("acme", EU), ("globex", US)] {
        let client = platform.caller(tenant).await.unwrap();
        let notes = platform
            .database(pool)
            .query("select distinct note from orders")
            .unwrap();
        for planted in [
            "4111 1111 1111 1111",
            "DE89 3704 0044 0532 0130 00",
            "@example.",
        ] {
            assert!(notes.contains(planted), "no note of {pool} holds {planted}");
        }
        let all = json!({"from": "2020-01-01", "to": "2030-12-31"});
        let reply = client.call("orders.export", all).await.unwrap();
        let result = assert_result(&reply);
        let rows = result["rows"].as_array().unwrap().iter();
        let remarks: Vec<_> = rows.filter_map(|row| row["note"].as_str()).collect();
        assert!(
            remarks.iter().any(|note| note.contains("Ring twice")),
            "notes are shown"
        );
        let together = remarks.join("\n");
        for planted in [
            "4111",
            "3704 0044",
            "@example.",
            "555-01",
            "+49 30",
            "+33 1",
        ] {
            assert!(
                !together.contains(planted),
                "{tenant}: `{planted}` in a note"
            );
        }
    }
}

#[tokio::test]
async fn owasp_excess_exposure_a_result_has_only_declared_fields() {
    let platform = Platform::shared().unwrap();
    let client = platform.caller("acme").await.unwrap();
    let listed = client.send("tools/list", json!({})).await.unwrap();
    let export = listed.at("/result/tools/0/outputSchema/properties/rows/items/properties");
    let declared: BTreeSet<_> = export.as_object().unwrap().keys().cloned().collect();
    let result = assert_result(&client.call("orders.export", week()).await.unwrap());
    for row in result["rows"].as_array().unwrap() {
        let shown: BTreeSet<_> = row.as_object().unwrap().keys().cloned().collect();
        assert!(shown.is_subset(&declared), "{shown:?}");
    }
    assert!(!result.to_string().contains("tenant_id"));
}
