//! A rule as it is decided: when it applies, and what it then does.

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_domain::Pool;

use crate::attribute::Attribute;
use crate::condition::{Condition, Literal, Operator, Test, Truth, View};
use crate::diagnostic::Place;

/// What a policy says of a call, from the mildest to the strictest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It may run.
    Allow,
    /// It may run once a person has approved it.
    RequireApproval,
    /// It may not run.
    Deny,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 3] = [Self::Allow, Self::RequireApproval, Self::Deny];

    /// The name used in policies, records and spans.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::RequireApproval => "require_approval",
            Self::Deny => "deny",
        }
    }
}

/// How a field is redacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedactionMode {
    /// A mask of the same JSON type.
    Mask,
    /// A keyed pseudonym that is the same in every field.
    Hash,
    /// A keyed pseudonym of its own in each field.
    Tokenize,
    /// The field is taken out.
    Drop,
}

impl RedactionMode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Mask, Self::Hash, Self::Tokenize, Self::Drop];

    /// The name used in policies and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mask => "mask",
            Self::Hash => "hash",
            Self::Tokenize => "tokenize",
            Self::Drop => "drop",
        }
    }
}

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: Arc<str>,
    pub(crate) place: Place,
    /// The only tools that it can apply to; `None` for any.
    pub(crate) pins: Option<BTreeSet<Box<str>>>,
    pub(crate) when: Option<Condition>,
    pub(crate) unless: Option<Condition>,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) redactions: Vec<(String, RedactionMode)>,
    pub(crate) route: Option<Pool>,
    pub(crate) reason: Option<String>,
    /// The attributes that it reads, each once, with their slots.
    pub(crate) reads: Vec<(Attribute, usize)>,
}

impl Rule {
    /// Whether it applies: `when` holds and `unless` does not.
    pub(crate) fn applies(&self, view: &View<'_>) -> Truth {
        let when = self.when.as_ref().map_or(Truth::True, |c| c.truth(view));
        if when == Truth::False {
            return when;
        }
        match &self.unless {
            None => when,
            Some(unless) => when.min(unless.truth(view).not()),
        }
    }

    /// Whether anything of it restricts a call.
    pub(crate) fn restricts(&self) -> bool {
        !self.redactions.is_empty()
            || self.route.is_some()
            || matches!(self.verdict, Some(Verdict::Deny | Verdict::RequireApproval))
    }

    /// Calls `visit` with each test, and with whether the rule applies the more for it.
    pub(crate) fn each_test<'r>(&'r self, visit: &mut impl FnMut(&'r Test, bool)) {
        if let Some(when) = &self.when {
            when.each_test(true, visit);
        }
        if let Some(unless) = &self.unless {
            unless.each_test(false, visit);
        }
    }
}

/// The only tools for which a condition can be anything but false; `None` for any.
pub(crate) fn pins(condition: &Condition) -> Option<BTreeSet<Box<str>>> {
    match condition {
        Condition::All(parts) => parts.iter().filter_map(pins).reduce(|mut left, right| {
            left.retain(|name| right.contains(name));
            left
        }),
        Condition::Any(parts) => {
            parts
                .iter()
                .map(pins)
                .try_fold(BTreeSet::new(), |mut all, part| {
                    all.extend(part?);
                    Some(all)
                })
        }
        Condition::Not(_) => None,
        Condition::Test(test) => pinned_by(test),
    }
}

fn pinned_by(test: &Test) -> Option<BTreeSet<Box<str>>> {
    if test.attribute != Attribute::Tool {
        return None;
    }
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
        | Operator::Broken => return None,
    };
    let names = literals.iter().filter_map(|literal| match literal {
        Literal::Text(name) => Some(name.clone()),
        Literal::Flag(_) | Literal::Number(_) => None,
    });
    Some(names.collect())
}
