//! Properties that hold for any input.

use proptest::prelude::*;

use super::*;

const PLANTS: &[&str] = &[
    "alice@example.com",
    "+1 555 123 4567",
    "4111111111111111",
    "4111 1111 1111 1111",
    "DE89370400440532013000",
    "123-45-6789",
    "AKIAIOSFODNN7EXAMPLE",
    "(555) 123-4567",
];

/// Ways to hide a value in a text.
fn hide(plain: &str, way: u8) -> String {
    use base64::Engine;
    let each = |write: fn(char) -> String| plain.chars().map(write).collect::<Vec<_>>().concat();
    match way % 8 {
        0 => plain.to_owned(),
        1 => each(|c| format!("%{:02X}", u32::from(c))),
        2 => each(|c| format!("&#{};", u32::from(c))),
        3 => each(|c| format!("\\u{:04x}", u32::from(c))),
        4 => each(|c| format!("{c}\u{200b}")),
        5 => each(|c| {
            char::from_u32(u32::from(c) + 0xfee0)
                .filter(|_| c > ' ')
                .unwrap_or('\u{3000}')
                .to_string()
        }),
        6 => base64::engine::general_purpose::STANDARD.encode(format!("{{\"v\":\"{plain}\"}}")),
        _ => json!({ "v": plain }).to_string(),
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        ".{0,40}",
        "[0-9 .()@+a-c-]{0,40}",
        (0..PLANTS.len(), any::<u8>(), "[ ,:a-z]{0,4}").prop_map(|(plant, way, around)| {
            format!("{around}{}{around}", hide(PLANTS[plant], way))
        }),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(json!(4_111_111_111_111_111_u64)),
        any::<f64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        let name = prop_oneof![
            Just("email".to_owned()),
            Just("phone".to_owned()),
            Just("a".to_owned()),
            text.clone()
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn rules() -> impl Strategy<Value = Vec<FieldRule>> {
    let mode = prop_oneof![
        Just(Mode::Mask),
        Just(Mode::Hash),
        Just(Mode::Tokenize),
        Just(Mode::Drop)
    ];
    let field = prop_oneof![Just("email"), Just("phone"), Just("a"), Just("a.email")];
    prop::collection::vec(
        (field, mode).prop_map(|(field, mode)| rule(field, mode)),
        0..3,
    )
}

fn type_of(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn redacting_twice_is_redacting_once(value in json_value(), rules in rules()) {
        let (once, _) = redact(value, &rules, &Declared::nothing());
        let (twice, report) = redact(once.clone(), &rules, &Declared::nothing());
        prop_assert_eq!(&once, &twice);
        prop_assert_eq!(report.pii_count, 0);
    }

    #[test]
    fn what_was_redacted_holds_no_finding(value in json_value(), rules in rules()) {
        let (redacted, _) = redact(value, &rules, &Declared::nothing());
        prop_assert_eq!(contains_pii(&redacted), std::collections::BTreeSet::new());
    }

    #[test]
    fn redaction_keeps_the_types(items in prop::collection::vec(json_value(), 0..5)) {
        let before: Vec<u8> = items.iter().map(type_of).collect();
        let (after, _) = redact(Value::from(items), &[], &Declared::nothing());
        let after: Vec<u8> = after.as_array().unwrap().iter().map(type_of).collect();
        prop_assert_eq!(before, after);
    }

    #[test]
    fn a_planted_value_never_survives(plant in 0..PLANTS.len(), way in any::<u8>(), before in "[a-z ]{0,12}", after in "[a-z ]{0,12}") {
        let hidden = hide(PLANTS[plant], way);
        let (redacted, report) = redact_text(&hidden);
        prop_assert!(!redacted.contains(&hidden), "{}", hidden);
        prop_assert!(report.pii_count > 0);
        let around = text(&format!("{before} {hidden} {after}"));
        prop_assert!(!around.contains(&hidden), "{}", around);
        prop_assert!(find(&around).is_empty());
    }

    #[test]
    fn any_text_is_read_without_a_panic_and_ranges_fit(text in "\\PC{0,80}") {
        for found in find(&text) {
            prop_assert!(text.get(found.range).is_some());
        }
        prop_assert!(find(&super::text(&text)).is_empty());
    }

    #[test]
    fn any_text_of_escapes_and_digits_is_settled(text in "[%&#;\\\\u0-9a-f@. +()/x{}\"=-]{0,60}") {
        let redacted = super::text(&text);
        prop_assert!(find(&redacted).is_empty());
        prop_assert_eq!(&super::text(&redacted), &redacted);
    }
}
