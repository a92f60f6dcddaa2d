//! The file's outer form: a list of rules or `{rules, tests}`, and the keys of a rule.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use portcullis_domain::Pool;

use crate::condition::Slots;
use crate::diagnostic::{Place, Report, did_you_mean, listed, quoted};
use crate::document::{Content, Entry, Node};
use crate::read::condition::{ConditionReader, Tally};
use crate::read::given::{self, SelfTest};
use crate::rule::{RedactionMode, Rule, Verdict, pins};

/// The most rules in one policy.
const MAX_RULES: usize = 1_000;

/// The longest reason, in characters.
const MAX_REASON: usize = 500;

/// The longest rule id.
const MAX_ID: usize = 128;

/// The keys of a rule.
const KEYS: [&str; 7] = [
    "rule", "when", "unless", "decision", "redact", "route", "reason",
];

/// The rules and the tests of a text.
#[derive(Debug, Default)]
pub(crate) struct Text {
    pub(crate) rules: Vec<Rule>,
    pub(crate) tests: Vec<SelfTest>,
    /// Where decisions keep the attributes that the rules read.
    pub(crate) slots: Slots,
}

/// Reads the whole tree.
pub(crate) fn text(root: Node, report: &mut Report) -> Text {
    let mut text = Text::default();
    match root.content {
        Content::Null => {}
        Content::List(items) => (text.rules, text.slots) = rules(items, root.place, report),
        Content::Map(entries) => {
            for entry in entries {
                section(entry, &mut text, report);
            }
        }
        content @ (Content::Flag(_) | Content::Number(_) | Content::Text(_)) => report.error(
            root.place,
            format!(
                "a policy is a list of rules, and this is {}",
                content.kind()
            ),
            "begin with `- rule: name`",
        ),
    }
    text
}

fn section(entry: Entry, text: &mut Text, report: &mut Report) {
    let place = entry.value.place;
    match (entry.key.as_str(), entry.value.content) {
        ("rules", Content::List(items)) => (text.rules, text.slots) = rules(items, place, report),
        ("tests", Content::List(items)) => text.tests = given::tests(items, place, report),
        ("rules" | "tests", Content::Null) => {}
        ("rules" | "tests", content) => report.error(
            place,
            format!("`{}` is a list, and this is {}", entry.key, content.kind()),
            "begin each entry with `-`",
        ),
        (key, _) => report.error(
            entry.place,
            format!("unknown key {}", quoted(key)),
            did_you_mean(key, ["rules", "tests"]),
        ),
    }
}

fn rules(items: Vec<Node>, place: Place, report: &mut Report) -> (Vec<Rule>, Slots) {
    if items.len() > MAX_RULES {
        report.error(
            place,
            format!(
                "{} rules; a policy may have at most {MAX_RULES}",
                items.len()
            ),
            "join rules that differ in one value by a list of values",
        );
        return (Vec::new(), Slots::default());
    }
    let mut tally = Tally::default();
    let mut seen: HashMap<Arc<str>, Place> = HashMap::new();
    let mut rules = Vec::new();
    for item in items {
        let mut reader = RuleReader {
            report,
            tally: &mut tally,
        };
        let Some(rule) = reader.rule(item) else {
            continue;
        };
        if let Some(first) = seen.insert(Arc::clone(&rule.id), rule.place) {
            report.error(
                rule.place,
                format!(
                    "the rule id {} is taken since line {}",
                    quoted(&rule.id),
                    first.line
                ),
                "give each rule an id of its own",
            );
        }
        rules.push(rule);
    }
    (rules, tally.slots)
}

struct RuleReader<'r> {
    report: &'r mut Report,
    tally: &'r mut Tally,
}

impl RuleReader<'_> {
    fn rule(&mut self, node: Node) -> Option<Rule> {
        let place = node.place;
        let entries = match node.content {
            Content::Map(entries) => entries,
            content @ (Content::Null
            | Content::Flag(_)
            | Content::Number(_)
            | Content::Text(_)
            | Content::List(_)) => {
                self.report.error(
                    place,
                    format!("a rule is a mapping, and this is {}", content.kind()),
                    "begin with `rule: name`",
                );
                return None;
            }
        };
        let mut rule = Rule {
            id: Arc::from(""),
            place,
            pins: None,
            when: None,
            unless: None,
            verdict: None,
            redactions: Vec::new(),
            route: None,
            reason: None,
            reads: Vec::new(),
        };
        let written = entries.len();
        let understood = entries
            .into_iter()
            .filter_map(|entry| self.key(entry, &mut rule))
            .count();
        if understood < written || !self.is_whole(&rule) {
            return None;
        }
        finish(&mut rule);
        Some(rule)
    }

    /// Reads one key into the rule; `None` where something was wrong with it.
    fn key(&mut self, entry: Entry, rule: &mut Rule) -> Option<()> {
        let Entry { place, key, value } = entry;
        match key.as_str() {
            "rule" => {
                rule.place = value.place;
                rule.id = self.id(value)?;
            }
            "when" => rule.when = Some(self.conditions().condition(value)?),
            "unless" => rule.unless = Some(self.conditions().condition(value)?),
            "decision" => {
                rule.verdict = Some(self.word(&key, value, &Verdict::ALL, Verdict::as_str)?);
            }
            "redact" => rule.redactions = self.redactions(value)?,
            "route" => rule.route = Some(self.word(&key, value, &Pool::ALL, Pool::as_str)?),
            "reason" => rule.reason = Some(self.reason(value)?),
            "approval" => {
                self.report.error(
                    place,
                    "`approval` is reserved, and not available yet",
                    "write `decision: require_approval`",
                );
                return None;
            }
            other => {
                self.report.error(
                    place,
                    format!("unknown key {}", quoted(other)),
                    did_you_mean(other, KEYS),
                );
                return None;
            }
        }
        Some(())
    }

    fn conditions(&mut self) -> ConditionReader<'_> {
        ConditionReader {
            report: self.report,
            tally: self.tally,
        }
    }

    fn is_whole(&mut self, rule: &Rule) -> bool {
        if rule.id.is_empty() {
            self.report.error(
                rule.place,
                "this rule has no id",
                "begin it with `rule: name`, by which refusals and records will name it",
            );
            return false;
        }
        if rule.verdict.is_none() && rule.redactions.is_empty() && rule.route.is_none() {
            self.report.error(
                rule.place,
                format!("the rule {} does nothing", quoted(&rule.id)),
                "give it a `decision`, a `redact` or a `route`",
            );
            return false;
        }
        true
    }

    /// A text that is not empty.
    fn plain_text(&mut self, key: &str, node: Node) -> Option<String> {
        match node.content {
            Content::Text(text) if !text.trim().is_empty() => Some(text),
            content @ (Content::Null
            | Content::Flag(_)
            | Content::Number(_)
            | Content::Text(_)
            | Content::List(_)
            | Content::Map(_)) => {
                self.report.error(
                    node.place,
                    format!(
                        "`{key}` takes a text that is not empty, and this is {}",
                        content.kind()
                    ),
                    "put it in quotes if it is meant as a text",
                );
                None
            }
        }
    }

    fn id(&mut self, node: Node) -> Option<Arc<str>> {
        let place = node.place;
        let text = self.plain_text("rule", node)?;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if text.len() > MAX_ID || !text.bytes().all(allowed) {
            self.report.error(
                place,
                format!("{} is no rule id", quoted(&text)),
                format!("write at most {MAX_ID} ASCII letters, digits and `._-`"),
            );
            return None;
        }
        Some(Arc::from(text))
    }

    fn reason(&mut self, node: Node) -> Option<String> {
        let place = node.place;
        let text = self.plain_text("reason", node)?;
        let text = text.trim();
        if text.chars().count() > MAX_REASON || text.chars().any(char::is_control) {
            self.report.error(
                place,
                "this reason does not fit a refusal",
                format!("write one line of at most {MAX_REASON} characters"),
            );
            return None;
        }
        Some(text.to_owned())
    }

    /// One of a few words.
    fn word<W: Copy>(
        &mut self,
        key: &str,
        node: Node,
        all: &[W],
        name: fn(W) -> &'static str,
    ) -> Option<W> {
        let place = node.place;
        let text = self.plain_text(key, node)?;
        let word = all.iter().copied().find(|word| name(*word) == text);
        if word.is_none() {
            let names = || all.iter().map(|word| name(*word));
            let remedy = match crate::diagnostic::nearest(&text, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write one of: {}", listed(names())),
            };
            self.report
                .error(place, format!("`{key}` is never {}", quoted(&text)), remedy);
        }
        word
    }

    fn redactions(&mut self, node: Node) -> Option<Vec<(String, RedactionMode)>> {
        let place = node.place;
        let items = match node.content {
            Content::List(items) if !items.is_empty() => items,
            Content::Null
            | Content::Flag(_)
            | Content::Number(_)
            | Content::Text(_)
            | Content::List(_)
            | Content::Map(_) => {
                self.report.error(
                    place,
                    "`redact` takes a list with at least one field in it",
                    "write `redact: [{ field: email, mode: mask }]`",
                );
                return None;
            }
        };
        let count = items.len();
        let mut seen = BTreeSet::new();
        let mut redactions = Vec::new();
        for item in items {
            let place = item.place;
            let Some((field, mode)) = self.redaction(item) else {
                continue;
            };
            if seen.insert(field.clone()) {
                redactions.push((field, mode));
            } else {
                self.report.error(
                    place,
                    format!("the field {} stands here twice", quoted(&field)),
                    "keep one mode for it",
                );
            }
        }
        (redactions.len() == count).then_some(redactions)
    }

    fn redaction(&mut self, node: Node) -> Option<(String, RedactionMode)> {
        let place = node.place;
        let Content::Map(entries) = node.content else {
            self.report.error(
                place,
                "a redaction is a mapping",
                "write `{ field: email, mode: mask }`",
            );
            return None;
        };
        let (mut field, mut mode) = (None, None);
        for Entry { place, key, value } in entries {
            match key.as_str() {
                "field" => field = Some(self.field(value)?),
                "mode" => {
                    mode =
                        Some(self.word(&key, value, &RedactionMode::ALL, RedactionMode::as_str)?);
                }
                other => {
                    self.report.error(
                        place,
                        format!("unknown key {}", quoted(other)),
                        did_you_mean(other, ["field", "mode"]),
                    );
                    return None;
                }
            }
        }
        let whole = field.zip(mode);
        if whole.is_none() {
            self.report.error(
                place,
                "a redaction needs both a field and a mode",
                "write `{ field: email, mode: mask }`",
            );
        }
        whole
    }

    /// A property's name or a dotted path of names, as `redaction` reads it.
    fn field(&mut self, node: Node) -> Option<String> {
        const LONGEST: usize = 256;
        let place = node.place;
        let text = self.plain_text("field", node)?;
        let named = |name: &str| {
            let name = name.trim_end_matches("[]");
            let odd = |c: char| c.is_whitespace() || c.is_control() || "*[]".contains(c);
            !name.is_empty() && !name.contains(odd)
        };
        if text.len() > LONGEST || !text.split('.').all(named) {
            self.report.error(
                place,
                format!("{} names no field", quoted(&text)),
                "write a property's name, `email`, or a path, `customer.email`; there are no \
                 wildcards",
            );
            return None;
        }
        Some(text)
    }
}

/// Works out what follows from a rule's conditions.
fn finish(rule: &mut Rule) {
    for condition in [&mut rule.when, &mut rule.unless].into_iter().flatten() {
        condition.cheapest_first();
    }
    rule.pins = rule.when.as_ref().and_then(pins);
    let mut reads = BTreeSet::new();
    rule.each_test(&mut |test, _| {
        reads.insert((test.attribute.clone(), test.slot));
    });
    rule.reads = reads.into_iter().collect();
}
