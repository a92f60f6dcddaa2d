//! Tests of the key file and of what its keys do.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Barrier;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use portcullis_domain::Id;
use serde_json::{Value, json};
use tempfile::TempDir;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::*;

const NOW: OffsetDateTime = datetime!(2025-08-25 12:00:00 UTC);

struct Place {
    _directory: TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    Place {
        _directory: directory,
        path,
    }
}

fn open(place: &Place) -> LocalKeys {
    LocalKeys::open_or_create(&place.path, NOW).unwrap()
}

fn edit(place: &Place, change: impl FnOnce(&mut Value)) {
    let mut file: Value = serde_json::from_slice(&fs::read(&place.path).unwrap()).unwrap();
    change(&mut file);
    fs::write(&place.path, file.to_string()).unwrap();
}

fn refusal(place: &Place) -> KeysError {
    LocalKeys::open_or_create(&place.path, NOW).unwrap_err()
}

fn kids(keys: &LocalKeys, now: OffsetDateTime) -> Vec<String> {
    keys.issuer_keys(now)
        .map(|key| key.kid().to_owned())
        .collect()
}

#[test]
fn a_second_start_finds_the_same_keys() {
    let place = place();
    let (first, second) = (open(&place), open(&place));
    assert_eq!(kids(&first, NOW), kids(&second, NOW));
    assert_eq!(first.receipt_key().kid(), second.receipt_key().kid());
    assert_eq!(first.keyed_hash("p", b"x"), second.keyed_hash("p", b"x"));
    let aad = Aad {
        tenant: Id::mint(NOW, [1; 10]),
        usage: "data_keys.wrapped",
        row: b"1",
    };
    let data = DataKey::generate().unwrap();
    let ciphertext = data.encrypt(&aad, b"secret").unwrap();
    let wrapped = first.wrap(&aad, &data).unwrap();
    let wrapped = WrappedKey::from_row(wrapped.as_bytes().to_vec());
    let again = second.unwrap(&aad, &wrapped).unwrap();
    assert_eq!(again.decrypt(&aad, &ciphertext).unwrap(), b"secret");
}

#[test]
fn two_files_hold_different_keys() {
    let (first, second) = (open(&place()), open(&place()));
    assert_ne!(kids(&first, NOW), kids(&second, NOW));
    assert_ne!(first.receipt_key().kid(), second.receipt_key().kid());
    assert_ne!(first.keyed_hash("p", b"x"), second.keyed_hash("p", b"x"));
}

#[test]
fn processes_that_start_at_once_share_one_file() {
    let place = place();
    let barrier = Barrier::new(8);
    let found: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    open(&place).receipt_key().kid().to_owned()
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(found.iter().all(|kid| kid == found.first().unwrap()));
    let left: Vec<_> = fs::read_dir(place.path.parent().unwrap())
        .unwrap()
        .collect();
    assert_eq!(left.len(), 1, "no temporary file stays behind");
}

#[test]
fn the_file_is_for_its_owner_alone() {
    let place = place();
    open(&place);
    let mode = fs::metadata(&place.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let place = place();
    open(&place);
    for mode in [0o640, 0o604, 0o620, 0o601] {
        fs::set_permissions(&place.path, fs::Permissions::from_mode(mode)).unwrap();
        let error = refusal(&place);
        assert!(
            matches!(error, KeysError::File(KeyFileError::Exposed { mode: m, .. }) if m == mode),
            "{mode:o}: {error}"
        );
    }
}

#[test]
fn a_file_that_is_linked_to_is_judged_by_itself() {
    let (place, other) = (place(), place());
    open(&place);
    fs::set_permissions(&place.path, fs::Permissions::from_mode(0o644)).unwrap();
    symlink(&place.path, &other.path).unwrap();
    assert!(matches!(
        refusal(&other),
        KeysError::File(KeyFileError::Exposed { .. })
    ));
}

#[test]
fn a_directory_is_no_key_file() {
    let place = place();
    fs::create_dir(&place.path).unwrap();
    assert!(matches!(
        refusal(&place),
        KeysError::File(KeyFileError::NotAFile { .. })
    ));
}

#[test]
fn a_missing_directory_is_named() {
    let place = place();
    let path = place.path.join("deeper/keys.json");
    let error = LocalKeys::open_or_create(&path, NOW).unwrap_err();
    assert!(error.to_string().contains("deeper"), "{error}");
}

#[test]
fn unknown_fields_are_refused_at_every_depth() {
    for pointer in [
        "",
        "/issuer/0",
        "/receipt",
        "/key_encryption",
        "/keyed_hash",
    ] {
        let place = place();
        open(&place);
        edit(&place, |file| {
            let object = file.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
            object.insert("extra".to_owned(), json!(1));
        });
        let error = refusal(&place);
        assert!(
            matches!(error, KeysError::File(KeyFileError::Malformed { .. })),
            "{pointer}: {error}"
        );
    }
}

#[test]
fn a_damaged_file_is_refused_and_never_replaced() {
    let damages: [fn(&mut Value); 7] = [
        |file| file["issuer"] = json!([]),
        |file| file["issuer"][0]["kid"] = json!("another"),
        |file| file["receipt"]["kid"] = json!("another"),
        |file| file["receipt"]["seed"] = json!("AAAA"),
        |file| file["receipt"]["seed"] = json!("A".repeat(44)),
        |file| file["key_encryption"] = json!(null),
        |file| file["v"] = json!(2),
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let place = place();
        open(&place);
        edit(&place, damage);
        let before = fs::read(&place.path).unwrap();
        refusal(&place);
        assert_eq!(fs::read(&place.path).unwrap(), before, "damage {number}");
    }
}

#[test]
fn an_empty_file_is_refused() {
    let place = place();
    open(&place);
    fs::write(&place.path, "").unwrap();
    assert!(matches!(
        refusal(&place),
        KeysError::File(KeyFileError::Malformed { .. })
    ));
}

#[test]
fn errors_and_debug_output_quote_no_secret() {
    let place = place();
    let keys = open(&place);
    let mut secrets = Vec::new();
    edit(&place, |file| {
        for pointer in [
            "/issuer/0/seed",
            "/receipt/seed",
            "/key_encryption/key",
            "/keyed_hash/key",
        ] {
            let secret = file.pointer(pointer).unwrap().as_str().unwrap();
            secrets.push(secret.to_owned());
        }
        // A parser would quote a text that stands where a number belongs.
        file["v"] = json!(secrets[0]);
    });
    let error = refusal(&place);
    let shown = format!("{error} {error:?} {keys:?}");
    assert!(
        secrets.iter().all(|secret| !shown.contains(secret)),
        "{shown}"
    );
}

#[test]
fn a_token_signed_with_the_active_key_verifies_with_the_published_one() {
    let place = place();
    let keys = open(&place);
    let active = keys.issuer_active(NOW).unwrap();
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(active.kid().to_owned());
    let claims = json!({"sub": "agent:copilot"});
    let token =
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(active.pkcs8())).unwrap();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    let decode = |public: &[u8; 32]| {
        jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_ed_der(public), &validation)
    };
    assert_eq!(decode(active.public()).unwrap().claims, claims);
    assert!(decode(keys.receipt_key().public()).is_err());
}

#[test]
fn a_rotation_publishes_first_signs_later_and_forgets_last() {
    let place = place();
    let old = kids(&open(&place), NOW);
    let begins = NOW + Duration::minutes(10);
    let keys = LocalKeys::rotate_issuer(&place.path, NOW, begins).unwrap();
    let both = kids(&keys, NOW);
    assert_eq!(both.len(), 2);
    assert_eq!(both.first(), old.first());
    let signer = |at| keys.issuer_active(at).unwrap().kid().to_owned();
    assert_eq!(signer(begins - Duration::SECOND), both[0]);
    assert_eq!(signer(begins), both[1]);
    let ends = begins + Duration::minutes(15);
    assert_eq!(kids(&keys, ends - Duration::SECOND), both);
    assert_eq!(kids(&keys, ends), both[1..]);
    let next = LocalKeys::rotate_issuer(&place.path, ends, ends).unwrap();
    assert!(!kids(&next, ends).contains(&both[0]));
    assert_eq!(kids(&next, ends).len(), 2);
}

#[test]
fn a_second_rotation_waits_for_the_first() {
    let place = place();
    open(&place);
    let begins = NOW + Duration::minutes(10);
    LocalKeys::rotate_issuer(&place.path, NOW, begins).unwrap();
    let before = fs::read(&place.path).unwrap();
    let error = LocalKeys::rotate_issuer(&place.path, NOW, begins).unwrap_err();
    assert!(matches!(error, KeysError::RotationUnderWay));
    assert_eq!(fs::read(&place.path).unwrap(), before);
}

#[test]
fn a_rotation_leaves_the_other_keys_alone() {
    let place = place();
    let before = open(&place);
    let after = LocalKeys::rotate_issuer(&place.path, NOW, NOW + Duration::SECOND).unwrap();
    assert_eq!(before.receipt_key().kid(), after.receipt_key().kid());
    assert_eq!(before.keyed_hash("p", b"x"), after.keyed_hash("p", b"x"));
}

#[test]
fn no_key_signs_before_its_time() {
    let place = place();
    let keys = open(&place);
    let error = keys.issuer_active(NOW - Duration::SECOND).unwrap_err();
    assert!(matches!(error, KeysError::NoActiveIssuer));
}

#[test]
fn keyed_hashes_of_two_purposes_never_meet() {
    let keys = open(&place());
    assert_eq!(
        keys.keyed_hash("network", b"x"),
        keys.keyed_hash("network", b"x")
    );
    assert_ne!(
        keys.keyed_hash("network", b"x"),
        keys.keyed_hash("network", b"y")
    );
    assert_ne!(
        keys.keyed_hash("network", b"x"),
        keys.keyed_hash("dpop", b"x")
    );
    // The same bytes, divided elsewhere.
    assert_ne!(
        keys.keyed_hash("network", b"x"),
        keys.keyed_hash("networkx", b"")
    );
}
