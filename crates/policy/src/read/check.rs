//! Holds a rule's tools and arguments against the catalog.
//!
//! A tool that is not in the catalog is a warning: a policy may be older or newer than a tool. An
//! argument that no tool of the rule has, or of another type, is an error when a policy is written;
//! for a policy in force it is a warning, and the test can no longer be computed.

use std::collections::BTreeSet;

use crate::attribute::{ArgumentPath, Attribute};
use crate::catalog::{Catalog, ToolShape};
use crate::condition::{Condition, Literal, Operator, Test};
use crate::diagnostic::{Report, did_you_mean, listed, quoted};
use crate::read::fit::Fault;
use crate::rule::{Rule, Verdict, pins};
use crate::schema::{Lookup, Shape, Type};

/// Why a policy is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// Somebody writes or publishes it: what does not fit the catalog is refused.
    Publishing,
    /// It is in force: what no longer fits the catalog fails closed.
    InForce,
}

type Names = Option<BTreeSet<Box<str>>>;

/// Checks one policy's rules.
#[derive(Debug)]
pub(crate) struct CatalogCheck<'a, 'r> {
    pub(crate) catalog: &'r Catalog<'a>,
    pub(crate) occasion: Occasion,
    pub(crate) report: &'r mut Report,
}

impl CatalogCheck<'_, '_> {
    /// Checks one rule.
    pub(crate) fn rule(&mut self, rule: &mut Rule) {
        let scope = rule.pins.clone();
        for condition in [&mut rule.when, &mut rule.unless].into_iter().flatten() {
            self.condition(condition, &scope);
        }
        self.optional_arguments(rule);
    }

    fn condition(&mut self, condition: &mut Condition, scope: &Names) {
        match condition {
            Condition::All(_) => {
                let narrowed = narrow(scope, pins(condition));
                if let Condition::All(parts) = condition {
                    for part in parts {
                        self.condition(part, &narrowed);
                    }
                }
            }
            Condition::Any(parts) => {
                for part in parts {
                    self.condition(part, scope);
                }
            }
            Condition::Not(part) => self.condition(part, scope),
            Condition::Test(test) => self.test(test, scope),
        }
    }

    fn test(&mut self, test: &mut Test, scope: &Names) {
        if test.attribute == Attribute::Tool {
            self.tool_names(test);
            return;
        }
        let Attribute::Args(path) = &test.attribute else {
            return;
        };
        let path = path.clone();
        let relevant = self.relevant(scope);
        if relevant.is_empty() && scope.is_some() {
            // None of the rule's tools is in the catalog, of which its author has been warned.
            return;
        }
        let mut known = BTreeSet::new();
        let mut found = false;
        let mut fault = None;
        for tool in relevant {
            match tool.argument(&path) {
                Lookup::Missing { known: names } => known.extend(names),
                Lookup::Found(shape) => {
                    found = true;
                    let tool_fault = || argument_fault(tool, &path, &shape, &test.operator);
                    fault = fault.or_else(tool_fault);
                }
            }
        }
        if !found {
            let remedy = missing_remedy(&path, &known);
            self.complain(
                test,
                format!("no such argument: {}", quoted(path.as_str())),
                remedy,
            );
            if self.occasion == Occasion::InForce && scope.is_some() {
                test.operator = Operator::Broken;
            }
        } else if let Some((message, remedy)) = fault {
            self.complain(test, message, remedy);
        }
    }

    fn complain(&mut self, test: &Test, message: String, remedy: String) {
        match self.occasion {
            Occasion::Publishing => self.report.error(test.place, message, remedy),
            Occasion::InForce => self.report.warning(test.place, message, remedy),
        }
    }

    fn tool_names(&mut self, test: &Test) {
        let literals: &[Literal] = match &test.operator {
            Operator::Equal(literal) | Operator::NotEqual(literal) => std::slice::from_ref(literal),
            Operator::In(literals) | Operator::NotIn(literals) => literals,
            Operator::Exists(_)
            | Operator::Compare(..)
            | Operator::StartsWith(_)
            | Operator::EndsWith(_)
            | Operator::Contains(_)
            | Operator::Matches(_)
            | Operator::Broken => &[],
        };
        for literal in literals {
            if let Literal::Text(name) = literal
                && self.catalog.get(name).is_none()
            {
                let near = crate::diagnostic::nearest(name, self.catalog.names());
                let remedy = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "its arguments are checked once it is imported".to_owned(),
                };
                self.report.warning(
                    test.place,
                    format!("the tool {} is not in the catalog", quoted(name)),
                    remedy,
                );
            }
        }
    }

    fn relevant<'s>(&'s self, scope: &Names) -> Vec<&'s ToolShape<'s>> {
        match scope {
            None => self.catalog.tools().collect(),
            Some(names) => names
                .iter()
                .filter_map(|name| self.catalog.get(name))
                .collect(),
        }
    }

    /// Warns where leaving an optional argument out escapes a restriction.
    fn optional_arguments(&mut self, rule: &Rule) {
        let mut asked = BTreeSet::new();
        let mut leaning: Vec<(&Test, &ArgumentPath)> = Vec::new();
        let allows = rule.verdict == Some(Verdict::Allow);
        rule.each_test(&mut |test, upright| {
            let Attribute::Args(path) = &test.attribute else {
                return;
            };
            if matches!(test.operator, Operator::Exists(_)) {
                asked.insert(path);
            } else if (upright && rule.restricts()) || (!upright && allows) {
                leaning.push((test, path));
            }
        });
        for (test, path) in leaning {
            let optional = |tool: &&ToolShape<'_>| matches!(tool.argument(path), Lookup::Found(shape) if !shape.always_given);
            let escaping = self.relevant(&rule.pins).into_iter().find(optional);
            if let Some(tool) = escaping
                && asked.insert(path)
            {
                let message = format!(
                    "a call of `{}` that leaves `{}` out escapes this restriction",
                    tool.name,
                    path.as_str()
                );
                let remedy = format!(
                    "ask also for `{}: {{ exists: false }}`, or make the argument required",
                    path.as_str()
                );
                self.report.warning(test.place, message, remedy);
            }
        }
    }
}

fn narrow(scope: &Names, more: Names) -> Names {
    match (scope, more) {
        (None, more) => more,
        (Some(scope), None) => Some(scope.clone()),
        (Some(scope), Some(more)) => Some(scope.intersection(&more).cloned().collect()),
    }
}

fn missing_remedy(path: &ArgumentPath, known: &BTreeSet<String>) -> String {
    let last = path.names().last().unwrap_or_default();
    if known.is_empty() {
        return "name an argument of the rule's tools".to_owned();
    }
    did_you_mean(last, known.iter().map(String::as_str))
}

/// Why an operator does not fit an argument of a tool.
fn argument_fault(
    tool: &ToolShape<'_>,
    path: &ArgumentPath,
    shape: &Shape,
    operator: &Operator,
) -> Fault {
    let wants = |wanted: Type| {
        (!shape.types.contains(&wanted)).then(|| {
            (
                format!(
                    "this operator reads values of type {}, and `{}` of `{}` is {}",
                    wanted.as_str(),
                    path.as_str(),
                    tool.name,
                    types(shape)
                ),
                "use an operator for that type".to_owned(),
            )
        })
    };
    match operator {
        Operator::Exists(_) | Operator::Broken => None,
        Operator::Equal(literal) | Operator::NotEqual(literal) => {
            literal_fault(tool, path, shape, literal)
        }
        Operator::In(literals) | Operator::NotIn(literals) => literals
            .iter()
            .find_map(|literal| literal_fault(tool, path, shape, literal)),
        Operator::Compare(..) => wants(Type::Number),
        Operator::StartsWith(_) | Operator::EndsWith(_) | Operator::Matches(_) => wants(Type::Text),
        Operator::Contains(literal) => match (&shape.items, literal) {
            (_, Literal::Text(text)) if shape.types.contains(&Type::Text) && !text.is_empty() => {
                None
            }
            (Some(items), _) if shape.types.contains(&Type::List) => {
                literal_fault(tool, path, items, literal)
            }
            _ => wants(Type::List),
        },
    }
}

/// Why a value can never be an argument's.
fn literal_fault(
    tool: &ToolShape<'_>,
    path: &ArgumentPath,
    shape: &Shape,
    literal: &Literal,
) -> Fault {
    let wanted = match literal {
        Literal::Flag(_) => Type::Flag,
        Literal::Number(_) => Type::Number,
        Literal::Text(_) => Type::Text,
    };
    if !shape.types.contains(&wanted) {
        return Some((
            format!(
                "`{}` of `{}` is {}, and this is {}",
                path.as_str(),
                tool.name,
                types(shape),
                literal.kind()
            ),
            type_remedy(path, shape),
        ));
    }
    let choices = shape.choices.as_ref()?;
    if choices.iter().any(|choice| literal.equals_json(choice)) {
        return None;
    }
    let shown: Vec<String> = choices
        .iter()
        .map(|choice| {
            choice
                .as_str()
                .map_or_else(|| choice.to_string(), str::to_owned)
        })
        .collect();
    let remedy = match literal {
        Literal::Text(text) => did_you_mean(text, shown.iter().map(String::as_str)),
        Literal::Flag(_) | Literal::Number(_) => {
            format!("write one of: {}", listed(shown.iter().map(String::as_str)))
        }
    };
    Some((
        format!(
            "`{}` of `{}` never has this value",
            path.as_str(),
            tool.name
        ),
        remedy,
    ))
}

fn types(shape: &Shape) -> String {
    let names: Vec<&str> = shape.types.iter().map(|kind| kind.as_str()).collect();
    format!("of type {}", names.join(" or "))
}

fn type_remedy(path: &ArgumentPath, shape: &Shape) -> String {
    match shape.types.first() {
        Some(Type::Flag) => "write true or false".to_owned(),
        Some(Type::Number) => "write a number without quotes".to_owned(),
        Some(Type::Text) => "put it in quotes".to_owned(),
        Some(Type::List) => format!("write `{}: {{ contains: … }}`", path.as_str()),
        Some(Type::Object) => format!("name a property of it: `{}.…`", path.as_str()),
        None => "ask whether it exists".to_owned(),
    }
}
