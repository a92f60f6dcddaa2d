//! What the redaction promises, case by case.

use serde_json::{Map, Value, json};

use crate::{
    Declared, FieldRule, HashKey, Kind, Mode, Report, breaks_forms, contains_pii, drops_required,
    find, redact_json, redact_text,
};

mod corpus;
mod detectors;
mod encodings;
mod fields;
mod properties;

fn key() -> HashKey {
    HashKey::new([7; 32])
}

fn rule(field: &str, mode: Mode) -> FieldRule {
    FieldRule {
        field: field.to_owned(),
        mode,
    }
}

fn redact(mut value: Value, rules: &[FieldRule], declared: &Declared) -> (Value, Report) {
    let report = redact_json(&mut value, rules, declared, &key());
    (value, report)
}

/// Detectors alone.
fn guard(value: Value) -> Value {
    redact(value, &[], &Declared::nothing()).0
}

fn schema(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn text(text: &str) -> String {
    redact_text(text).0.into_owned()
}

/// The kinds found in a text, each with the stretch.
fn seen(text: &str) -> Vec<(Kind, &str)> {
    find(text)
        .into_iter()
        .map(|found| (found.kind, text.get(found.range).unwrap()))
        .collect()
}

#[track_caller]
fn clean(text: &str) {
    assert_eq!(seen(text), [], "in {text}");
}

#[track_caller]
fn one(text: &str, kind: Kind, part: &str) {
    assert_eq!(seen(text), [(kind, part)], "in {text}");
}
