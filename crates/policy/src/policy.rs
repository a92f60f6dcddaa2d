//! The compiled policy and its one question: what of this call?
//!
//! Total and pure. Without a rule that allows, the answer is no.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::attribute::{ArgumentPath, Attribute};
use crate::catalog::Catalog;
use crate::condition::{Slots, Truth, View};
use crate::decision::{Decision, PlacedRedaction, Redaction, Route};
use crate::explain;
use crate::fact::Facts;
use crate::forecast::Forecast;
use crate::rule::{RedactionMode, Rule, Verdict};
use crate::schema::Lookup;

/// A policy, compiled against a catalog.
#[derive(Debug, Default)]
pub struct Policy {
    /// In the order of the file.
    rules: Vec<Rule>,
    /// Rules that only ever apply to one of a few tools, by tool.
    pinned: HashMap<Box<str>, Vec<usize>>,
    /// Rules that may apply to any tool.
    unpinned: Vec<usize>,
    arguments: Arguments,
    /// How many arguments rules read.
    argument_slots: usize,
}

/// What the catalog says of the arguments that rules read: by tool, the texts that may be told.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    tools: HashMap<Box<str>, BTreeMap<ArgumentPath, BTreeSet<Box<str>>>>,
}

/// The rules that determined a decision.
#[derive(Debug, Default)]
pub(crate) struct Outcome<'p> {
    pub(crate) deny: Vec<(&'p Rule, Truth)>,
    pub(crate) approve: Vec<(&'p Rule, Truth)>,
    pub(crate) allow: Vec<(&'p Rule, Truth)>,
    pub(crate) redactions: Vec<Redaction>,
    pub(crate) route: Option<Route>,
}

impl<'p> Outcome<'p> {
    /// Takes in what a rule says. An unknown makes what restricts apply, and what allows not.
    fn take(&mut self, rule: &'p Rule, truth: Truth) {
        if truth == Truth::False {
            return;
        }
        match rule.verdict {
            Some(Verdict::Deny) => self.deny.push((rule, truth)),
            Some(Verdict::RequireApproval) => self.approve.push((rule, truth)),
            Some(Verdict::Allow) if truth == Truth::True => self.allow.push((rule, truth)),
            Some(Verdict::Allow) | None => {}
        }
        let redactions = rule.redactions.iter().map(|(field, mode)| Redaction {
            field: field.clone(),
            mode: *mode,
            rule: Arc::clone(&rule.id),
        });
        self.redactions.extend(redactions);
        if let (None, Some(pool)) = (&self.route, rule.route) {
            self.route = Some(Route {
                pool,
                rule: Arc::clone(&rule.id),
            });
        }
    }

    /// The strictest verdict that some rule gives, and the rules that give it.
    pub(crate) fn verdict(&self) -> (Verdict, &[(&'p Rule, Truth)]) {
        if !self.deny.is_empty() {
            (Verdict::Deny, &self.deny)
        } else if !self.approve.is_empty() {
            (Verdict::RequireApproval, &self.approve)
        } else if !self.allow.is_empty() {
            (Verdict::Allow, &self.allow)
        } else {
            (Verdict::Deny, &[])
        }
    }
}

impl Policy {
    pub(crate) fn compile(rules: Vec<Rule>, slots: &Slots, catalog: &Catalog<'_>) -> Self {
        let mut pinned: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        let mut unpinned = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            match &rule.pins {
                None => unpinned.push(index),
                Some(names) => {
                    for name in names {
                        pinned.entry(name.clone()).or_default().push(index);
                    }
                }
            }
        }
        let arguments = Arguments::gather(&rules, catalog);
        Self {
            rules,
            pinned,
            unpinned,
            arguments,
            argument_slots: slots.arguments(),
        }
    }

    /// What the rules may have redacted from a tool's results, in the order of the text: of every
    /// rule that may apply to the tool, whatever else it asks for.
    pub fn redactions_of(&self, tool: &str) -> Vec<PlacedRedaction> {
        let applies = |rule: &&Rule| rule.pins.as_ref().is_none_or(|names| names.contains(tool));
        let of = |rule: &Rule| {
            let placed = |(field, mode): &(String, RedactionMode)| PlacedRedaction {
                redaction: Redaction {
                    field: field.clone(),
                    mode: *mode,
                    rule: Arc::clone(&rule.id),
                },
                line: rule.place.line,
                column: rule.place.column,
            };
            rule.redactions.iter().map(placed).collect::<Vec<_>>()
        };
        self.rules.iter().filter(applies).flat_map(of).collect()
    }

    /// Decides a call.
    pub fn decide(&self, facts: &dyn Facts) -> Decision {
        let view = View::new(facts, self.argument_slots);
        let mut outcome = Outcome::default();
        let ControlFlow::Continue(()) = self.each_candidate(&view, |rule| {
            outcome.take(rule, rule.applies(&view));
            ControlFlow::<Infallible>::Continue(())
        });
        explain::decision(outcome, &view, &self.arguments)
    }

    /// Whether some call of a tool could run, with or without an approval: false only where the
    /// tool is denied for every argument. `facts` are those known before a call is made; what
    /// depends on the call is taken either way, whatever `facts` says of it.
    pub fn may_allow(&self, facts: &dyn Facts) -> bool {
        let forecast = Forecast::new(facts, &self.arguments);
        let view = View::new(&forecast, self.argument_slots);
        let mut possible = false;
        let end = self.each_candidate(&view, |rule| {
            let truth = rule.applies(&view);
            match (rule.verdict, truth) {
                (Some(Verdict::Deny), Truth::True) => return ControlFlow::Break(()),
                (Some(Verdict::Allow | Verdict::RequireApproval), Truth::True | Truth::Unknown) => {
                    possible = true;
                }
                (Some(Verdict::Deny), Truth::Unknown | Truth::False)
                | (Some(Verdict::Allow | Verdict::RequireApproval), Truth::False)
                | (None, _) => {}
            }
            ControlFlow::Continue(())
        });
        possible && end.is_continue()
    }

    /// The rules that read facts, for a policy's own tests.
    pub(crate) fn reads(&self) -> impl Iterator<Item = &Attribute> {
        self.rules
            .iter()
            .flat_map(|rule| rule.reads.iter().map(|(attribute, _)| attribute))
    }

    /// Visits the rules that may apply to the call's tool, in the order of the file; all rules,
    /// where the tool is not known.
    fn each_candidate<'p, B>(
        &'p self,
        view: &View<'_>,
        mut visit: impl FnMut(&'p Rule) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let pinned = view
            .tool()
            .map(|name| self.pinned.get(name).map_or(&[][..], Vec::as_slice));
        let Some(mut pinned) = pinned else {
            return self.rules.iter().try_for_each(visit);
        };
        let mut unpinned = self.unpinned.as_slice();
        loop {
            // Both lists are ascending, so the smaller head is next in the file.
            let next = match (pinned.split_first(), unpinned.split_first()) {
                (None, None) => return ControlFlow::Continue(()),
                (Some((left, rest)), Some((right, _))) if left < right => {
                    pinned = rest;
                    *left
                }
                (Some((left, rest)), None) => {
                    pinned = rest;
                    *left
                }
                (_, Some((right, rest))) => {
                    unpinned = rest;
                    *right
                }
            };
            if let Some(rule) = self.rules.get(next) {
                visit(rule)?;
            }
        }
    }
}

impl Arguments {
    fn gather(rules: &[Rule], catalog: &Catalog<'_>) -> Self {
        let paths: BTreeSet<&ArgumentPath> = rules
            .iter()
            .flat_map(|rule| &rule.reads)
            .filter_map(|(attribute, _)| attribute.argument())
            .collect();
        let tools = catalog
            .tools()
            .map(|tool| {
                let known = paths
                    .iter()
                    .filter_map(|path| match tool.argument(path) {
                        Lookup::Missing { .. } => None,
                        Lookup::Found(shape) => {
                            let choices = shape.choices.into_iter().flatten();
                            let texts = choices.filter_map(|choice| choice.as_str().map(Box::from));
                            Some(((*path).clone(), texts.collect()))
                        }
                    })
                    .collect();
                (Box::from(tool.name), known)
            })
            .collect();
        Self { tools }
    }

    /// Whether a tool has an argument; `None` for a tool that is not in the catalog.
    pub(crate) fn has(&self, tool: &str, path: &ArgumentPath) -> Option<bool> {
        self.tools.get(tool).map(|known| known.contains_key(path))
    }

    /// Whether a text is one of the few that the tool's schema lists for an argument.
    pub(crate) fn lists(&self, tool: &str, path: &ArgumentPath, text: &str) -> bool {
        self.tools
            .get(tool)
            .and_then(|known| known.get(path))
            .is_some_and(|texts| texts.contains(text))
    }
}
