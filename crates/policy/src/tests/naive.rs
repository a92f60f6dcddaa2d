//! A second opinion: an interpreter of the rules as JSON, written from the contract alone, held
//! against the compiled policy on generated rules and calls.
//!
//! It shares no code with what it checks, and is as plain as it can be.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Call, Tools};
use crate::{Decision, Diagnostic, Loaded, Policy, Verdict};

/// Generated policies; with the calls of each, 20,000 cases.
const POLICIES: u64 = 4_000;

/// Generated calls for each policy.
const CALLS_EACH: u64 = 5;

type Facts = Map<String, Value>;

/// Kleene: `None` is unknown.
type Answer = Option<bool>;

fn every(answers: impl Iterator<Item = Answer>) -> Answer {
    let answers: Vec<Answer> = answers.collect();
    if answers.contains(&Some(false)) {
        Some(false)
    } else if answers.contains(&None) {
        None
    } else {
        Some(true)
    }
}

fn some(answers: impl Iterator<Item = Answer>) -> Answer {
    let answers: Vec<Answer> = answers.collect();
    if answers.contains(&Some(true)) {
        Some(true)
    } else if answers.contains(&None) {
        None
    } else {
        Some(false)
    }
}

fn holds(condition: &Value, facts: &Facts) -> Answer {
    let several = |value: &Value| value.as_array().unwrap().clone();
    every(
        condition
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| match key.as_str() {
                "all" => every(several(value).iter().map(|part| holds(part, facts))),
                "any" => some(several(value).iter().map(|part| holds(part, facts))),
                "not" => holds(value, facts).map(|answer| !answer),
                attribute => compares(facts.get(attribute), value),
            }),
    )
}

fn compares(fact: Option<&Value>, operand: &Value) -> Answer {
    match operand {
        Value::String(star) if star == "*" => operator(fact, "exists", &json!(true)),
        Value::Array(_) => operator(fact, "in", operand),
        Value::Object(operators) => every(
            operators
                .iter()
                .map(|(name, operand)| operator(fact, name, operand)),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            operator(fact, "eq", operand)
        }
    }
}

fn operator(fact: Option<&Value>, name: &str, operand: &Value) -> Answer {
    let Some(fact) = fact else {
        return Some(name == "exists" && operand == &json!(false));
    };
    if fact == "?" {
        return None;
    }
    let listed = |operand: &Value| {
        operand
            .as_array()
            .unwrap()
            .iter()
            .any(|one| same(fact, one))
    };
    let texts = || (fact.as_str().unwrap(), operand.as_str().unwrap());
    Some(match name {
        "exists" => operand == &json!(true),
        "eq" => same(fact, operand),
        "ne" => !same(fact, operand),
        "in" => listed(operand),
        "not_in" => !listed(operand),
        "gt" => scaled(fact) > scaled(operand),
        "gte" => scaled(fact) >= scaled(operand),
        "lt" => scaled(fact) < scaled(operand),
        "lte" => scaled(fact) <= scaled(operand),
        "starts_with" => texts().0.starts_with(texts().1),
        "ends_with" => texts().0.ends_with(texts().1),
        // The generated patterns have no special characters but their anchors.
        "matches" => texts().0 == texts().1.trim_start_matches('^').trim_end_matches('$'),
        "contains" if fact.is_array() => fact.as_array().unwrap().contains(operand),
        "contains" => texts().0.contains(texts().1),
        other => panic!("no operator {other}"),
    })
}

fn same(fact: &Value, operand: &Value) -> bool {
    match (fact, operand) {
        (Value::Number(_), Value::Number(_)) => scaled(fact) == scaled(operand),
        _ => fact == operand,
    }
}

/// A number of at most 18 places, in units of the last.
fn scaled(number: &Value) -> i128 {
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let size: i128 = format!("{}{fraction:0<18}", whole.trim_start_matches('-'))
        .parse()
        .unwrap();
    if text.starts_with('-') { -size } else { size }
}

#[derive(Debug, PartialEq)]
struct Judgement {
    verdict: Verdict,
    rules: Vec<String>,
    redactions: Vec<(String, String, String)>,
    route: Option<(String, String)>,
}

/// Kleene's answer to whether a rule applies.
fn applies(rule: &Value, facts: &Facts) -> Answer {
    let when = rule
        .get("when")
        .map_or(Some(true), |when| holds(when, facts));
    let unless = rule
        .get("unless")
        .map_or(Some(false), |unless| holds(unless, facts));
    every([when, unless.map(|lifted| !lifted)].into_iter())
}

fn text(object: &Value, key: &str) -> String {
    object[key].as_str().unwrap().to_owned()
}

fn judge(rules: &[Value], facts: &Facts) -> Judgement {
    let restricting: Vec<&Value> = rules
        .iter()
        .filter(|rule| applies(rule, facts) != Some(false))
        .collect();
    let deciding = |decision: &str| -> Vec<String> {
        let counts = |rule: &&&Value| {
            rule.get("decision") == Some(&json!(decision))
                && (decision != "allow" || applies(rule, facts) == Some(true))
        };
        let rules = restricting.iter().filter(counts);
        rules.map(|rule| text(rule, "rule")).collect()
    };
    let strictest = [
        (Verdict::Deny, deciding("deny")),
        (Verdict::RequireApproval, deciding("require_approval")),
        (Verdict::Allow, deciding("allow")),
    ];
    let (verdict, rules) = strictest
        .into_iter()
        .find(|(_, rules)| !rules.is_empty())
        .unwrap_or((Verdict::Deny, Vec::new()));
    let redactions = restricting.iter().flat_map(|rule| {
        let listed = rule.get("redact").and_then(Value::as_array);
        listed
            .into_iter()
            .flatten()
            .map(|one| (text(one, "field"), text(one, "mode"), text(rule, "rule")))
    });
    let mut routed = restricting
        .iter()
        .filter(|rule| rule.get("route").is_some());
    Judgement {
        verdict,
        rules,
        redactions: redactions.collect(),
        route: routed
            .next()
            .map(|rule| (text(rule, "route"), text(rule, "rule"))),
    }
}

/// Throws the dice for rules and calls: the same seed, the same case.
struct Dice(u64);

/// An attribute, how its values are made, and its operators.
type Generated = (
    &'static str,
    fn(&mut Dice) -> Value,
    &'static [&'static str],
);

const EQUAL: &[&str] = &["eq", "ne", "in", "not_in", "exists"];
const ORDER: &[&str] = &[
    "eq", "ne", "in", "not_in", "exists", "gt", "gte", "lt", "lte",
];
const TEXT: &[&str] = &[
    "eq",
    "ne",
    "in",
    "not_in",
    "exists",
    "starts_with",
    "ends_with",
    "contains",
    "matches",
];
const LIST: &[&str] = &["contains", "exists"];

const ATTRIBUTES: &[Generated] = &[
    ("tool", |dice| dice.one_of(&["flag.set", "flag.get"]), EQUAL),
    ("tool.mutating", Dice::flag, EQUAL),
    (
        "tool.risk",
        |dice| dice.one_of(&["low", "medium", "high"]),
        EQUAL,
    ),
    ("tool.server", Dice::word, TEXT),
    ("subject.scopes", Dice::scope, LIST),
    ("ticket.valid", Dice::flag, EQUAL),
    ("egress.domain", Dice::word, TEXT),
    ("plan.depth", Dice::number, ORDER),
    (
        "args.env",
        |dice| dice.one_of(&["dev", "staging", "prod"]),
        EQUAL,
    ),
    ("args.rolloutPct", Dice::number, ORDER),
    ("args.name", Dice::word, TEXT),
    ("args.labels", Dice::word, LIST),
    ("args.owner.level", Dice::number, ORDER),
];

impl Dice {
    /// Splitmix64.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % u64::try_from(bound).unwrap()).unwrap()
    }

    fn one_of(&mut self, words: &[&str]) -> Value {
        json!(words[self.below(words.len())])
    }

    fn flag(&mut self) -> Value {
        json!(self.below(2) == 0)
    }

    fn word(&mut self) -> Value {
        self.one_of(&["a", "ab", "abc", "b", "bc", "cab"])
    }

    fn scope(&mut self) -> Value {
        self.one_of(&["orders.read", "flags.write:dev"])
    }

    fn number(&mut self) -> Value {
        const ODD: [fn() -> Value; 9] = [
            || json!(0.1),
            || json!(0.3),
            || json!(10.000_001),
            || json!(12.5),
            || json!(10.0),
            || json!(0.1 + 0.2),
            || json!(9_007_199_254_740_993_i64),
            || json!(9_007_199_254_740_992_i64),
            || json!(u64::MAX),
        ];
        match self.below(3) {
            0 => json!(i64::try_from(self.below(18)).unwrap() - 3),
            1 => json!((f64::from(u8::try_from(self.below(180)).unwrap()) - 30.0) / 10.0),
            _ => ODD[self.below(ODD.len())](),
        }
    }

    fn several<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..=self.below(most)).map(|_| make(self)).collect()
    }

    fn test(&mut self) -> (String, Value) {
        let (attribute, value, operators) = ATTRIBUTES[self.below(ATTRIBUTES.len())];
        let operators: Map<String, Value> = self
            .several(2, |dice| {
                let name = operators[dice.below(operators.len())];
                let operand = match name {
                    "exists" => dice.flag(),
                    "in" | "not_in" => Value::from(dice.several(2, value)),
                    "matches" => json!(format!("^{}$", value(dice).as_str().unwrap())),
                    _ => value(dice),
                };
                (name.to_owned(), operand)
            })
            .into_iter()
            .collect();
        // Half of the time the short forms, where there is one.
        let short = self.below(2) == 0 && operators.len() == 1;
        let (name, operand) = operators.iter().next().unwrap();
        let starred = name == "exists" && operand == true && attribute != "subject.scopes";
        let value = match name.as_str() {
            "eq" | "in" if short => operand.clone(),
            "exists" if short && starred => json!("*"),
            _ => Value::Object(operators),
        };
        (attribute.to_owned(), value)
    }

    fn condition(&mut self, depth: usize) -> Value {
        let mut condition: Map<String, Value> = self.several(2, Self::test).into_iter().collect();
        if depth > 0 && self.below(2) == 0 {
            let nested = match self.below(3) {
                0 => (
                    "all",
                    Value::from(self.several(2, |d| d.condition(depth - 1))),
                ),
                1 => (
                    "any",
                    Value::from(self.several(3, |d| d.condition(depth - 1))),
                ),
                _ => ("not", self.condition(depth - 1)),
            };
            if self.below(2) == 0 {
                condition.clear();
            }
            condition.insert(nested.0.to_owned(), nested.1);
        }
        Value::Object(condition)
    }

    fn rules(&mut self) -> Vec<Value> {
        (0..self.below(6))
            .map(|number| {
                let mut rule = Map::new();
                rule.insert("rule".to_owned(), json!(format!("r{number}")));
                let effect = self.below(8);
                if effect < 6 {
                    let decision = self.one_of(&["allow", "deny", "require_approval"]);
                    rule.insert("decision".to_owned(), decision);
                }
                if effect > 4 {
                    let mode = self.one_of(&["mask", "hash", "tokenize", "drop"]);
                    let redact = json!([{"field": "email", "mode": mode}]);
                    rule.insert("redact".to_owned(), redact);
                }
                if effect == 4 || effect == 7 {
                    let pool = self.one_of(&["eu-west", "us-east"]);
                    rule.insert("route".to_owned(), pool);
                }
                if self.below(4) > 0 {
                    rule.insert("when".to_owned(), self.condition(3));
                }
                if self.below(3) == 0 {
                    rule.insert("unless".to_owned(), self.condition(2));
                }
                Value::Object(rule)
            })
            .collect()
    }

    fn facts(&mut self) -> Facts {
        let mut facts = Facts::new();
        for (attribute, value, operators) in ATTRIBUTES {
            let fact = match self.below(9) {
                0 => json!("?"),
                1 | 2 => continue,
                _ if *operators == LIST => Value::from(self.several(2, value)),
                _ => value(self),
            };
            facts.insert((*attribute).to_owned(), fact);
        }
        facts
    }
}

fn compiled(rules: &[Value]) -> [Policy; 2] {
    // JSON is YAML.
    let source = Value::from(rules).to_string();
    let tools = Tools::new();
    let load = |loaded: Result<Loaded, Vec<Diagnostic>>| match loaded {
        Ok(loaded) => loaded.policy,
        Err(found) => panic!("{source}\n{found:#?}"),
    };
    [
        load(crate::load(&source, &tools.shapes())),
        load(crate::load_published(&source, &tools.shapes())),
    ]
}

fn judgement(decision: Decision) -> Judgement {
    let redactions = decision.redactions.into_iter();
    Judgement {
        verdict: decision.verdict,
        rules: decision.rules.iter().map(ToString::to_string).collect(),
        redactions: redactions
            .map(|one| {
                (
                    one.field,
                    one.mode.as_str().to_owned(),
                    one.rule.to_string(),
                )
            })
            .collect(),
        route: decision
            .route
            .map(|route| (route.pool.to_string(), route.rule.to_string())),
    }
}

#[test]
fn the_compiled_policy_agrees_with_the_naive_one() {
    let mut seen = [0_u32; 3];
    for seed in 0..POLICIES {
        let mut dice = Dice(seed);
        let rules = dice.rules();
        let policies = compiled(&rules);
        for _ in 0..CALLS_EACH {
            let facts = dice.facts();
            let expected = judge(&rules, &facts);
            let call = Call::new(Value::Object(facts.clone()));
            for policy in &policies {
                let found = judgement(policy.decide(&call));
                assert_eq!(found, expected, "seed {seed}: {rules:#?} on {facts:#?}");
            }
            let place = Verdict::ALL.iter().position(|one| *one == expected.verdict);
            seen[place.unwrap()] += 1;
        }
    }
    // Cases that all end alike would show nothing.
    let least = u32::try_from(POLICIES * CALLS_EACH / 20).unwrap();
    assert!(seen.iter().all(|count| *count > least), "{seen:?}");
}

#[test]
fn a_tool_of_a_call_that_may_run_is_always_shown() {
    let mut shown = 0_u64;
    let mut hidden = 0_u64;
    for seed in 0..POLICIES {
        let mut dice = Dice(seed);
        let rules = dice.rules();
        let [policy, _] = compiled(&rules);
        let mut facts = dice.facts();
        facts.insert("tool".to_owned(), json!("flag.set"));
        let call = Call::new(Value::Object(facts.clone()));
        if policy.may_allow(&call) {
            shown += 1;
        } else {
            hidden += 1;
            let verdict = policy.decide(&call).verdict;
            assert_eq!(
                verdict,
                Verdict::Deny,
                "seed {seed}: {rules:#?} on {facts:#?}"
            );
        }
    }
    assert!(
        shown > POLICIES / 10 && hidden > POLICIES / 10,
        "{shown} {hidden}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_loader_panic(text in "[-{}\\[\\],:&*!|>'\"#%@ \\na-z0-9.~]{0,80}") {
        if let Err(found) = crate::load(&text, &Tools::new().shapes()) {
            prop_assert!(found.iter().all(|one| one.line >= 1 && one.column >= 1));
        }
    }
}
