//! The walk over a JSON value: first the policy's field rules, then the detectors over everything else,
//! property names included.
//!
//! Recursion is bounded: what lies deeper is emptied, never passed. Values never reach the report.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use crate::declared::Node;
use crate::hint;
use crate::hit::Cluster;
use crate::key::HashKey;
use crate::kind::{Kind, Kinds, MASK};
use crate::path::{Path, Step, pattern};
use crate::redact::kind_of_number;
use crate::report::Report;
use crate::rule::{Mode, Rule};
use crate::scan::Scanner;

/// Deeper values are replaced by empty ones of the same type. `serde_json` itself reads 128 levels.
pub(crate) const MAX_DEPTH: usize = 128;
/// JSON in strings in JSON in strings: what is nested more often is masked whole.
const MAX_NESTING: usize = 4;
/// A mask beside other text could make something new, so the result is looked at again, this often.
const ROUNDS: usize = 6;
/// Longer property names are not written into a report.
const MAX_NAME: usize = 64;

/// Where the walk stands.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    path: Option<&'a Path<'a>>,
    /// What the schema declares here.
    node: Option<&'a Node>,
    /// The kinds that are left to the rules here.
    kinds: Kinds,
    depth: usize,
    nesting: usize,
}

impl<'a> Place<'a> {
    /// The beginning of a walk.
    pub(crate) fn root(node: Option<&'a Node>) -> Self {
        let kinds = node.map_or(Kinds::NONE, Node::kinds);
        Self {
            path: None,
            node,
            kinds,
            depth: 0,
            nesting: 0,
        }
    }

    fn name(&self) -> Option<&'a str> {
        self.path.and_then(Path::name)
    }

    /// One step down. A class speaks of scalars and of arrays of them, not of an object's properties.
    fn down<'b>(&self, path: &'b Path<'b>, node: Option<&'b Node>, value: &Value) -> Place<'b> {
        let inherited = match path.step {
            Step::Item => self.kinds,
            Step::Property(_) => Kinds::NONE,
        };
        let own = node.map_or(Kinds::NONE, Node::kinds);
        let kinds = if value.is_object() {
            Kinds::NONE
        } else {
            own.union(inherited)
        };
        Place {
            path: Some(path),
            node,
            kinds,
            depth: self.depth + 1,
            nesting: self.nesting,
        }
    }

    /// Into the JSON that a string holds: no schema speaks of it.
    fn nested(&self) -> Self {
        let (depth, nesting) = (self.depth + 1, self.nesting + 1);
        Self {
            path: self.path,
            node: None,
            kinds: Kinds::NONE,
            depth,
            nesting,
        }
    }

    /// The kind whose mask fits here, by the schema or by the property's name.
    fn kind(&self) -> Option<Kind> {
        self.node
            .and_then(Node::kind)
            .or_else(|| self.name().and_then(hint::kind_of_name))
    }
}

/// One redaction in progress.
pub(crate) struct Walk<'r> {
    rules: &'r [Rule<'r>],
    drops: bool,
    /// Absent where there are no rules.
    key: Option<&'r HashKey>,
    scanner: Scanner,
    report: Report,
    changes: u64,
}

impl<'r> Walk<'r> {
    pub(crate) fn new(rules: &'r [Rule<'r>], key: Option<&'r HashKey>) -> Self {
        let drops = rules.iter().any(|rule| rule.mode == Mode::Drop);
        Self {
            rules,
            drops,
            key,
            scanner: Scanner::default(),
            report: Report::default(),
            changes: 0,
        }
    }

    pub(crate) fn into_report(self) -> Report {
        self.report
    }

    /// Detectors over a value, rules over the properties in it.
    pub(crate) fn value(&mut self, value: &mut Value, place: &Place<'_>) {
        if place.depth > MAX_DEPTH {
            self.empty(value, place);
            return;
        }
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => {
                if let Some(kind) = kind_of_number(number, place.name())
                    && !place.kinds.contains(kind)
                {
                    *number = zero(number);
                    self.found(kind, place);
                }
            }
            Value::String(text) => {
                if let Some(cleaned) = self.clean(text, place) {
                    *text = cleaned;
                }
            }
            Value::Array(items) => {
                let path = Path {
                    parent: place.path,
                    step: Step::Item,
                };
                for (index, item) in items.iter_mut().enumerate() {
                    let node = place.node.and_then(|node| node.item(index));
                    let inner = place.down(&path, node, item);
                    self.value(item, &inner);
                }
            }
            Value::Object(map) => self.object(map, place, None),
        }
    }

    /// The properties of an object and their names; `rule` is one on the object itself.
    fn object(&mut self, map: &mut Map<String, Value>, place: &Place<'_>, rule: Option<&Rule<'_>>) {
        if self.drops {
            map.retain(|name, _| !self.is_dropped(name, place));
        }
        let mut renamed = Vec::new();
        for (name, value) in map.iter_mut() {
            let path = Path {
                parent: place.path,
                step: Step::Property(name),
            };
            let inner = place.down(
                &path,
                place.node.and_then(|node| node.property(name)),
                value,
            );
            let own = path.rule(self.rules);
            if let Some(rule) = own {
                self.name(Some(&path), rule.mode.as_str());
            }
            match own
                .into_iter()
                .chain(rule)
                .min_by_key(|rule| Reverse(rule.mode))
            {
                Some(rule) => self.apply(rule, value, &inner),
                None => self.value(value, &inner),
            }
            if let Some(clean) = self.clean_name(name, &inner) {
                renamed.push((name.clone(), clean));
            }
        }
        rename(map, renamed);
    }

    fn is_dropped(&mut self, name: &str, place: &Place<'_>) -> bool {
        let path = Path {
            parent: place.path,
            step: Step::Property(name),
        };
        let dropped = path
            .rule(self.rules)
            .is_some_and(|rule| rule.mode == Mode::Drop);
        if dropped {
            self.changes += 1;
            self.report.count(hint::kind_of_name(name));
            self.name(Some(&path), Mode::Drop.as_str());
        }
        dropped
    }

    /// A rule over a value and everything in it.
    fn apply(&mut self, rule: &Rule<'_>, value: &mut Value, place: &Place<'_>) {
        if place.depth > MAX_DEPTH {
            self.empty(value, place);
            return;
        }
        match value {
            Value::Null => {}
            Value::Bool(truth) => {
                self.masked(*truth, place);
                *truth = false;
            }
            Value::Number(number) => {
                let zero = zero(number);
                self.masked(*number != zero, place);
                *number = zero;
            }
            Value::String(text) => {
                let replaced = self.replacement(rule, text, place);
                self.masked(*text != replaced, place);
                *text = replaced;
            }
            Value::Array(items) => {
                let path = Path {
                    parent: place.path,
                    step: Step::Item,
                };
                for (index, item) in items.iter_mut().enumerate() {
                    let node = place.node.and_then(|node| node.item(index));
                    let mut inner = place.down(&path, node, item);
                    inner.node = inner.node.or(place.node);
                    self.apply(rule, item, &inner);
                }
            }
            Value::Object(map) => self.object(map, place, Some(rule)),
        }
    }

    /// What a rule puts in the place of a string. A mask of an earlier redaction stays.
    fn replacement(&mut self, rule: &Rule<'_>, text: &str, place: &Place<'_>) -> String {
        let masks = [MASK, Kind::Email.mask(), Kind::Phone.mask()];
        if masks.contains(&text) {
            return text.to_owned();
        }
        match (rule.mode, self.key) {
            (Mode::Hash, Some(key)) => key.hash(text),
            (Mode::Tokenize, Some(key)) => key.token(&rule.name().to_ascii_lowercase(), text),
            (Mode::Mask | Mode::Drop, _) | (Mode::Hash | Mode::Tokenize, None) => {
                let whole = |found: &Cluster| found.range == (0..text.len());
                let kind = place.kind().or_else(|| {
                    self.scanner
                        .clusters(text, None)
                        .into_iter()
                        .find(whole)
                        .map(|found| found.kind)
                });
                kind.map_or(MASK, Kind::mask).to_owned()
            }
        }
    }

    /// The text without what the detectors find in it; nothing if it is clean.
    pub(crate) fn clean(&mut self, text: &str, place: &Place<'_>) -> Option<String> {
        let mut current = self.clean_nested(text, place);
        for _ in 0..ROUNDS {
            let now = current.as_deref().unwrap_or(text);
            let found = self.unsettled(now, place);
            if found.is_empty() {
                return current;
            }
            for found in &found {
                self.found(found.kind, place);
            }
            let replaced = replace(now, &found);
            current = Some(self.clean_nested(&replaced, place).unwrap_or(replaced));
        }
        let settled = self
            .unsettled(current.as_deref().unwrap_or(text), place)
            .is_empty();
        if settled {
            current
        } else {
            Some(MASK.to_owned())
        }
    }

    /// What the detectors find and no declaration leaves to the policy.
    fn unsettled(&mut self, text: &str, place: &Place<'_>) -> Vec<Cluster> {
        let mut found = self.scanner.clusters(text, place.name());
        found.retain(|found| !found.spanning.meets(place.kinds));
        found
    }

    /// JSON in a string is redacted as JSON, so that field rules reach it and it stays JSON.
    fn clean_nested(&mut self, text: &str, place: &Place<'_>) -> Option<String> {
        let json = text.trim();
        let object = json.starts_with('{') && json.ends_with('}');
        let array = json.starts_with('[') && json.ends_with(']');
        if !object && !array {
            return None;
        }
        let mut value: Value = serde_json::from_str(json).ok()?;
        if place.nesting >= MAX_NESTING {
            self.found(Kind::Uninspectable, place);
            return Some(MASK.to_owned());
        }
        let before = self.changes;
        self.value(&mut value, &place.nested());
        (self.changes != before)
            .then(|| serde_json::to_string(&value).unwrap_or_else(|_| MASK.to_owned()))
    }

    /// A property's name without what the detectors find in it; nothing if it is clean.
    fn clean_name(&mut self, name: &str, place: &Place<'_>) -> Option<String> {
        self.clean(
            name,
            &Place {
                kinds: Kinds::NONE,
                node: None,
                ..*place
            },
        )
    }

    /// Values too deep to look into.
    fn empty(&mut self, value: &mut Value, place: &Place<'_>) {
        match value {
            Value::Null => return,
            Value::Bool(truth) => *truth = false,
            Value::Number(number) => *number = zero(number),
            Value::String(text) => MASK.clone_into(text),
            Value::Array(items) => items.clear(),
            Value::Object(map) => map.clear(),
        }
        self.found(Kind::Uninspectable, place);
    }

    fn masked(&mut self, changed: bool, place: &Place<'_>) {
        if changed {
            self.changes += 1;
            self.report.count(place.kind());
        }
    }

    fn found(&mut self, kind: Kind, place: &Place<'_>) {
        self.changes += 1;
        self.report.count(Some(kind));
        self.name(place.path, kind.as_str());
    }

    fn name(&mut self, path: Option<&Path<'_>>, by: &'static str) {
        if self.report.is_full() {
            return;
        }
        let steps = path.map(Path::steps).unwrap_or_default();
        let scanner = &mut self.scanner;
        let written = pattern(&steps, |name| {
            if name.len() > MAX_NAME {
                return "…".to_owned();
            }
            scanner
                .clusters(name, None)
                .first()
                .map_or(name, |found| found.kind.mask())
                .to_owned()
        });
        self.report.name(written, by);
    }
}

/// Zero of the same JSON type.
fn zero(number: &Number) -> Number {
    let float = number.is_f64().then(|| Number::from_f64(0.0)).flatten();
    float.unwrap_or_else(|| Number::from(0))
}

/// The text with masks in the place of the findings, which are in order and apart.
fn replace(text: &str, found: &[Cluster]) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut from = 0;
    for found in found {
        let Some(kept) = text.get(from..found.range.start) else {
            return MASK.to_owned();
        };
        replaced.push_str(kept);
        replaced.push_str(found.kind.mask());
        from = found.range.end;
    }
    match text.get(from..) {
        Some(rest) => replaced + rest,
        None => MASK.to_owned(),
    }
}

/// Gives properties their clean names; where two become the same, the later ones are numbered.
fn rename(map: &mut Map<String, Value>, renamed: Vec<(String, String)>) {
    let mut numbers: BTreeMap<String, u64> = BTreeMap::new();
    for (name, clean) in renamed {
        let Some(value) = map.remove(&name) else {
            continue;
        };
        let number = numbers.entry(clean.clone()).or_insert(1);
        let mut free = clean.clone();
        while map.contains_key(&free) {
            *number += 1;
            free = format!("{clean}#{number}");
        }
        map.insert(free, value);
    }
}
