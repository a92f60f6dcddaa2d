//! The ways in: a JSON value, a text, and the question which kinds a value holds.
//!
//! What comes out has nothing in it that the detectors find (declared fields apart), and redacting it
//! again changes nothing.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Number, Value};

use crate::declared::Declared;
use crate::detect::{card, ssn};
use crate::hint::{self, Hint};
use crate::key::HashKey;
use crate::kind::Kind;
use crate::report::Report;
use crate::rule::{FieldRule, Rule};
use crate::scan::Scanner;
use crate::walk::{MAX_DEPTH, Place, Walk};

/// Redacts a value in place.
///
/// `rules` are the field rules of the policy, `declared` the fields that the schema declares as
/// personal (there, findings of the declared kind are left to the rules), `key` the tenant's key for
/// pseudonyms. Masks keep the JSON type: strings become `***@***`, `***-***` or `***`, numbers 0,
/// booleans false; objects and arrays are masked value by value; null stays. `hash` and `tokenize` turn
/// strings into pseudonyms and mask everything else.
pub fn redact_json(
    value: &mut Value,
    rules: &[FieldRule],
    declared: &Declared,
    key: &HashKey,
) -> Report {
    let rules: Vec<Rule<'_>> = rules.iter().map(Rule::new).collect();
    let mut walk = Walk::new(&rules, Some(key));
    walk.value(value, &Place::root(Some(declared.root())));
    walk.into_report()
}

/// Redacts a text: error messages, denials, log lines. Borrows when there is nothing to do.
pub fn redact_text(text: &str) -> (Cow<'_, str>, Report) {
    let mut walk = Walk::new(&[], None);
    let cleaned = walk.clean(text, &Place::root(None));
    (
        cleaned.map_or(Cow::Borrowed(text), Cow::Owned),
        walk.into_report(),
    )
}

/// The kinds of personal data and secrets in a value, property names included (`data.pii_types` of a
/// call's arguments). Nothing is left out for being declared.
pub fn contains_pii(value: &Value) -> BTreeSet<Kind> {
    let mut kinds = BTreeSet::new();
    look(value, None, 0, &mut Scanner::default(), &mut kinds);
    kinds
}

fn look(
    value: &Value,
    name: Option<&str>,
    depth: usize,
    scanner: &mut Scanner,
    kinds: &mut BTreeSet<Kind>,
) {
    if depth > MAX_DEPTH {
        kinds.insert(Kind::Uninspectable);
        return;
    }
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => kinds.extend(kind_of_number(number, name)),
        Value::String(text) => {
            kinds.extend(scanner.clusters(text, name).iter().map(|found| found.kind));
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| look(item, name, depth + 1, scanner, kinds)),
        Value::Object(map) => {
            for (name, value) in map {
                kinds.extend(scanner.clusters(name, None).iter().map(|found| found.kind));
                look(value, Some(name), depth + 1, scanner, kinds);
            }
        }
    }
}

/// What a JSON number is: a card by its digits, a phone, social security or identity number by its name.
pub(crate) fn kind_of_number(number: &Number, name: Option<&str>) -> Option<Kind> {
    let integer = match number.as_u64() {
        Some(integer) => integer,
        // 4.111111111111111e15 is the same number as its sixteen digits.
        None => number
            .as_f64()
            .filter(|number| number.fract() == 0.0)
            .and_then(|number| format!("{number:.0}").parse().ok())?,
    };
    if integer < 1_000_000 {
        return None;
    }
    if card::is_card(integer) {
        return Some(Kind::Card);
    }
    match name.map_or(Hint::None, hint::of_name) {
        Hint::Phone => (integer < 1_000_000_000_000_000).then_some(Kind::Phone),
        Hint::Ssn => ssn::is_valid(format!("{integer:09}").as_bytes()).then_some(Kind::Ssn),
        Hint::National => (integer < 1_000_000_000_000_000).then_some(Kind::NationalId),
        Hint::Call | Hint::Id | Hint::None => None,
    }
}
