//! Encoded, hidden and nested forms, and the bounds of looking for them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::*;

fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |encoded, byte| {
        format!("{encoded}%{byte:02X}")
    })
}

#[test]
fn percent_html_and_backslash_escapes_hide_nothing() {
    for hidden in [
        "alice%40example.com",
        "alice%2540example.com",
        "%61%6C%69%63%65%40%65%78%61%6D%70%6C%65%2E%63%6F%6D",
        "alice&#64;example.com",
        "alice&#x40;example&period;com",
        "alice&commat;example.com",
        "alice&#0000064example.com",
        "alice\\u0040example.com",
        "alice\\x40example\\u{2e}com",
        "alice\\\\u0040example.com",
        "alice&amp;#64;example.com",
    ] {
        one(&format!("by {hidden} now"), Kind::Email, hidden);
        assert_eq!(text(&format!("by {hidden} now")), "by ***@*** now");
    }
    one(
        "q=%2B1%20555%20123%204567&x",
        Kind::Phone,
        "%2B1%20555%20123%204567",
    );
    one(
        "41&#49;1 1111 1111 1111",
        Kind::Card,
        "41&#49;1 1111 1111 1111",
    );
}

#[test]
fn full_width_and_other_digits_hide_nothing() {
    for (hidden, kind) in [
        ("４１１１１１１１１１１１１１１１", Kind::Card),
        ("٤١١١١١١١١١١١١١١١", Kind::Card),
        ("𝟜𝟙𝟙𝟙𝟙𝟙𝟙𝟙𝟙𝟙𝟙𝟙𝟙𝟙𝟙𝟙", Kind::Card),
        (
            "4\u{fe0f}\u{20e3}1\u{fe0f}\u{20e3}11111111111111",
            Kind::Card,
        ),
        ("ａｌｉｃｅ＠ｅｘａｍｐｌｅ．ｃｏｍ", Kind::Email),
        ("alice＠example。com", Kind::Email),
        ("＋１ ５５５ １２３ ４５６７", Kind::Phone),
        ("+1\u{a0}555\u{2011}123\u{2013}4567", Kind::Phone),
        ("ＤＥ８９370400440532013000", Kind::Iban),
    ] {
        one(&format!("by {hidden} now"), kind, hidden);
    }
}

#[test]
fn characters_that_cannot_be_seen_hide_nothing() {
    for gap in [
        "\u{200b}",
        "\u{ad}",
        "\u{200d}",
        "\u{2060}",
        "\u{feff}",
        "\u{202e}",
        "\u{fe0f}",
        "\u{e0020}",
        "\u{0}",
        "\u{8}",
    ] {
        assert_eq!(text(&format!("a{gap}lice@exa{gap}mple.com!")), "***@***!");
        assert_eq!(text(&format!("41{gap}1111{gap}1111111111!")), "***!");
    }
}

#[test]
fn base64_hides_nothing() {
    for plain in [
        "alice@example.com",
        "{\"email\":\"bob@example.com\"}",
        "card 4111 1111 1111 1111",
        "call +15551234567 ok",
        "zürich@example.com",
    ] {
        for encoded in [
            STANDARD.encode(plain),
            URL_SAFE_NO_PAD.encode(plain),
            STANDARD.encode(STANDARD.encode(plain)),
        ] {
            let found = text(&format!("data:text/plain;base64,{encoded}"));
            assert!(
                !found.contains(encoded.trim_end_matches('=')),
                "{plain} in {found}"
            );
            assert!(
                !find(&format!("id-{encoded}")).is_empty(),
                "{plain} after a prefix"
            );
        }
    }
    let long = format!(
        "{} alice@example.com {}",
        "filler text ".repeat(9),
        "more ".repeat(20)
    );
    let folded: Vec<String> = STANDARD
        .encode(&long)
        .as_bytes()
        .chunks(76)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    assert_eq!(text(&folded.join("\r\n")), "***@***");
    let binary: Vec<u8> = [
        &[0xff, 0x00, 0xfe, 0x01][..],
        b"alice@example.com",
        &[0x00, 0xff],
    ]
    .concat();
    assert_eq!(text(&STANDARD.encode(binary)), "***@***");
}

#[test]
fn hexadecimal_hides_nothing() {
    let lower = "alice@example.com"
        .bytes()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    one(&format!("x={lower}!"), Kind::Email, &lower);
    assert_eq!(text(&lower.to_uppercase()), "***@***");
    clean("da39a3ee5e6b4b0d3255bfef95601890afd80709");
    clean("3132333435363738");
}

#[test]
fn base64_of_something_else_is_left_alone() {
    clean(&STANDARD.encode("nothing to see here, move along please"));
    clean(&STANDARD.encode([0xde; 64]));
    clean("internationalization");
    clean("src/components/dashboard/index");
}

#[test]
fn json_in_a_string_is_redacted_as_json() {
    let inner = json!({"email": "a@ex.com", "card": 4_111_111_111_111_111_u64, "n": 1}).to_string();
    let middle = json!({"payload": inner}).to_string();
    let value = guard(json!({"note": middle}));
    let middle: Value = serde_json::from_str(value["note"].as_str().unwrap()).unwrap();
    let inner: Value = serde_json::from_str(middle["payload"].as_str().unwrap()).unwrap();
    assert_eq!(inner, json!({"email": "***@***", "card": 0, "n": 1}));
}

#[test]
fn json_in_a_string_obeys_field_rules() {
    let value = json!({"note": "{\"name\": \"Jane Doe\", \"n\": 1}"});
    let (value, report) = redact(value, &[rule("name", Mode::Mask)], &Declared::nothing());
    assert_eq!(value, json!({"note": "{\"n\":1,\"name\":\"***\"}"}));
    assert_eq!(report.fields["note.name"], "mask");
}

#[test]
fn a_duplicate_property_in_a_json_string_hides_nothing() {
    let value = guard(json!({"note": "{\"a\":\"x@example.com\",\"a\":\"clean\"}"}));
    assert!(!value.to_string().contains("x@example"));
}

#[test]
fn property_names_are_redacted_and_stay_apart() {
    let value = guard(
        json!({"a@example.com": 1, "b@example.com": 2, "***@***": 3, "+15551234567": {"c": 4}}),
    );
    assert_eq!(
        value,
        json!({"***@***": 3, "***@***#2": 1, "***@***#3": 2, "***-***": {"c": 4}})
    );
    let (_, report) = redact(
        json!({"a@example.com": "b@example.com"}),
        &[],
        &Declared::nothing(),
    );
    assert_eq!(report.fields.keys().collect::<Vec<_>>(), ["***@***"]);
}

#[test]
fn what_is_nested_too_deeply_is_never_passed() {
    let mut text = json!({"name": "Jane"}).to_string();
    for _ in 0..6 {
        text = json!({"v": text}).to_string();
    }
    let value = guard(json!(text)).to_string();
    assert!(!value.contains("Jane") && value.contains("***"));

    let mut layered = "alice@example.com".to_owned();
    for _ in 0..8 {
        layered = percent(&layered);
    }
    assert_eq!(super::text(&layered), "***");

    let mut deep = json!("Jane");
    for _ in 0..140 {
        deep = json!([deep]);
    }
    let (deep, report) = redact(deep, &[], &Declared::nothing());
    assert!(!deep.to_string().contains("Jane"));
    assert_eq!(report.by_kind[&Kind::Uninspectable], 1);
}

#[test]
fn what_is_too_long_to_inspect_is_masked_whole() {
    assert_eq!(text(&"a ".repeat(4 << 20)), "a ".repeat(4 << 20));
    assert_eq!(text(&"a ".repeat((4 << 20) + 1)), "***");
}

#[test]
fn a_text_that_costs_too_much_to_decode_is_masked_whole() {
    // Each layer is both escaped and base64, so that the ways to read it double from layer to layer.
    let hide = |layers| {
        (0..layers).fold("plain words ".repeat(99), |text, _| {
            format!("%2541 {}", STANDARD.encode(text))
        })
    };
    let report = redact_text(&hide(2)).1;
    assert_eq!(
        report.by_kind.keys().collect::<Vec<_>>(),
        [&Kind::Uninspectable]
    );
    clean(&hide(1));
}

#[test]
fn a_clean_text_is_borrowed() {
    let (clean, report) = redact_text("nothing personal in order 1001");
    assert!(matches!(clean, std::borrow::Cow::Borrowed(_)));
    assert!(report.is_clean());
}
