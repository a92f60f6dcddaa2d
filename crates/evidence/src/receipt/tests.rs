//! Tests of sealing and of receipts: what verifies, and everything that must not.

use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::record::generated::any_record;
use crate::record::tests::outcome;

#[derive(Debug)]
struct Key {
    key: SigningKey,
    id: String,
}

impl Key {
    fn new(byte: u8) -> Self {
        let key = SigningKey::from_bytes(&[byte; 32]);
        let id = VerifyingKey::from_bytes(key.verifying_key().as_bytes())
            .unwrap()
            .id;
        Self { key, id }
    }

    fn public(&self) -> VerifyingKey {
        VerifyingKey::from_bytes(self.key.verifying_key().as_bytes()).unwrap()
    }
}

impl Signer for Key {
    fn key_id(&self) -> &str {
        &self.id
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        Ok(self.key.sign(message).to_bytes())
    }
}

#[derive(Debug)]
struct Broken;

impl Signer for Broken {
    fn key_id(&self) -> &'static str {
        "broken"
    }

    fn sign(&self, _: &[u8]) -> Result<[u8; 64], SignerError> {
        Err(SignerError::new("the module is away"))
    }
}

fn sealed() -> Sealed {
    Sealed::new(outcome(), &Key::new(1)).unwrap()
}

#[test]
fn a_receipt_is_written_as_documented() {
    let text = serde_json::to_string(sealed().receipt()).unwrap();
    assert_eq!(text, include_str!("golden.json").trim_end());
    let read: Receipt = serde_json::from_str(&text).unwrap();
    assert_eq!(&read, sealed().receipt());
}

#[test]
fn a_receipt_verifies_and_is_of_its_record() {
    let sealed = sealed();
    sealed.receipt().verify(&Key::new(1).public()).unwrap();
    let record = sealed.receipt().matches(sealed.canonical().as_bytes());
    assert_eq!(&record.unwrap(), sealed.record());
}

#[test]
fn a_stored_record_gives_its_receipt_again() {
    let sealed = sealed();
    let receipt = sealed.receipt();
    let again = Receipt::of_stored(
        sealed.canonical().as_bytes(),
        &receipt.key,
        Signature::from_bytes(*receipt.signature.as_bytes()),
    );
    assert_eq!(&again.unwrap(), receipt);
}

#[test]
fn the_key_id_is_the_thumbprint_of_the_standard() {
    // RFC 8037 Appendix A.2 and A.3.
    let public = URL_SAFE_NO_PAD
        .decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
        .unwrap();
    let key = VerifyingKey::from_bytes(&public.try_into().unwrap()).unwrap();
    assert_eq!(key.id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn another_key_does_not_verify_even_under_the_right_name() {
    let sealed = sealed();
    let wrong = Key::new(2).public();
    assert!(matches!(
        sealed.receipt().verify(&wrong),
        Err(ReceiptError::OtherKey(_))
    ));
    let renamed = VerifyingKey {
        id: Key::new(1).id,
        key: wrong.key,
    };
    assert!(matches!(
        sealed.receipt().verify(&renamed),
        Err(ReceiptError::Signature(_))
    ));
}

#[test]
fn a_receipt_that_claims_another_key_does_not_verify_with_that_key() {
    let mut receipt = sealed().receipt().clone();
    receipt.key = Key::new(2).id;
    assert!(receipt.verify(&Key::new(2).public()).is_err());
}

#[test]
fn weak_keys_are_refused() {
    // The neutral element, and what is no point at all.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut no_point = [0; 32];
    no_point[0] = 2;
    for bytes in [neutral, [0; 32], no_point] {
        assert!(VerifyingKey::from_bytes(&bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn a_signature_for_another_use_of_the_key_does_not_verify() {
    let sealed = sealed();
    let mut receipt = sealed.receipt().clone();
    let message = Statement {
        issued_at: receipt.issued_at,
        key: &receipt.key,
        leaf: receipt.leaf,
        record: receipt.record,
        trace_id: receipt.trace_id,
    }
    .message()
    .unwrap();
    let bare = message.strip_prefix(DOMAIN).unwrap();
    receipt.signature = Signature(Key::new(1).sign(bare).unwrap());
    assert!(receipt.verify(&Key::new(1).public()).is_err());
    receipt.signature = Signature(Key::new(1).sign(&message).unwrap());
    receipt.verify(&Key::new(1).public()).unwrap();
}

#[test]
fn a_receipt_of_another_record_does_not_match() {
    let sealed = sealed();
    let mut other = outcome();
    other.pool = portcullis_domain::Pool::UsEast;
    let error = sealed
        .receipt()
        .matches(other.canonical().unwrap().as_bytes())
        .unwrap_err();
    assert!(matches!(error, ReceiptError::Differs("leaf hash")));
}

#[test]
fn a_receipt_with_the_right_leaf_and_another_story_does_not_match() {
    let sealed = sealed();
    let bytes = sealed.canonical().as_bytes();
    let mut receipt = sealed.receipt().clone();
    receipt.trace_id = None;
    assert!(matches!(
        receipt.matches(bytes),
        Err(ReceiptError::Differs("trace"))
    ));
    let mut receipt = sealed.receipt().clone();
    receipt.record = Id::mint(time::OffsetDateTime::UNIX_EPOCH, [1; 10]);
    assert!(matches!(
        receipt.matches(bytes),
        Err(ReceiptError::Differs("id"))
    ));
    let mut receipt = sealed.receipt().clone();
    receipt.issued_at = time::OffsetDateTime::UNIX_EPOCH.into();
    assert!(matches!(
        receipt.matches(bytes),
        Err(ReceiptError::Differs("time"))
    ));
}

#[test]
fn nothing_is_sealed_when_the_key_cannot_sign() {
    assert!(matches!(
        Sealed::new(outcome(), &Broken),
        Err(SealError::Signer(_))
    ));
}

#[test]
fn receipts_with_unknown_members_or_other_spellings_are_refused() {
    let golden = include_str!("golden.json");
    let mut value: Value = serde_json::from_str(golden).unwrap();
    value["extra"] = 1.into();
    assert!(serde_json::from_value::<Receipt>(value).is_err());
    for (from, to) in [
        ("\"signature\":\"", "\"signature\":\"A"),
        ("\"leaf\":\"", "\"leaf\":\"A"),
        (".123456Z", "Z"),
        ("rec_", "tnt_"),
    ] {
        let changed = golden.replacen(from, to, 1);
        assert_ne!(changed, golden);
        assert!(
            serde_json::from_str::<Receipt>(&changed).is_err(),
            "{changed}"
        );
    }
}

proptest! {
    #[test]
    fn a_sealed_record_verifies(record in any_record()) {
        let sealed = Sealed::new(record.clone(), &Key::new(3)).unwrap();
        sealed.receipt().verify(&Key::new(3).public()).unwrap();
        prop_assert_eq!(sealed.receipt().matches(sealed.canonical().as_bytes()).unwrap(), record);
    }

    #[test]
    fn any_changed_bit_of_a_receipt_is_found(position: prop::sample::Index, bit in 0_u8..8) {
        let sealed = sealed();
        let mut bytes = serde_json::to_vec(sealed.receipt()).unwrap();
        let at = position.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let found = match serde_json::from_slice::<Receipt>(&bytes) {
            Ok(receipt) => receipt.verify(&Key::new(1).public()).is_err(),
            Err(_) => true,
        };
        prop_assert!(found, "{}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_changed_bit_of_a_signature_is_found(bit in 0_usize..512) {
        let mut receipt = sealed().receipt().clone();
        receipt.signature.0[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(receipt.verify(&Key::new(1).public()).is_err());
    }

    #[test]
    fn any_changed_bit_of_a_stored_record_is_found(position: prop::sample::Index, bit in 0_u8..8) {
        let sealed = sealed();
        let receipt = sealed.receipt();
        let mut bytes = sealed.canonical().as_bytes().to_vec();
        let at = position.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let found = match Receipt::of_stored(&bytes, &receipt.key, receipt.signature) {
            Ok(again) => again.verify(&Key::new(1).public()).is_err(),
            Err(_) => true,
        };
        prop_assert!(found);
        prop_assert!(receipt.matches(&bytes).is_err());
    }
}
