//! Measures what a record costs on the path of a call, its signature apart. Run it with
//! `cargo run --release -p portcullis-evidence --example canonical_speed`.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use portcullis_evidence::canonical::of_value;
use portcullis_evidence::{Digest, Field, Record, Salts, Sealed, Signer, SignerError};
use serde_json::{Value, json};

const OUTCOME: &[u8] = include_bytes!("../src/record/golden/outcome.json");

#[derive(Debug)]
struct Free;

impl Signer for Free {
    fn key_id(&self) -> &'static str {
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    }

    fn sign(&self, _: &[u8]) -> Result<[u8; 64], SignerError> {
        Ok([0; 64])
    }
}

#[expect(clippy::print_stdout, reason = "an example reports to its reader")]
fn report(what: &str, rounds: u32, mut run: impl FnMut() -> usize) {
    for _ in 0..rounds / 10 {
        black_box(run());
    }
    let start = Instant::now();
    let mut bytes = 0;
    for _ in 0..rounds {
        bytes = black_box(run());
    }
    let nanos = start.elapsed().as_nanos() / u128::from(rounds);
    println!("{what:<42} {nanos:>12} ns  {bytes:>9} bytes");
}

fn rows() -> Value {
    let row = |number: u32| {
        json!({
            "order_id": format!("ord_{number:08}"), "email": "***@***", "phone": "***-***",
            "customer": format!("Customer {number}"), "total": f64::from(number) / 100.0,
            "currency": "EUR", "placed_on": "2025-08-25", "status": "paid",
        })
    };
    json!({"count": 10_000, "rows": (0..10_000).map(row).collect::<Vec<_>>()})
}

fn main() -> Result<(), Box<dyn Error>> {
    let outcome = OUTCOME.trim_ascii_end();
    let record = Record::parse(outcome)?;
    let value: Value = serde_json::from_slice(outcome)?;
    let size = |bytes: Result<Vec<u8>, _>| bytes.map_or(0, |bytes: Vec<u8>| bytes.len());
    report("record, declared in order", 200_000, || {
        record.canonical().map_or(0, |c| c.as_bytes().len())
    });
    report("record as JSON, sorted here", 200_000, || {
        of_value(&value).map_or(0, |c| c.as_bytes().len())
    });
    report("record as JSON, serde_json_canonicalizer", 20_000, || {
        size(serde_json_canonicalizer::to_vec(&value))
    });
    report("leaf hash", 200_000, || {
        Digest::of_leaf(black_box(outcome)).as_bytes().len()
    });
    report("record sealed, without the signature", 200_000, || {
        Sealed::new(record.clone(), &Free).map_or(0, |s| s.canonical().as_bytes().len())
    });
    report("record read", 100_000, || {
        usize::from(Record::parse(black_box(outcome)).is_ok())
    });
    let salts = Salts::from_bytes([7; 32]);
    let arguments = of_value(&json!({"from": "2025-08-25", "to": "2025-08-31"}))?;
    report("commitment to small arguments", 200_000, || {
        black_box(salts.commit(Field::Arguments, &arguments));
        arguments.as_bytes().len()
    });
    let rows = rows();
    report("10,000 rows, sorted here", 50, || {
        of_value(&rows).map_or(0, |c| c.as_bytes().len())
    });
    report("10,000 rows, serde_json_canonicalizer", 20, || {
        size(serde_json_canonicalizer::to_vec(&rows))
    });
    let rows = of_value(&rows)?;
    report("commitment to 10,000 rows", 50, || {
        black_box(salts.commit(Field::Result, &rows));
        rows.as_bytes().len()
    });
    Ok(())
}
