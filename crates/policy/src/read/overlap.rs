//! Warns of rules that never take effect, of routes that compete, and of an allow without bounds.
//!
//! Looks only at the values that a rule's `when` names outright. What it says is so; what it does
//! not say may still be.

use std::collections::BTreeMap;

use crate::attribute::Attribute;
use crate::condition::{Condition, Literal, Operator, Test};
use crate::diagnostic::{Report, quoted};
use crate::rule::{Rule, Verdict};

/// What has to be so for a rule to apply, as far as its `when` names values.
#[derive(Debug, Default)]
struct Claims<'r> {
    /// The values that an attribute may have.
    values: BTreeMap<&'r Attribute, Vec<&'r Literal>>,
    /// Whether nothing else is asked: the rule applies just where the claims hold.
    whole: bool,
    /// Whether no call can meet them.
    contradictory: bool,
}

/// Notes what the rules of one policy do to each other.
pub(crate) fn warn(rules: &[Rule], report: &mut Report) {
    let claims: Vec<(&Rule, Claims<'_>)> = rules.iter().map(|rule| (rule, claims(rule))).collect();
    for (index, (rule, own)) in claims.iter().enumerate() {
        unbounded(rule, report);
        if own.contradictory {
            report.warning(
                rule.place,
                format!("the rule {} can never apply", quoted(&rule.id)),
                "its `when` asks for two values at once; use a list or `any`",
            );
            continue;
        }
        let before = claims.iter().take(index);
        if !overruled(rule, own, &claims, report) {
            competing_route(rule, own, before, report);
        }
    }
}

fn claims(rule: &Rule) -> Claims<'_> {
    let mut claims = Claims {
        whole: rule.unless.is_none(),
        ..Claims::default()
    };
    if let Some(when) = &rule.when {
        claims.add(when);
    }
    claims
}

impl<'r> Claims<'r> {
    fn add(&mut self, condition: &'r Condition) {
        match condition {
            Condition::All(parts) => {
                for part in parts {
                    self.add(part);
                }
            }
            Condition::Test(test) => self.add_test(test),
            Condition::Any(_) | Condition::Not(_) => self.whole = false,
        }
    }

    fn add_test(&mut self, test: &'r Test) {
        let literals: &[Literal] = match &test.operator {
            Operator::Equal(literal) => std::slice::from_ref(literal),
            Operator::In(literals) => literals,
            Operator::Exists(_)
            | Operator::NotEqual(_)
            | Operator::NotIn(_)
            | Operator::Compare(..)
            | Operator::StartsWith(_)
            | Operator::EndsWith(_)
            | Operator::Contains(_)
            | Operator::Matches(_)
            | Operator::Broken => {
                self.whole = false;
                return;
            }
        };
        let known = self.values.remove(&test.attribute);
        let values: Vec<&Literal> = literals
            .iter()
            .filter(|literal| known.as_ref().is_none_or(|known| among(literal, known)))
            .collect();
        self.contradictory = self.contradictory || values.is_empty();
        self.values.insert(&test.attribute, values);
    }

    /// Whether no call can meet both.
    fn excludes(&self, other: &Self) -> bool {
        self.values.iter().any(|(attribute, values)| {
            other
                .values
                .get(attribute)
                .is_some_and(|others| !values.iter().any(|value| among(value, others)))
        })
    }

    /// Whether a rule with these claims applies wherever one with the others does.
    fn covers(&self, other: &Self) -> bool {
        self.whole
            && self.values.iter().all(|(attribute, values)| {
                other
                    .values
                    .get(attribute)
                    .is_some_and(|others| others.iter().all(|value| among(value, values)))
            })
    }
}

fn among(literal: &Literal, literals: &[&Literal]) -> bool {
    literals.iter().any(|other| literal.same(other))
}

fn unbounded(rule: &Rule, report: &mut Report) {
    if rule.verdict == Some(Verdict::Allow) && rule.when.is_none() && rule.unless.is_none() {
        report.warning(
            rule.place,
            format!(
                "the rule {} allows every call that no other rule stops",
                quoted(&rule.id)
            ),
            "give it a `when`, so that a new tool is not allowed unseen",
        );
    }
}

/// Warns of a rule that does nothing but give a verdict, where a stricter one always applies.
fn overruled(
    rule: &Rule,
    own: &Claims<'_>,
    all: &[(&Rule, Claims<'_>)],
    report: &mut Report,
) -> bool {
    if !rule.redactions.is_empty() || rule.route.is_some() {
        return false;
    }
    let stricter = all
        .iter()
        .find(|(other, claims)| other.verdict > rule.verdict && claims.covers(own));
    let Some((other, _)) = stricter else {
        return false;
    };
    report.warning(
        rule.place,
        format!(
            "the rule {} never takes effect: {} always overrules it",
            quoted(&rule.id),
            quoted(&other.id)
        ),
        "take it out, or narrow the other rule",
    );
    true
}

fn competing_route<'c, 'r: 'c>(
    rule: &Rule,
    own: &Claims<'_>,
    before: impl Iterator<Item = &'c (&'r Rule, Claims<'r>)>,
    report: &mut Report,
) {
    let Some(pool) = rule.route else {
        return;
    };
    let mut rivals = before.filter(|(other, claims)| {
        other.route.is_some_and(|route| route != pool)
            && !claims.contradictory
            && !claims.excludes(own)
    });
    let Some((other, claims)) = rivals.next() else {
        return;
    };
    let (message, remedy) = if claims.covers(own) {
        (
            format!(
                "the route of {} is never taken: {} always routes first",
                quoted(&rule.id),
                quoted(&other.id)
            ),
            "move it up, or narrow the other rule",
        )
    } else {
        (
            format!(
                "the routes of {} and {} may both apply; the first in the file is taken",
                quoted(&other.id),
                quoted(&rule.id)
            ),
            "make their conditions exclude each other, or keep the order on purpose",
        )
    };
    report.warning(rule.place, message, remedy);
}
