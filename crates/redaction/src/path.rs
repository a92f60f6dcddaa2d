//! Where in a JSON value we stand: a chain on the stack that costs nothing until it is written out.
//!
//! A written path is a pattern of property names, never a value; a name that itself holds personal
//! data is masked by whoever writes it.

use crate::rule::Rule;

/// One step from the root.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'a> {
    /// A property.
    Property(&'a str),
    /// Any item of an array.
    Item,
}

/// The steps from the root to a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path<'a> {
    pub(crate) parent: Option<&'a Path<'a>>,
    pub(crate) step: Step<'a>,
}

impl<'a> Path<'a> {
    /// The nearest property name at or above this step.
    pub(crate) fn name(&self) -> Option<&'a str> {
        let mut path = Some(self);
        while let Some(here) = path {
            match here.step {
                Step::Property(name) => return Some(name),
                Step::Item => path = here.parent,
            }
        }
        None
    }

    /// Whether the rule speaks of the property at this step.
    pub(crate) fn matches(&self, rule: &Rule<'_>) -> bool {
        let Step::Property(name) = self.step else {
            return false;
        };
        if name.eq_ignore_ascii_case(rule.field) {
            return true;
        }
        let mut path = Some(self);
        for wanted in &rule.names {
            let mut found = None;
            while let Some(here) = path {
                path = here.parent;
                if let Step::Property(name) = here.step {
                    found = Some(name);
                    break;
                }
            }
            if !found.is_some_and(|name| name.eq_ignore_ascii_case(wanted)) {
                return false;
            }
        }
        true
    }

    /// The rule with the strongest mode of those that match here.
    pub(crate) fn rule<'r>(&self, rules: &'r [Rule<'r>]) -> Option<&'r Rule<'r>> {
        rules
            .iter()
            .filter(|rule| self.matches(rule))
            .max_by_key(|rule| rule.mode)
    }

    /// The steps from the root to here.
    pub(crate) fn steps(&self) -> Vec<Step<'a>> {
        let mut steps = Vec::new();
        let mut path = Some(self);
        while let Some(here) = path {
            steps.push(here.step);
            path = here.parent;
        }
        steps.reverse();
        steps
    }
}

/// Writes steps as `rows[].email`; `write_name` decides how a property name is shown.
pub(crate) fn pattern(steps: &[Step<'_>], mut write_name: impl FnMut(&str) -> String) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Property(name) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(&write_name(name));
            }
            Step::Item => text.push_str("[]"),
        }
    }
    text
}
