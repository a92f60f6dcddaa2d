//! Measures (on Linux) how fast a mebibyte of JSON is redacted, on one core: `cargo run --release --example
//! throughput -p portcullis-redaction [-- PART_OF_A_NAME]`. Uses generated data only.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use portcullis_redaction::{Declared, FieldRule, HashKey, Mode, redact_json};
use serde_json::{Value, json};

const MEBIBYTE: usize = 1 << 20;
const RUNS: u32 = 40;

fn rows(row: impl Fn(usize) -> Value) -> Value {
    let mut rows = Vec::new();
    let mut size = 0;
    for index in 0.. {
        if size >= MEBIBYTE {
            break;
        }
        let row = row(index);
        size += row.to_string().len() + 1;
        rows.push(row);
    }
    json!({ "rows": rows })
}

fn order(index: usize) -> Value {
    json!({
        "id": format!("ord_0198d0a2b3c47d5e8f70{index:012x}"),
        "email": format!("customer{index}@example.com"),
        "phone": format!("+1555{:07}", index % 10_000_000),
        "jurisdiction": "EU",
        "total": 30.5,
        "currency": "EUR",
        "status": "shipped",
        "placed_on": "2025-08-25",
        "updated_at": "2025-08-25T12:30:45.123Z",
        "note": "Leave the parcel with the neighbour at the back door, please."
    })
}

fn prose(index: usize) -> Value {
    json!("The committee discussed internationalization, the budget of 1,250,000.00 EUR and the plan for \
           2025-08-25 at length; nothing was decided before 17:45. ".repeat(1 + index % 40))
}

fn blob(index: usize) -> Value {
    let mut state = u64::try_from(index).unwrap_or(0) + 1;
    let mut text = String::new();
    while text.len() < 60_000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let _ = write!(text, "{:016x}", state ^ (state >> 29));
    }
    json!(text)
}

fn numbers(index: usize) -> Value {
    let mut text = String::new();
    for step in 0..200 {
        let _ = write!(text, "{} {}-{} ", index + step, step * 7, step * 31);
    }
    json!(text)
}

fn nested(index: usize) -> Value {
    json!({ "payload": order(index).to_string(), "html": "a &amp; b &#8211; 100% \\ c" })
}

/// The time that this thread has had on a core, so that a busy machine does not blur the figures.
fn spent() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

fn main() -> std::io::Result<()> {
    let rule = |field: &str, mode| FieldRule {
        field: field.to_owned(),
        mode,
    };
    let rules = [rule("email", Mode::Mask), rule("phone", Mode::Mask)];
    let key = HashKey::new([7; 32]);
    let mut out = std::io::stdout().lock();
    let hostile = |text: &str| json!([text.repeat(MEBIBYTE / text.len())]);
    let cases: [(&str, Value, &[FieldRule]); 13] = [
        ("orders, masked by rules", rows(order), &rules),
        ("orders, found by detectors", rows(order), &[]),
        ("prose", rows(prose), &[]),
        ("one long hexadecimal text a row", rows(blob), &[]),
        ("dense numbers", rows(numbers), &[]),
        ("JSON and HTML in strings", rows(nested), &rules),
        (
            "cyrillic",
            rows(|_| json!("Съешь ещё этих мягких французских булок, да выпей чаю. ".repeat(20))),
            &[],
        ),
        ("hostile: addresses", hostile("a@b.cd "), &[]),
        ("hostile: half addresses", hostile("a@1."), &[]),
        ("hostile: digits apart", hostile("1 "), &[]),
        ("hostile: token parts", hostile("eyJaaaaaaaaaaaaa."), &[]),
        (
            "hostile: escapes of escapes",
            hostile("&amp;amp;%2525\\\\"),
            &[],
        ),
        (
            "hostile: ibans that fail",
            hostile("GB82WEST12345698765431"),
            &[],
        ),
    ];
    let wanted = std::env::args().nth(1).unwrap_or_default();
    for (name, value, rules) in cases {
        if !name.contains(&wanted) {
            continue;
        }
        let size = value.to_string().len();
        let mut total = Duration::ZERO;
        for _ in 0..RUNS {
            let mut value = value.clone();
            let start = spent();
            redact_json(&mut value, rules, &Declared::nothing(), &key);
            total += spent().saturating_sub(start);
        }
        let runs = f64::from(RUNS);
        let mebibytes = u32::try_from(size).map(f64::from).unwrap_or_default() / 1_048_576.0;
        let seconds = total.as_secs_f64() / runs / mebibytes;
        writeln!(
            out,
            "{name:34} {:6.2} ms/MiB, {:6.1} MiB/s",
            seconds * 1e3,
            1.0 / seconds
        )?;
    }
    Ok(())
}
