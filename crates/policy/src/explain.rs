//! Says why a policy decided as it did, and what would lift a refusal.
//!
//! Must never tell a text of an argument that the tool's schema does not list, nor tell an agent to
//! supply what only a person can give.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::attribute::{ArgumentPath, Attribute};
use crate::condition::{Comparison, Condition, Literal, Operator, Test, Truth, View};
use crate::decision::Decision;
use crate::fact::{Fact, FactValue};
use crate::number::Number;
use crate::policy::{Arguments, Outcome};
use crate::rule::{Rule, Verdict};
use crate::schema::Type;

/// The most rules whose remedies are told.
const MAX_REMEDIES: usize = 3;

/// Turns what the rules said into a decision.
pub(crate) fn decision(outcome: Outcome<'_>, view: &View<'_>, arguments: &Arguments) -> Decision {
    let (verdict, deciding) = outcome.verdict();
    let tool = view.tool();
    let call = match tool {
        Some(name) => format!("this call of `{name}`"),
        None => "this call".to_owned(),
    };
    let mut facts = Map::new();
    for (rule, _) in deciding {
        for (attribute, slot) in &rule.reads {
            if !facts.contains_key(attribute.name()) {
                let fact = view.fact(attribute, *slot).unwrap_or(&Fact::Unknown);
                let told = tell(fact, attribute, tool, arguments);
                facts.insert(attribute.name().to_owned(), told);
            }
        }
    }
    if let ([], Some(name)) = (deciding, tool) {
        facts.insert("tool".to_owned(), Value::from(name));
    }
    Decision {
        verdict,
        rules: deciding
            .iter()
            .map(|(rule, _)| Arc::clone(&rule.id))
            .collect(),
        reason: reason(verdict, deciding, view, &call),
        facts,
        remedy: remedy(verdict, deciding, &call),
        redactions: outcome.redactions,
        route: outcome.route,
    }
}

/// A fact as it may be told.
fn tell(
    fact: &Fact<'_>,
    attribute: &Attribute,
    tool: Option<&str>,
    arguments: &Arguments,
) -> Value {
    let value = match fact {
        Fact::Absent => return Value::from("(absent)"),
        Fact::Unknown => return Value::from("(unknown)"),
        Fact::Value(value) => value,
    };
    match (attribute, value) {
        (Attribute::Args(path), FactValue::Json(Value::String(text))) => {
            tell_text(text, path, tool, arguments)
        }
        (Attribute::Args(path), FactValue::Text(text)) => tell_text(text, path, tool, arguments),
        (_, FactValue::Flag(flag)) => Value::Bool(*flag),
        (_, FactValue::Number(number)) => Value::Number(number.clone()),
        (_, FactValue::Json(value @ (Value::Bool(_) | Value::Number(_)))) => (*value).clone(),
        (Attribute::Args(_), FactValue::Texts(_)) => type_alone(Type::List),
        (Attribute::Args(_), FactValue::Json(value)) => {
            Type::of(value).map_or(Value::from("(absent)"), type_alone)
        }
        _ if attribute.is_personal() => Value::from("(present)"),
        (_, FactValue::Text(text)) => Value::from(text.as_ref()),
        (_, FactValue::Texts(texts)) => texts.iter().map(AsRef::as_ref).collect(),
        (_, FactValue::Json(value)) => (*value).clone(),
    }
}

/// A text of an argument, if it is one of the few that the tool's schema lists.
fn tell_text(text: &str, path: &ArgumentPath, tool: Option<&str>, arguments: &Arguments) -> Value {
    if tool.is_some_and(|tool| arguments.lists(tool, path, text)) {
        Value::from(text)
    } else {
        type_alone(Type::Text)
    }
}

fn type_alone(kind: Type) -> Value {
    Value::from(format!("({})", kind.as_str()))
}

fn reason(verdict: Verdict, deciding: &[(&Rule, Truth)], view: &View<'_>, call: &str) -> String {
    // A rule that surely applies explains better than one that applies for want of knowledge.
    let speaks = |(rule, truth): &&(&Rule, Truth)| *truth == Truth::True && rule.reason.is_some();
    let sure = |(_, truth): &&(&Rule, Truth)| *truth == Truth::True;
    let speaker = deciding
        .iter()
        .find(speaks)
        .or_else(|| deciding.iter().find(sure))
        .or_else(|| deciding.first());
    let Some((rule, truth)) = speaker else {
        return format!("no rule allows {call}");
    };
    let text = rule.reason.clone().unwrap_or_else(|| match verdict {
        Verdict::Allow => format!("the rule `{}` allows {call}", rule.id),
        Verdict::RequireApproval => {
            format!(
                "the rule `{}` asks for a person's approval of {call}",
                rule.id
            )
        }
        Verdict::Deny => format!("the rule `{}` denies {call}", rule.id),
    });
    if *truth == Truth::True {
        return text;
    }
    let unknown: Vec<String> = rule
        .reads
        .iter()
        .filter(|(attribute, slot)| view.fact(attribute, *slot) == Some(&Fact::Unknown))
        .map(|(attribute, _)| format!("`{}`", attribute.name()))
        .collect();
    if unknown.is_empty() {
        format!("{text} (one of its conditions could not be computed)")
    } else {
        format!("{text} ({} could not be computed)", unknown.join(", "))
    }
}

fn remedy(verdict: Verdict, deciding: &[(&Rule, Truth)], call: &str) -> Option<String> {
    match verdict {
        Verdict::Allow => return None,
        Verdict::RequireApproval => {
            return Some(
                "A person who may approve calls of this tenant has to approve it.".to_owned(),
            );
        }
        Verdict::Deny => {}
    }
    if deciding.is_empty() {
        return Some(format!("Ask an operator to add an allow rule for {call}."));
    }
    let mut remedies: Vec<String> = Vec::new();
    for (rule, truth) in deciding {
        let told = rule_remedy(rule, *truth);
        if !remedies.contains(&told) {
            remedies.push(told);
        }
    }
    remedies.truncate(MAX_REMEDIES);
    Some(remedies.join(" "))
}

fn rule_remedy(rule: &Rule, truth: Truth) -> String {
    if truth == Truth::Unknown {
        return format!(
            "Try again later; if it stays so, ask an operator about the rule `{}`.",
            rule.id
        );
    }
    let mut ways: Vec<String> = Vec::new();
    if let Some(when) = &rule.when {
        escapes(when, &mut ways);
    }
    ways.extend(rule.unless.as_ref().and_then(phrase));
    if ways.is_empty() {
        return format!("Ask an operator about the rule `{}`.", rule.id);
    }
    let text = ways.join(", or ");
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

/// Values of numeric arguments with which `when` would not hold.
fn escapes(when: &Condition, ways: &mut Vec<String>) {
    match when {
        Condition::All(parts) => {
            for part in parts {
                escapes(part, ways);
            }
        }
        Condition::Test(test) => {
            if let (Attribute::Args(path), Operator::Compare(comparison, bound)) =
                (&test.attribute, &test.operator)
            {
                ways.push(bounded(path, comparison.opposite(), bound));
            }
        }
        Condition::Any(_) | Condition::Not(_) => {}
    }
}

fn bounded(path: &ArgumentPath, comparison: Comparison, bound: &Number) -> String {
    let name = path.as_str().strip_prefix("args.").unwrap_or_default();
    format!("send a `{name}` of {} {bound}", comparison.words())
}

/// What somebody could do so that a condition holds; `None` where that is not for a caller to do.
fn phrase(condition: &Condition) -> Option<String> {
    match condition {
        Condition::All(parts) => {
            let told: Option<Vec<String>> = parts.iter().map(phrase).collect();
            told.map(|told| told.join(" and "))
        }
        Condition::Any(parts) => {
            let told: Vec<String> = parts.iter().filter_map(phrase).collect();
            (!told.is_empty()).then(|| told.join(", or "))
        }
        Condition::Not(_) => None,
        Condition::Test(test) => phrase_of(test),
    }
}

fn phrase_of(test: &Test) -> Option<String> {
    match (&test.attribute, &test.operator) {
        (Attribute::TicketValid, Operator::Equal(Literal::Flag(true))) => Some(
            "have a person open a change ticket for this change (`portcullis ticket open`), and send \
             that ticket's id"
                .to_owned(),
        ),
        (Attribute::EgressDomainInAllowlist, Operator::Equal(Literal::Flag(true))) => {
            Some(
                "ask an owner of the tenant to add the host to the egress allow-list (`portcullis \
                 egress allow`)"
                    .to_owned(),
            )
        }
        (Attribute::SubjectScopes, Operator::Contains(Literal::Text(scope))) => {
            Some(format!("ask an operator to grant the scope `{scope}`"))
        }
        (Attribute::TimeHour, Operator::Compare(comparison, bound)) => Some(format!(
            "call when the hour (UTC) is {} {bound}",
            comparison.words()
        )),
        (Attribute::BudgetUsedRatio, Operator::Compare(..)) => {
            Some("wait for the next day's budget, or ask an operator to raise it".to_owned())
        }
        (Attribute::Args(path), Operator::Compare(comparison, bound)) => {
            Some(bounded(path, *comparison, bound))
        }
        _ => None,
    }
}
