//! Tests of the canonical form: the standard's own examples, and the reference implementation as a
//! second opinion on generated values.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn text(value: &Value) -> String {
    String::from_utf8(of_value(value).unwrap().into_bytes()).unwrap()
}

#[test]
fn the_standards_example_comes_out_as_printed_there() {
    // RFC 8785 §3.2.2 and §3.2.3.
    let input = r#"{
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"#;
    let value: Value = serde_json::from_str(input).unwrap();
    assert_eq!(
        text(&value),
        r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#
    );
}

#[test]
fn members_are_sorted_as_the_standard_sorts_them() {
    // RFC 8785 §3.2.3: the order of UTF-16 code units puts the smiley before U+FB33.
    let value = json!({
        "\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew Letter Dalet With Dagesh",
        "1": "One", "\u{1f600}": "Emoji: Grinning Face", "\u{80}": "Control",
        "\u{f6}": "Latin Small Letter O With Diaeresis",
    });
    let canonical = text(&value);
    let order: Vec<_> = [
        "Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew",
    ]
    .into_iter()
    .map(|word| canonical.find(word).unwrap())
    .collect();
    assert!(order.is_sorted(), "{canonical}");
}

#[test]
fn integers_that_a_double_would_round_are_refused() {
    for number in [
        json!(9_007_199_254_740_991_u64),
        json!(-9_007_199_254_740_991_i64),
    ] {
        assert_eq!(text(&number), number.to_string());
    }
    for number in [
        json!(9_007_199_254_740_992_u64),
        json!(u64::MAX),
        json!(-9_007_199_254_740_992_i64),
        json!(i64::MIN),
        json!(1e17),
        json!(-9_007_199_254_740_992.0),
        json!(999_999_999_999_999_900_000.0),
    ] {
        let nested = json!({"a": [number]});
        assert!(
            matches!(of_value(&nested), Err(CanonicalError::UnsafeInteger)),
            "{nested}"
        );
        assert!(matches!(
            canonical_bytes(&nested),
            Err(CanonicalError::UnsafeInteger)
        ));
    }
}

#[test]
fn numbers_written_with_an_exponent_are_kept() {
    assert_eq!(
        text(&json!([1e21, -1e300, 9_007_199_254_740_991.0])),
        "[1e+21,-1e+300,9007199254740991]"
    );
}

#[test]
fn negative_zero_is_zero() {
    assert_eq!(text(&json!(-0.0)), "0");
}

#[test]
fn a_type_has_the_form_of_its_json() {
    #[derive(Serialize)]
    struct Unsorted {
        z: u8,
        a: Option<f64>,
    }
    let canonical = canonical_bytes(&Unsorted { z: 1, a: Some(2.0) }).unwrap();
    assert_eq!(canonical.as_bytes(), br#"{"a":2,"z":1}"#);
}

pub(crate) fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\\x00-\\x1f\"\\\\/\u{7f}\u{2028}\u{e000}\u{ffff}\u{10000}\u{10ffff}a-c]{0,6}",
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let safe = -9_007_199_254_740_991_i64..=9_007_199_254_740_991;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        safe.prop_map(Value::from),
        any::<f64>()
            .prop_filter("an unsafe integer", |double| !reads_as_unsafe_integer(
                *double
            ))
            .prop_map(Value::from),
        any_text().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec((any_text(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_reference_implementation_agrees(value in any_json()) {
        let ours = of_value(&value).unwrap();
        prop_assert_eq!(ours.as_bytes(), serde_json_canonicalizer::to_vec(&value).unwrap());
    }

    #[test]
    fn the_form_is_stable(value in any_json()) {
        let once = of_value(&value).unwrap();
        let again: Value = serde_json::from_slice(once.as_bytes()).unwrap();
        prop_assert_eq!(of_value(&again).unwrap(), once);
    }
}
