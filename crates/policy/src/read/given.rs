//! The `tests:` of a policy: what is given of a call, and what the policy has to say to it.
//!
//! A policy whose own tests fail is refused.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_domain::Pool;
use serde_json::Value;

use crate::attribute::{Attribute, Kind};
use crate::catalog::{Catalog, ToolShape};
use crate::condition::Literal;
use crate::decision::Decision;
use crate::diagnostic::{Place, Report, did_you_mean, listed, quoted};
use crate::document::{Content, Entry, Node};
use crate::fact::{Fact, Facts};
use crate::policy::Policy;
use crate::read::condition::{ConditionReader, Tally};
use crate::read::fit;
use crate::rule::Verdict;
use crate::schema::Lookup;

/// The most tests in one policy.
const MAX_TESTS: usize = 1_000;

/// One test.
#[derive(Debug)]
pub(crate) struct SelfTest {
    name: String,
    place: Place,
    given: BTreeMap<Attribute, Value>,
    unknown: BTreeSet<Attribute>,
    verdict: Verdict,
    rule: Option<String>,
    route: Option<Pool>,
}

/// Reads the list of tests.
pub(crate) fn tests(items: Vec<Node>, place: Place, report: &mut Report) -> Vec<SelfTest> {
    if items.len() > MAX_TESTS {
        report.error(
            place,
            format!(
                "{} tests; a policy may have at most {MAX_TESTS}",
                items.len()
            ),
            "keep those that show a boundary",
        );
        return Vec::new();
    }
    items
        .into_iter()
        .filter_map(|item| TestReader { report }.test(item))
        .collect()
}

#[derive(Default)]
struct Expected {
    verdict: Option<Verdict>,
    rule: Option<String>,
    route: Option<Pool>,
}

struct TestReader<'r> {
    report: &'r mut Report,
}

impl TestReader<'_> {
    fn test(&mut self, node: Node) -> Option<SelfTest> {
        let place = node.place;
        let entries = self.map(node, "a test")?;
        let mut name = None;
        let mut given = BTreeMap::new();
        let mut unknown = BTreeSet::new();
        let mut expected = None;
        for Entry { place, key, value } in entries {
            match key.as_str() {
                "name" => name = Some(self.text(value, "name")?),
                "given" => given = self.given(value)?,
                "unknown" => unknown = self.unknown(value)?,
                "expect" => expected = Some(self.expected(value)?),
                other => {
                    self.unknown_key(place, other, &["name", "given", "unknown", "expect"]);
                    return None;
                }
            }
        }
        let Some((name, expected)) = name.zip(expected) else {
            self.report.error(
                place,
                "a test needs a `name` and what to `expect`",
                "write `{ name: …, given: { tool: … }, expect: { decision: deny } }`",
            );
            return None;
        };
        Some(SelfTest {
            name,
            place,
            given,
            unknown,
            verdict: expected.verdict?,
            rule: expected.rule,
            route: expected.route,
        })
    }

    fn map(&mut self, node: Node, what: &str) -> Option<Vec<Entry>> {
        match node.content {
            Content::Map(entries) => Some(entries),
            content @ (Content::Null
            | Content::Flag(_)
            | Content::Number(_)
            | Content::Text(_)
            | Content::List(_)) => {
                self.report.error(
                    node.place,
                    format!("{what} is a mapping, and this is {}", content.kind()),
                    "write `key: value` pairs",
                );
                None
            }
        }
    }

    fn text(&mut self, node: Node, key: &str) -> Option<String> {
        match node.content {
            Content::Text(text) if !text.is_empty() => Some(text),
            content @ (Content::Null
            | Content::Flag(_)
            | Content::Number(_)
            | Content::Text(_)
            | Content::List(_)
            | Content::Map(_)) => {
                self.report.error(
                    node.place,
                    format!("`{key}` takes a text, and this is {}", content.kind()),
                    "put it in quotes if it is meant as a text",
                );
                None
            }
        }
    }

    fn unknown_key(&mut self, place: Place, key: &str, known: &[&str]) {
        self.report.error(
            place,
            format!("unknown key {}", quoted(key)),
            did_you_mean(key, known.iter().copied()),
        );
    }

    fn attribute(&mut self, name: &str, place: Place) -> Option<Attribute> {
        let mut reader = ConditionReader {
            report: self.report,
            tally: &mut Tally::default(),
        };
        reader.attribute(name, place)
    }

    fn given(&mut self, node: Node) -> Option<BTreeMap<Attribute, Value>> {
        let entries = self.map(node, "`given`")?;
        let mut given = BTreeMap::new();
        for Entry { place, key, value } in entries {
            let attribute = self.attribute(&key, place)?;
            let value = self.value(&attribute, value)?;
            given.insert(attribute, value);
        }
        Some(given)
    }

    /// A value that the attribute may have.
    fn value(&mut self, attribute: &Attribute, node: Node) -> Option<Value> {
        let place = node.place;
        let is_list = matches!(node.content, Content::List(_));
        if is_list != matches!(attribute.kind(), Kind::Texts(_))
            && attribute.kind() != Kind::Argument
        {
            self.report.error(
                place,
                format!(
                    "`{}` is not {}",
                    attribute.name(),
                    if is_list { "a list" } else { "a single value" }
                ),
                "give it the value that a call would have",
            );
            return None;
        }
        match node.content {
            Content::List(items) => {
                let values: Option<Vec<Value>> = items
                    .into_iter()
                    .map(|item| self.scalar(attribute, item, true))
                    .collect();
                values.map(Value::Array)
            }
            content @ (Content::Null
            | Content::Flag(_)
            | Content::Number(_)
            | Content::Text(_)
            | Content::Map(_)) => self.scalar(attribute, Node { place, content }, false),
        }
    }

    fn scalar(&mut self, attribute: &Attribute, node: Node, item: bool) -> Option<Value> {
        let place = node.place;
        let mut reader = ConditionReader {
            report: self.report,
            tally: &mut Tally::default(),
        };
        let literal = reader.literal(node)?;
        let fault = if item {
            fit::item_fault(attribute, &literal).filter(|_| attribute.kind() != Kind::Argument)
        } else {
            fit::value_fault(attribute, &literal, true)
        };
        if let Some((message, remedy)) = fault {
            self.report.error(place, message, remedy);
            return None;
        }
        match literal {
            Literal::Flag(flag) => Some(Value::Bool(flag)),
            Literal::Text(text) => Some(Value::String(text.into_string())),
            Literal::Number(number) => number.to_json().map(Value::Number),
        }
    }

    fn unknown(&mut self, node: Node) -> Option<BTreeSet<Attribute>> {
        let Content::List(items) = node.content else {
            self.report.error(
                node.place,
                "`unknown` is a list of attributes that could not be computed",
                "write `unknown: [egress.domain_in_allowlist]`",
            );
            return None;
        };
        items
            .into_iter()
            .map(|item| {
                let place = item.place;
                let name = self.text(item, "unknown")?;
                self.attribute(&name, place)
            })
            .collect()
    }

    fn expected(&mut self, node: Node) -> Option<Expected> {
        let place = node.place;
        let mut expected = Expected::default();
        for Entry { place, key, value } in self.map(node, "`expect`")? {
            let value_place = value.place;
            match key.as_str() {
                "decision" => {
                    let text = self.text(value, &key)?;
                    let verdict = Verdict::ALL.into_iter().find(|v| v.as_str() == text);
                    if verdict.is_none() {
                        let names = Verdict::ALL.map(Verdict::as_str);
                        let message = format!("`decision` is never {}", quoted(&text));
                        self.report
                            .error(value_place, message, did_you_mean(&text, names));
                    }
                    expected.verdict = Some(verdict?);
                }
                "rule" => expected.rule = Some(self.text(value, &key)?),
                "route" => {
                    let text = self.text(value, &key)?;
                    let pool = text.parse().ok();
                    if pool.is_none() {
                        let names = Pool::ALL.map(Pool::as_str);
                        let message = format!("`route` is never {}", quoted(&text));
                        self.report
                            .error(value_place, message, did_you_mean(&text, names));
                    }
                    expected.route = Some(pool?);
                }
                other => {
                    self.unknown_key(place, other, &["decision", "rule", "route"]);
                    return None;
                }
            }
        }
        if expected.verdict.is_none() {
            self.report.error(
                place,
                "this test expects no decision",
                "write `expect: { decision: deny }`; a policy without a rule that allows denies",
            );
            return None;
        }
        Some(expected)
    }
}

/// What a test gives.
struct Given<'a> {
    test: &'a SelfTest,
    tool: Option<&'a ToolShape<'a>>,
    /// Defaults of arguments that the test does not give.
    defaults: BTreeMap<&'a Attribute, Value>,
}

impl Facts for Given<'_> {
    fn fact(&self, attribute: &Attribute) -> Fact<'_> {
        if self.test.unknown.contains(attribute) {
            return Fact::Unknown;
        }
        let given = self.test.given.get(attribute);
        if let Some(value) = given.or_else(|| self.defaults.get(attribute)) {
            return Fact::argument(Some(value));
        }
        match (attribute, self.tool) {
            (Attribute::ToolMutating, Some(tool)) => Fact::flag(tool.mutating),
            (Attribute::ToolRisk, Some(tool)) => Fact::text(tool.risk.as_str()),
            _ => Fact::Absent,
        }
    }
}

/// Runs a policy's tests against it.
pub(crate) fn run(tests: &[SelfTest], policy: &Policy, catalog: &Catalog<'_>, report: &mut Report) {
    for test in tests {
        let tool = test
            .given
            .get(&Attribute::Tool)
            .and_then(Value::as_str)
            .and_then(|name| catalog.get(name));
        if misnames_an_argument(test, tool, report) {
            continue;
        }
        let given = Given {
            test,
            tool,
            defaults: defaults(policy, tool),
        };
        let decision = policy.decide(&given);
        if let Some(difference) = difference(test, &decision) {
            report.error(
                test.place,
                format!("the test {} fails: {difference}", quoted(&test.name)),
                "correct the rules, or the test if it expects the wrong thing",
            );
        }
    }
}

/// Reports arguments that the tool does not have: such a test would show nothing.
fn misnames_an_argument(
    test: &SelfTest,
    tool: Option<&ToolShape<'_>>,
    report: &mut Report,
) -> bool {
    let Some(tool) = tool else {
        return false;
    };
    let mut misnamed = false;
    for attribute in test.given.keys().chain(&test.unknown) {
        if let Attribute::Args(path) = attribute
            && let Lookup::Missing { known } = tool.argument(path)
        {
            misnamed = true;
            report.error(
                test.place,
                format!("`{}` has no argument {}", tool.name, quoted(path.as_str())),
                format!("write one of: {}", listed(known.iter().map(String::as_str))),
            );
        }
    }
    misnamed
}

fn defaults<'p>(
    policy: &'p Policy,
    tool: Option<&ToolShape<'_>>,
) -> BTreeMap<&'p Attribute, Value> {
    let Some(tool) = tool else {
        return BTreeMap::new();
    };
    policy
        .reads()
        .filter_map(|attribute| match tool.argument(attribute.argument()?) {
            Lookup::Found(shape) => Some((attribute, shape.default?)),
            Lookup::Missing { .. } => None,
        })
        .collect()
}

/// How a decision differs from what a test expects.
fn difference(test: &SelfTest, decision: &Decision) -> Option<String> {
    let by = match decision.rules.as_slice() {
        [] => "no rule".to_owned(),
        rules => listed(rules.iter().map(AsRef::as_ref)),
    };
    if decision.verdict != test.verdict {
        return Some(format!(
            "it expects {}, and the policy says {} (by {by})",
            test.verdict.as_str(),
            decision.verdict.as_str()
        ));
    }
    if let Some(rule) = &test.rule
        && !decision.rules.iter().any(|id| id.as_ref() == rule)
    {
        return Some(format!(
            "it expects the rule {}, and {by} decided",
            quoted(rule)
        ));
    }
    let pool = decision.route.as_ref().map(|route| route.pool);
    (test.route.is_some() && pool != test.route).then(|| {
        let found = pool.map_or("none", Pool::as_str);
        format!("it expects another route than {found}")
    })
}
