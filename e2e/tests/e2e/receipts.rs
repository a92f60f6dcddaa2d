//! Receipts and records, verified with nothing of the platform but its public key: SHA-256, Ed25519
//! and the documented statement.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use portcullis_e2e::mcp::RECEIPT;
use portcullis_e2e::{Http, Platform, Reply};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::answers::{fresh_trace, week};

/// The public half of the key that signs records.
fn receipt_key(platform: &Platform) -> VerifyingKey {
    let text = std::fs::read(platform.data().join("keys.json")).unwrap();
    let file: Value = serde_json::from_slice(&text).unwrap();
    let seed = URL_SAFE_NO_PAD.decode(file["receipt"]["seed"].as_str().unwrap());
    SigningKey::from_bytes(&seed.unwrap().try_into().unwrap()).verifying_key()
}

/// Whether a receipt is signed: all its members but the signature, sorted, behind the domain.
fn verifies(receipt: &Value, key: &VerifyingKey) -> bool {
    let mut statement = receipt.clone();
    let signature = statement
        .as_object_mut()
        .unwrap()
        .remove("signature")
        .unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature.as_str().unwrap()).unwrap();
    let message = [b"portcullis/record/v1\0", statement.to_string().as_bytes()].concat();
    let signature = Signature::from_slice(&signature).unwrap();
    key.verify_strict(&message, &signature).is_ok()
}

/// The records of a trace, each member byte for byte as it was sent.
async fn raw_records(platform: &Platform, trace: &str) -> Vec<BTreeMap<String, Box<RawValue>>> {
    let owner = platform.owner("acme").unwrap();
    let path = format!("/tenants/acme/records?trace_id={trace}");
    let reply = owner.get(&path).await.unwrap();
    let page: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&reply.body).unwrap();
    serde_json::from_str(page["items"].get()).unwrap()
}

#[tokio::test]
async fn every_answer_has_a_receipt_of_the_record_that_is_stored() {
    let platform = Platform::shared().unwrap();
    let key = receipt_key(platform);
    let client = platform.caller("acme").await.unwrap();
    let order = platform.an_order("acme").unwrap();
    let mut evil = week();
    evil["evil"] = json!(1);
    for (tool, arguments, status) in [
        ("orders.get", json!({"orderId": order}), "ok"),
        ("orders.get", json!({"orderId": "none"}), "ok"),
        ("orders.export", evil, "refused"),
    ] {
        let trace = fresh_trace();
        let reply = client.call_traced(tool, arguments, &trace).await.unwrap();
        let receipt = reply.meta(RECEIPT);
        assert!(verifies(&receipt, &key), "{receipt}");
        assert_eq!(receipt["trace_id"], trace.as_str());
        let records = raw_records(platform, &trace).await;
        assert_eq!(records.len(), 1);
        let bytes = records[0]["record"].get().as_bytes();
        let leaf = Sha256::new_with_prefix([0]).chain_update(bytes).finalize();
        let leaf: String = leaf.iter().map(|byte| hex_of(*byte)).collect();
        assert_eq!(
            receipt["leaf"],
            leaf.as_str(),
            "the leaf is of the stored bytes"
        );
        let stored: Value = serde_json::from_slice(bytes).unwrap();
        assert_eq!(stored["id"], receipt["record"]);
        assert_eq!(stored["body"]["outcome"]["status"], status, "{stored}");
        assert_eq!(
            stored.to_string().as_bytes(),
            bytes,
            "the bytes are canonical"
        );
    }
}

fn hex_of(byte: u8) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap();
    [digit(byte >> 4), digit(byte & 15)].iter().collect()
}

#[tokio::test]
async fn a_receipt_over_plain_http_verifies_too_and_a_changed_one_does_not() {
    let platform = Platform::shared().unwrap();
    let key = receipt_key(platform);
    let client = platform.caller("acme").await.unwrap();
    let request = Http::new()
        .unwrap()
        .post(&platform.tool_url("acme", "orders.get"))
        .bearer_auth(client.token())
        .json(&json!({"orderId": "none"}));
    let receipt = Reply::to(request).await.unwrap().at("/receipt");
    assert!(verifies(&receipt, &key), "{receipt}");
    for member in ["issued_at", "key", "leaf", "record", "trace_id"] {
        let mut changed = receipt.clone();
        let text = changed[member].as_str().unwrap().to_owned();
        let last = text.chars().last().unwrap();
        let other = if last == '1' { '2' } else { '1' };
        let altered: String = text
            .chars()
            .take(text.chars().count() - 1)
            .chain([other])
            .collect();
        changed[member] = json!(altered);
        assert!(!verifies(&changed, &key), "{member} can be changed");
    }
}

#[tokio::test]
async fn a_record_holds_commitments_and_no_value() {
    let platform = Platform::shared().unwrap();
    let client = platform.caller("acme").await.unwrap();
    let order = platform.an_order("acme").unwrap();
    let trace = fresh_trace();
    let arguments = json!({"orderId": order});
    let reply = client
        .call_traced("orders.get", arguments, &trace)
        .await
        .unwrap();
    let record = raw_records(platform, &trace).await.remove(0)["record"]
        .get()
        .to_owned();
    let result = reply.structured();
    for value in [
        order.as_str(),
        result["order"]["customerId"].as_str().unwrap(),
        result["order"]["customerName"].as_str().unwrap(),
        result["order"]["phone"].as_str().unwrap(),
    ] {
        assert!(
            !record.contains(value),
            "`{value}` is in the record: {record}"
        );
    }
    assert!(record.contains("commitment"), "{record}");
}
