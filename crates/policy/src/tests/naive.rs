//! A second opinion: an interpreter of the rules as JSON, written from the contract alone, held
//! against the compiled policy on generated rules and calls.
//!
//! It shares no code with what it checks, and is as plain as it can be.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::{Call, Tools};
use crate::{Verdict, load};

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
        _ => operator(fact, "eq", operand),
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
        "contains" => match fact {
            Value::Array(items) => items.contains(operand),
            _ => texts().0.contains(texts().1),
        },
        other => panic!("no operator {other}"),
    })
}

fn same(fact: &Value, operand: &Value) -> bool {
    match (fact, operand) {
        (Value::Number(_), Value::Number(_)) => scaled(fact) == scaled(operand),
        _ => fact == operand,
    }
}

/// A number of at most six places, in millionths.
fn scaled(number: &Value) -> i128 {
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let size: i128 = format!("{}{fraction:0<6}", whole.trim_start_matches('-'))
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

fn judge(rules: &[Value], facts: &Facts) -> Judgement {
    let mut by_decision: Map<String, Value> = Map::new();
    let mut redactions = Vec::new();
    let mut route = None;
    for rule in rules {
        let text = |key: &str| rule[key].as_str().unwrap().to_owned();
        let when = rule
            .get("when")
            .map_or(Some(true), |when| holds(when, facts));
        let unless = rule
            .get("unless")
            .map_or(Some(false), |unless| holds(unless, facts));
        let applies = every([when, unless.map(|lifted| !lifted)].into_iter());
        let restricts = applies != Some(false);
        if let Some(decision) = rule.get("decision") {
            let counts = if decision == "allow" {
                applies == Some(true)
            } else {
                restricts
            };
            if counts {
                let deciding = by_decision.entry(text("decision")).or_insert(json!([]));
                deciding.as_array_mut().unwrap().push(rule["rule"].clone());
            }
        }
        if restricts {
            for redaction in rule
                .get("redact")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let part = |key: &str| redaction[key].as_str().unwrap().to_owned();
                redactions.push((part("field"), part("mode"), text("rule")));
            }
            if route.is_none() && rule.get("route").is_some() {
                route = Some((text("route"), text("rule")));
            }
        }
    }
    let named = |decision: &str| -> Option<Vec<String>> {
        let rules = by_decision.get(decision)?.as_array().unwrap();
        Some(
            rules
                .iter()
                .map(|rule| rule.as_str().unwrap().to_owned())
                .collect(),
        )
    };
    let (verdict, rules) = if let Some(rules) = named("deny") {
        (Verdict::Deny, rules)
    } else if let Some(rules) = named("require_approval") {
        (Verdict::RequireApproval, rules)
    } else if let Some(rules) = named("allow") {
        (Verdict::Allow, rules)
    } else {
        (Verdict::Deny, Vec::new())
    };
    Judgement {
        verdict,
        rules,
        redactions,
        route,
    }
}

fn number() -> BoxedStrategy<Value> {
    prop_oneof![
        (-3_i64..15).prop_map(|n| json!(n)),
        (-30_i32..150).prop_map(|n| json!(f64::from(n) / 10.0)),
        select(vec![
            json!(0.1),
            json!(0.3),
            json!(10.000_001),
            json!(12.5),
            json!(10.0),
            json!(0.30),
            json!(9_007_199_254_740_993_i64),
            json!(9_007_199_254_740_992_i64),
            json!(u64::MAX),
        ]),
    ]
    .boxed()
}

fn word() -> BoxedStrategy<Value> {
    select(vec!["a", "ab", "abc", "b", "bc", "cab"])
        .prop_map(|text| json!(text))
        .boxed()
}

fn one_of(words: &'static [&'static str]) -> BoxedStrategy<Value> {
    select(words).prop_map(|text| json!(text)).boxed()
}

/// The attributes that are generated, with their values and the operators for them.
fn attributes() -> Vec<(&'static str, BoxedStrategy<Value>, &'static [&'static str])> {
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
    let list = |item: BoxedStrategy<Value>| {
        prop::collection::vec(item, 0..3)
            .prop_map(Value::from)
            .boxed()
    };
    vec![
        ("tool", one_of(&["flag.set", "flag.get"]), EQUAL),
        (
            "tool.mutating",
            any::<bool>().prop_map(|flag| json!(flag)).boxed(),
            EQUAL,
        ),
        ("tool.risk", one_of(&["low", "medium", "high"]), EQUAL),
        ("tool.server", word(), TEXT),
        (
            "subject.scopes",
            list(one_of(&["orders.read", "flags.write:dev"])),
            LIST,
        ),
        (
            "ticket.valid",
            any::<bool>().prop_map(|flag| json!(flag)).boxed(),
            EQUAL,
        ),
        ("egress.domain", word(), TEXT),
        ("plan.depth", number(), ORDER),
        ("args.env", one_of(&["dev", "staging", "prod"]), EQUAL),
        ("args.rolloutPct", number(), ORDER),
        ("args.name", word(), TEXT),
        ("args.labels", list(word()), LIST),
        ("args.owner.level", number(), ORDER),
    ]
}

fn operand(
    name: &'static str,
    value: BoxedStrategy<Value>,
    is_list: bool,
) -> BoxedStrategy<(String, Value)> {
    let single = if is_list {
        value.prop_map(|list| list[0].clone()).boxed()
    } else {
        value.clone()
    };
    let operand = match name {
        "exists" => any::<bool>().prop_map(|flag| json!(flag)).boxed(),
        "in" | "not_in" => prop::collection::vec(single, 1..3)
            .prop_map(Value::from)
            .boxed(),
        "matches" => single
            .prop_map(|text| json!(format!("^{}$", text.as_str().unwrap())))
            .boxed(),
        _ => single,
    };
    operand
        .prop_map(move |operand| (name.to_owned(), operand))
        .boxed()
}

fn test() -> BoxedStrategy<(String, Value)> {
    let each = attributes()
        .into_iter()
        .map(|(attribute, value, operators)| {
            let is_list = operators.len() == 2;
            let items = if is_list {
                value
                    .prop_filter("an item", |list| list[0] != Value::Null)
                    .boxed()
            } else {
                value
            };
            let choices: Vec<_> = operators
                .iter()
                .map(|name| operand(name, items.clone(), is_list))
                .collect();
            let written = prop::collection::vec(proptest::strategy::Union::new(choices), 1..3);
            (written, any::<bool>())
                .prop_map(move |(operators, short)| {
                    let operators: Map<String, Value> = operators.into_iter().collect();
                    let only = (operators.len() == 1).then(|| operators.iter().next().unwrap());
                    let value = match only {
                        Some((name, operand)) if short && (name == "eq" || name == "in") => {
                            operand.clone()
                        }
                        Some((name, operand))
                            if short
                                && name == "exists"
                                && operand == true
                                && attribute != "subject.scopes" =>
                        {
                            json!("*")
                        }
                        _ => Value::Object(operators),
                    };
                    (attribute.to_owned(), value)
                })
                .boxed()
        });
    proptest::strategy::Union::new(each).boxed()
}

fn condition() -> BoxedStrategy<Value> {
    let leaves = prop::collection::vec(test(), 1..4)
        .prop_map(|tests| Value::Object(tests.into_iter().collect()));
    leaves
        .prop_recursive(3, 12, 3, |inner| {
            let several = || prop::collection::vec(inner.clone(), 1..3);
            prop_oneof![
                several().prop_map(|parts| json!({"all": parts})),
                several().prop_map(|parts| json!({"any": parts})),
                inner.clone().prop_map(|part| json!({"not": part})),
                (several(), test())
                    .prop_map(|(parts, (name, value))| { json!({"any": parts, name: value}) }),
            ]
        })
        .boxed()
}

fn rule() -> BoxedStrategy<Map<String, Value>> {
    let effect = prop_oneof![
        4 => one_of(&["allow", "deny", "require_approval"])
            .prop_map(|decision| json!({"decision": decision})),
        1 => one_of(&["mask", "drop"]).prop_map(|mode| {
            json!({"decision": "allow", "redact": [{"field": "email", "mode": mode}]})
        }),
        1 => one_of(&["hash", "tokenize"])
            .prop_map(|mode| json!({"redact": [{"field": "phone", "mode": mode}]})),
        1 => one_of(&["eu-west", "us-east"]).prop_map(|pool| json!({"route": pool})),
    ];
    let maybe = || prop::option::weighted(0.7, condition());
    (effect, maybe(), prop::option::weighted(0.3, condition()))
        .prop_map(|(effect, when, unless)| {
            let mut rule = effect.as_object().unwrap().clone();
            rule.extend(when.map(|when| ("when".to_owned(), when)));
            rule.extend(unless.map(|unless| ("unless".to_owned(), unless)));
            rule
        })
        .boxed()
}

fn rules() -> BoxedStrategy<Vec<Value>> {
    prop::collection::vec(rule(), 0..6)
        .prop_map(|rules| {
            let numbered = rules.into_iter().enumerate().map(|(number, mut rule)| {
                rule.insert("rule".to_owned(), json!(format!("r{number}")));
                Value::Object(rule)
            });
            numbered.collect()
        })
        .boxed()
}

fn facts() -> BoxedStrategy<Facts> {
    attributes()
        .into_iter()
        .map(|(attribute, value, _)| {
            prop_oneof![
                6 => value.prop_map(Some),
                2 => Just(None),
                1 => Just(Some(json!("?"))),
            ]
            .prop_map(move |value| (attribute, value))
        })
        .collect::<Vec<_>>()
        .prop_map(|facts| {
            let given = facts.into_iter();
            given
                .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                .collect()
        })
        .boxed()
}

fn quick() -> ProptestConfig {
    ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(quick())]

    #[test]
    fn the_compiled_policy_agrees_with_the_naive_one(rules in rules(), facts in facts()) {
        // JSON is YAML.
        let source = Value::from(rules.clone()).to_string();
        let tools = Tools::new();
        let mut policies = vec![load(&source, &tools.shapes()).unwrap().policy];
        policies.push(crate::load_published(&source, &tools.shapes()).unwrap().policy);
        for policy in policies {
            let decision = policy.decide(&Call::new(Value::Object(facts.clone())));
            let found = Judgement {
                verdict: decision.verdict,
                rules: decision.rules.iter().map(ToString::to_string).collect(),
                redactions: decision.redactions.iter().map(|redaction| (
                    redaction.field.clone(),
                    redaction.mode.as_str().to_owned(),
                    redaction.rule.to_string(),
                )).collect(),
                route: decision.route.map(|route| (route.pool.to_string(), route.rule.to_string())),
            };
            prop_assert_eq!(found, judge(&rules, &facts));
        }
    }

    #[test]
    fn a_tool_of_an_allowed_call_is_always_shown(rules in rules(), mut facts in facts()) {
        facts.insert("tool".to_owned(), json!("flag.set"));
        let source = Value::from(rules).to_string();
        let policy = load(&source, &Tools::new().shapes()).unwrap().policy;
        let call = Call::new(Value::Object(facts));
        if policy.decide(&call).verdict != Verdict::Deny {
            prop_assert!(policy.may_allow(&call));
        }
    }

    #[test]
    fn no_text_makes_the_loader_panic(text in "[-{}\\[\\],:&*!|>'\"#%@ \\na-z0-9.~]{0,80}") {
        let _ = load(&text, &Tools::new().shapes()).map(|_| ()).map_err(|found| {
            assert!(found.iter().all(|one| one.line >= 1 && one.column >= 1));
        });
    }
}
