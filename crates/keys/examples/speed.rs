//! Compares the two Ed25519 implementations at hand on a message of a receipt's size, and measures
//! envelope encryption. Run it with `cargo run --release -p portcullis-keys --example speed`. All keys
//! are thrown away.

use std::hint::black_box;
use std::time::Instant;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use ed25519_dalek::{Signer, SigningKey};
use portcullis_domain::Id;
use portcullis_keys::{Aad, DataKey};
use time::OffsetDateTime;

const ROUNDS: u32 = 20_000;

#[expect(clippy::print_stdout, reason = "an example reports to its reader")]
fn report(what: &str, mut run: impl FnMut() -> bool) {
    let mut sound = true;
    for _ in 0..ROUNDS / 10 {
        sound &= run();
    }
    let start = Instant::now();
    for _ in 0..ROUNDS {
        sound &= run();
    }
    let nanos = start.elapsed().as_nanos() / u128::from(ROUNDS);
    println!("{what:<20} {nanos:>8} ns  sound={sound}");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seed = [7; 32];
    let message = [42; 220];
    let dalek = SigningKey::from_bytes(&seed);
    let aws = Ed25519KeyPair::from_seed_unchecked(&seed)?;
    report("sign, dalek", || {
        black_box(dalek.sign(black_box(&message))).to_bytes().len() == 64
    });
    report("sign, aws-lc", || {
        aws.try_sign(black_box(&message))
            .is_ok_and(|signature| black_box(signature).as_ref().len() == 64)
    });
    let signature = dalek.sign(&message);
    let dalek_public = dalek.verifying_key();
    let aws_public = UnparsedPublicKey::new(&ED25519, aws.public_key().as_ref());
    report("verify, dalek", || {
        dalek_public
            .verify_strict(black_box(&message), &signature)
            .is_ok()
    });
    report("verify, aws-lc", || {
        aws_public
            .verify(black_box(&message), &signature.to_bytes())
            .is_ok()
    });
    let aad = Aad {
        tenant: Id::mint(OffsetDateTime::UNIX_EPOCH, [7; 10]),
        usage: "call_inputs.arguments",
        row: &[7; 16],
    };
    let key = DataKey::generate()?;
    let plaintext = [7; 1024];
    let ciphertext = key.encrypt(&aad, &plaintext)?;
    report("encrypt 1 KiB", || {
        key.encrypt(&aad, black_box(&plaintext)).is_ok()
    });
    report("decrypt 1 KiB", || {
        key.decrypt(&aad, black_box(&ciphertext)).is_ok()
    });
    Ok(())
}
