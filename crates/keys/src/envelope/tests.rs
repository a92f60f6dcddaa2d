//! Tests of envelope encryption: the standard's vectors, and every way to be refused.

use portcullis_domain::Id;
use proptest::prelude::*;
use time::OffsetDateTime;

use super::*;

fn tenant(byte: u8) -> Id<Tenant> {
    Id::mint(OffsetDateTime::UNIX_EPOCH, [byte; 10])
}

fn aad<'a>(tenant: Id<Tenant>, usage: &'a str, row: &'a [u8]) -> Aad<'a> {
    Aad { tenant, usage, row }
}

fn key(byte: u8) -> DataKey {
    DataKey::from_bytes(Zeroizing::new([byte; 32])).unwrap()
}

#[test]
fn the_cipher_gives_the_test_vectors_of_c2sp_xaes_256_gcm() {
    let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
    let mut out = Vec::new();
    key(1).seal(nonce, b"", b"XAES-256-GCM", &mut out).unwrap();
    assert_eq!(
        hex::encode(&out),
        "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"
    );
    let mut out = Vec::new();
    key(3)
        .seal(nonce, b"c2sp.org/XAES-256-GCM", b"XAES-256-GCM", &mut out)
        .unwrap();
    assert_eq!(
        hex::encode(&out),
        "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"
    );
}

#[test]
fn what_was_encrypted_is_decrypted() {
    let aad = aad(tenant(1), "call_inputs.arguments", b"row");
    for plaintext in [Vec::new(), vec![1], vec![9; 100_000]] {
        let ciphertext = key(1).encrypt(&aad, &plaintext).unwrap();
        assert_eq!(ciphertext.len(), plaintext.len() + HEADER_BYTES + TAG_BYTES);
        assert_eq!(key(1).decrypt(&aad, &ciphertext).unwrap(), plaintext);
    }
}

#[test]
fn one_plaintext_never_gives_one_ciphertext_twice() {
    let aad = aad(tenant(1), "call_inputs.arguments", b"row");
    let first = key(1).encrypt(&aad, b"same").unwrap();
    assert_ne!(first, key(1).encrypt(&aad, b"same").unwrap());
}

#[test]
fn another_tenant_use_or_row_cannot_decrypt() {
    let key = key(1);
    let ciphertext = key
        .encrypt(&aad(tenant(1), "call_inputs.arguments", b"row"), b"secret")
        .unwrap();
    for wrong in [
        aad(tenant(2), "call_inputs.arguments", b"row"),
        aad(tenant(1), "call_inputs.answer", b"row"),
        aad(tenant(1), "call_inputs.arguments", b"row2"),
        aad(tenant(1), "call_inputs.arguments", b""),
        // The same bytes, divided elsewhere.
        aad(tenant(1), "call_inputs.argument", b"srow"),
        aad(tenant(1), "call_inputs.argumentsr", b"ow"),
    ] {
        assert!(
            matches!(
                key.decrypt(&wrong, &ciphertext),
                Err(EnvelopeError::Unauthentic(_))
            ),
            "{wrong:?}"
        );
    }
}

#[test]
fn another_key_is_named_as_such() {
    let aad = aad(tenant(1), "u", b"");
    let ciphertext = key(1).encrypt(&aad, b"secret").unwrap();
    assert!(matches!(
        key(2).decrypt(&aad, &ciphertext),
        Err(EnvelopeError::OtherKey)
    ));
}

#[test]
fn a_cut_ciphertext_is_refused_at_every_length() {
    let aad = aad(tenant(1), "u", b"");
    let ciphertext = key(1).encrypt(&aad, b"secret").unwrap();
    for length in 0..ciphertext.len() {
        assert!(
            key(1).decrypt(&aad, &ciphertext[..length]).is_err(),
            "{length}"
        );
    }
}

#[test]
fn a_wrapped_key_decrypts_what_the_key_encrypted() {
    let (kek, data) = (key(1), DataKey::generate().unwrap());
    let wrapping = aad(tenant(1), "data_keys.wrapped", b"id");
    let wrapped = kek.wrap(&wrapping, &data).unwrap();
    let using = aad(tenant(1), "u", b"");
    let ciphertext = data.encrypt(&using, b"secret").unwrap();
    let again = kek.unwrap(&wrapping, &wrapped).unwrap();
    assert_eq!(again.decrypt(&using, &ciphertext).unwrap(), b"secret");
}

#[test]
fn a_wrapped_key_of_another_tenant_cannot_be_unwrapped() {
    let wrapped = key(1)
        .wrap(&aad(tenant(1), "data_keys.wrapped", b"id"), &key(7))
        .unwrap();
    let other = aad(tenant(2), "data_keys.wrapped", b"id");
    assert!(matches!(
        key(1).unwrap(&other, &wrapped),
        Err(EnvelopeError::Unauthentic(_))
    ));
}

#[test]
fn a_wrapped_key_of_another_length_is_refused() {
    let aad = aad(tenant(1), "data_keys.wrapped", b"id");
    let wrapped = WrappedKey(key(1).encrypt(&aad, &[0; 31]).unwrap());
    assert!(matches!(
        key(1).unwrap(&aad, &wrapped),
        Err(EnvelopeError::NotAKey)
    ));
}

#[test]
fn debug_output_holds_no_key_bytes() {
    let shown = format!("{:?}", key(0xAB));
    assert!(
        !shown.contains("171") && !shown.to_lowercase().contains("abab"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn any_changed_bit_is_found(plaintext: Vec<u8>, position: prop::sample::Index, bit in 0_u8..8) {
        let aad = aad(tenant(1), "u", b"row");
        let mut ciphertext = key(1).encrypt(&aad, &plaintext).unwrap();
        let at = position.index(ciphertext.len());
        ciphertext[at] ^= 1 << bit;
        prop_assert!(key(1).decrypt(&aad, &ciphertext).is_err());
    }
}

#[test]
fn a_derived_key_is_of_its_secret_and_its_use() {
    let aad = aad(tenant(1), "replies.sealed", b"row");
    let sealed = DataKey::derive(b"secret", b"use")
        .unwrap()
        .encrypt(&aad, b"answer")
        .unwrap();
    let again = DataKey::derive(b"secret", b"use").unwrap();
    assert_eq!(again.decrypt(&aad, &sealed).unwrap(), b"answer");
    for (secret, usage) in [
        (&b"Secret"[..], &b"use"[..]),
        (b"secret", b"Use"),
        (b"", b""),
    ] {
        let other = DataKey::derive(secret, usage).unwrap();
        let error = other.decrypt(&aad, &sealed).unwrap_err();
        assert!(matches!(error, EnvelopeError::OtherKey), "{error}");
    }
}
