//! Conditions as they are decided: three-valued (Kleene), total, without allocation.
//!
//! An absent attribute makes a comparison false; an unknown one makes it unknown, and only the
//! rule's effect says what an unknown means (`rule.rs`).

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use crate::attribute::{ArgumentPath, Attribute, CLOSED};
use crate::diagnostic::Place;
use crate::fact::{Fact, FactValue, Facts};
use crate::number::Number;

/// Kleene's three truth values, in the order that makes `and` a minimum and `or` a maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Truth {
    False,
    Unknown,
    True,
}

impl Truth {
    pub(crate) const fn of(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }

    pub(crate) const fn not(self) -> Self {
        match self {
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
            Self::True => Self::False,
        }
    }
}

/// A condition.
#[derive(Debug)]
pub(crate) enum Condition {
    /// Every one holds.
    All(Vec<Self>),
    /// At least one holds.
    Any(Vec<Self>),
    /// It does not hold.
    Not(Box<Self>),
    /// One attribute is held against one operator.
    Test(Test),
}

/// One attribute held against one operator.
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) attribute: Attribute,
    /// Where a decision keeps what it has learnt of the attribute.
    pub(crate) slot: usize,
    pub(crate) operator: Operator,
    /// Where the operand stands in the text.
    pub(crate) place: Place,
}

/// What an attribute is held against.
#[derive(Debug)]
pub(crate) enum Operator {
    Exists(bool),
    Equal(Literal),
    NotEqual(Literal),
    In(Vec<Literal>),
    NotIn(Vec<Literal>),
    Compare(Comparison, Number),
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    Contains(Literal),
    Matches(Box<Regex>),
    /// A test of a published policy that the catalog of today no longer allows to be computed.
    Broken,
}

/// The comparisons of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Comparison {
    /// The comparison that holds just where this one does not.
    pub(crate) const fn opposite(self) -> Self {
        match self {
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
        }
    }

    /// The comparison in words, before a number.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Greater => "more than",
            Self::GreaterOrEqual => "at least",
            Self::Less => "less than",
            Self::LessOrEqual => "at most",
        }
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
        }
    }
}

/// A scalar of a policy.
#[derive(Debug, Clone)]
pub(crate) enum Literal {
    Flag(bool),
    Number(Number),
    Text(Box<str>),
}

/// A fact's value, whichever way it was given.
#[derive(Clone, Copy)]
enum Seen<'v> {
    Flag(bool),
    Number(&'v serde_json::Number),
    Text(&'v str),
    List(List<'v>),
    Object,
    Null,
}

#[derive(Clone, Copy)]
enum List<'v> {
    Texts(&'v [std::borrow::Cow<'v, str>]),
    Json(&'v [Value]),
}

impl<'v> Seen<'v> {
    fn of(value: &'v FactValue<'v>) -> Self {
        match value {
            FactValue::Flag(flag) => Self::Flag(*flag),
            FactValue::Number(number) => Self::Number(number),
            FactValue::Text(text) => Self::Text(text),
            FactValue::Texts(texts) => Self::List(List::Texts(texts)),
            FactValue::Json(value) => Self::of_json(value),
        }
    }

    fn of_json(value: &'v Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Flag(*flag),
            Value::Number(number) => Self::Number(number),
            Value::String(text) => Self::Text(text),
            Value::Array(items) => Self::List(List::Json(items)),
            Value::Object(_) => Self::Object,
        }
    }
}

impl Literal {
    /// What it is, with its article, for diagnostics.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Flag(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
        }
    }

    /// Whether both mean the same value.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Flag(one), Self::Flag(two)) => one == two,
            (Self::Number(one), Self::Number(two)) => one.same(two),
            (Self::Text(one), Self::Text(two)) => one == two,
            (Self::Flag(_) | Self::Number(_) | Self::Text(_), _) => false,
        }
    }

    /// Whether a JSON value equals it.
    pub(crate) fn equals_json(&self, value: &Value) -> bool {
        self.equals(Seen::of_json(value)) == Some(true)
    }

    /// Whether a value equals it; `None` where their types differ.
    fn equals(&self, seen: Seen<'_>) -> Option<bool> {
        match (self, seen) {
            (Self::Flag(flag), Seen::Flag(other)) => Some(*flag == other),
            (Self::Number(number), Seen::Number(other)) => Some(number.equals(other)),
            (Self::Text(text), Seen::Text(other)) => Some(text.as_ref() == other),
            (Self::Flag(_) | Self::Number(_) | Self::Text(_), _) => None,
        }
    }

    fn among(&self, list: List<'_>) -> bool {
        match list {
            List::Texts(texts) => texts
                .iter()
                .any(|text| self.equals(Seen::Text(text)) == Some(true)),
            List::Json(items) => items.iter().any(|item| self.equals_json(item)),
        }
    }
}

/// Gives each attribute of a policy a slot: first those that are not arguments, then the arguments
/// that the policy reads.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    arguments: BTreeMap<ArgumentPath, usize>,
}

impl Slots {
    /// The attribute's slot.
    pub(crate) fn of(&mut self, attribute: &Attribute) -> usize {
        let next = CLOSED.saturating_add(self.arguments.len());
        match (attribute.argument(), attribute.slot()) {
            (Some(path), _) => *self.arguments.entry(path.clone()).or_insert(next),
            (None, slot) => slot.unwrap_or(next),
        }
    }

    /// How many slots arguments have.
    pub(crate) fn arguments(&self) -> usize {
        self.arguments.len()
    }
}

/// The facts of one decision. Each attribute is asked for at most once.
pub(crate) struct View<'f> {
    facts: &'f dyn Facts,
    known: [OnceCell<Fact<'f>>; CLOSED],
    arguments: Vec<OnceCell<Fact<'f>>>,
}

impl<'f> View<'f> {
    pub(crate) fn new(facts: &'f dyn Facts, arguments: usize) -> Self {
        let mut cells = Vec::new();
        cells.resize_with(arguments, OnceCell::new);
        Self {
            facts,
            known: [const { OnceCell::new() }; CLOSED],
            arguments: cells,
        }
    }

    /// The fact of an attribute; `None` only for a slot that no attribute has.
    pub(crate) fn fact(&self, attribute: &Attribute, slot: usize) -> Option<&Fact<'f>> {
        let cell = match slot.checked_sub(CLOSED) {
            None => self.known.get(slot),
            Some(argument) => self.arguments.get(argument),
        };
        cell.map(|cell| cell.get_or_init(|| self.facts.fact(attribute)))
    }

    /// The name of the call's tool.
    pub(crate) fn tool(&self) -> Option<&str> {
        match self.fact(&Attribute::Tool, 0)? {
            Fact::Value(value) => value.as_text(),
            Fact::Absent | Fact::Unknown => None,
        }
    }
}

impl Condition {
    /// Whether it holds.
    pub(crate) fn truth(&self, view: &View<'_>) -> Truth {
        match self {
            Self::All(parts) => every(parts, view),
            Self::Any(parts) => some(parts, view),
            Self::Not(part) => part.truth(view).not(),
            Self::Test(test) => test.truth(view),
        }
    }

    /// Calls `visit` with each test, and with whether the condition grows truer with it.
    pub(crate) fn each_test<'c>(&'c self, upright: bool, visit: &mut impl FnMut(&'c Test, bool)) {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.each_test(upright, visit);
                }
            }
            Self::Not(part) => part.each_test(!upright, visit),
            Self::Test(test) => visit(test, upright),
        }
    }

    /// Puts what is cheap to decide first. The order changes no result.
    pub(crate) fn cheapest_first(&mut self) {
        if let Self::All(parts) | Self::Any(parts) = self {
            for part in parts.iter_mut() {
                part.cheapest_first();
            }
            parts.sort_by_key(Self::cost);
        }
    }

    fn cost(&self) -> u8 {
        match self {
            Self::Test(test) => test.cost(),
            Self::All(_) | Self::Any(_) | Self::Not(_) => 4,
        }
    }
}

/// The least truth, up to the first false.
fn every(parts: &[Condition], view: &View<'_>) -> Truth {
    let mut whole = Truth::True;
    for part in parts {
        whole = whole.min(part.truth(view));
        if whole == Truth::False {
            break;
        }
    }
    whole
}

/// The greatest truth, up to the first true.
fn some(parts: &[Condition], view: &View<'_>) -> Truth {
    let mut whole = Truth::False;
    for part in parts {
        whole = whole.max(part.truth(view));
        if whole == Truth::True {
            break;
        }
    }
    whole
}

impl Test {
    /// Whether it holds.
    pub(crate) fn truth(&self, view: &View<'_>) -> Truth {
        match view.fact(&self.attribute, self.slot) {
            None | Some(Fact::Unknown) => Truth::Unknown,
            Some(Fact::Absent | Fact::Value(FactValue::Json(Value::Null))) => {
                self.truth_of_absence()
            }
            Some(Fact::Value(value)) => self.truth_of(Seen::of(value)),
        }
    }

    fn truth_of_absence(&self) -> Truth {
        match self.operator {
            Operator::Exists(wanted) => Truth::of(!wanted),
            Operator::Broken => Truth::Unknown,
            Operator::Equal(_)
            | Operator::NotEqual(_)
            | Operator::In(_)
            | Operator::NotIn(_)
            | Operator::Compare(..)
            | Operator::StartsWith(_)
            | Operator::EndsWith(_)
            | Operator::Contains(_)
            | Operator::Matches(_) => Truth::False,
        }
    }

    fn truth_of(&self, seen: Seen<'_>) -> Truth {
        match &self.operator {
            Operator::Exists(wanted) => Truth::of(*wanted),
            Operator::Equal(literal) => self.equality(literal, seen),
            Operator::NotEqual(literal) => self.equality(literal, seen).not(),
            Operator::In(literals) => self.membership(literals, seen),
            Operator::NotIn(literals) => self.membership(literals, seen).not(),
            Operator::Compare(comparison, bound) => match seen {
                Seen::Number(number) => bound
                    .order_of(number)
                    .map_or(Truth::Unknown, |order| Truth::of(comparison.holds(order))),
                Seen::Flag(_) | Seen::Text(_) | Seen::List(_) | Seen::Object | Seen::Null => {
                    Truth::Unknown
                }
            },
            Operator::StartsWith(text) => with_text(seen, |seen| seen.starts_with(text.as_ref())),
            Operator::EndsWith(text) => with_text(seen, |seen| seen.ends_with(text.as_ref())),
            Operator::Contains(literal) => contains(literal, seen),
            Operator::Matches(regex) => with_text(seen, |seen| regex.is_match(seen)),
            Operator::Broken => Truth::Unknown,
        }
    }

    /// An argument of another type is another value. An attribute that we compute has one type,
    /// and another one means that the computation went wrong.
    fn equality(&self, literal: &Literal, seen: Seen<'_>) -> Truth {
        match (literal.equals(seen), &self.attribute) {
            (Some(equal), _) => Truth::of(equal),
            (None, Attribute::Args(_)) => Truth::False,
            (None, _) => Truth::Unknown,
        }
    }

    fn membership(&self, literals: &[Literal], seen: Seen<'_>) -> Truth {
        let mut whole = Truth::False;
        for literal in literals {
            whole = whole.max(self.equality(literal, seen));
            if whole == Truth::True {
                break;
            }
        }
        whole
    }

    fn cost(&self) -> u8 {
        match (&self.operator, &self.attribute) {
            (Operator::Matches(_), _) => 3,
            (_, Attribute::Args(_)) => 2,
            (_, Attribute::Tool) => 0,
            (_, _) => 1,
        }
    }
}

/// A text operator on what is no text cannot be computed.
fn with_text(seen: Seen<'_>, holds: impl FnOnce(&str) -> bool) -> Truth {
    match seen {
        Seen::Text(text) => Truth::of(holds(text)),
        Seen::Flag(_) | Seen::Number(_) | Seen::List(_) | Seen::Object | Seen::Null => {
            Truth::Unknown
        }
    }
}

/// A list contains an equal item, a text contains a text.
fn contains(literal: &Literal, seen: Seen<'_>) -> Truth {
    match (seen, literal) {
        (Seen::List(list), _) => Truth::of(literal.among(list)),
        (Seen::Text(text), Literal::Text(part)) => Truth::of(text.contains(part.as_ref())),
        (Seen::Text(_), Literal::Flag(_) | Literal::Number(_))
        | (Seen::Flag(_) | Seen::Number(_) | Seen::Object | Seen::Null, _) => Truth::Unknown,
    }
}
