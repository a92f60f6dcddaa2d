//! Conditions from the tree: attributes, operators, operands, each checked for what it can mean.
//!
//! Arguments are checked afterwards (`read/check.rs`), once it is known which tools a rule is about.

use regex::{Regex, RegexBuilder};

use crate::attribute::{Attribute, NameFault};
use crate::condition::{Comparison, Condition, Literal, Operator, Slots, Test};
use crate::diagnostic::{Place, Report, did_you_mean, listed, quoted};
use crate::document::{Content, Entry, Node};
use crate::read::fit;

/// The names of the operators.
const OPERATORS: [&str; 13] = [
    "eq",
    "ne",
    "gt",
    "gte",
    "lt",
    "lte",
    "in",
    "not_in",
    "starts_with",
    "ends_with",
    "contains",
    "matches",
    "exists",
];

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 512;

/// The most memory that one compiled pattern may take, in bytes.
const MAX_PATTERN_SIZE: usize = 128 * 1024;

/// The most patterns in one policy, so that a policy's memory is bounded.
const MAX_PATTERNS: usize = 64;

/// Reads conditions and says what is wrong with them.
#[derive(Debug)]
pub(crate) struct ConditionReader<'r> {
    pub(crate) report: &'r mut Report,
    /// What the policy's conditions have used so far.
    pub(crate) tally: &'r mut Tally,
}

/// What the conditions of one policy share.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// How many patterns there are.
    patterns: usize,
    /// Where decisions keep the attributes.
    pub(crate) slots: Slots,
}

impl ConditionReader<'_> {
    /// Reads a mapping of attributes, `all`, `any` and `not`, which all have to hold.
    pub(crate) fn condition(&mut self, node: Node) -> Option<Condition> {
        let place = node.place;
        let entries = match node.content {
            Content::Map(entries) => entries,
            content @ (Content::Null
            | Content::Flag(_)
            | Content::Number(_)
            | Content::Text(_)
            | Content::List(_)) => {
                let found = content.kind();
                self.report.error(
                    place,
                    format!("a condition is a mapping of attributes, and this is {found}"),
                    "write `{ attribute: value }`; put alternatives under `any:`",
                );
                return None;
            }
        };
        if entries.is_empty() {
            self.report.error(
                place,
                "this condition is empty",
                "name an attribute, or leave the key out",
            );
            return None;
        }
        let count = entries.len();
        let mut parts: Vec<Condition> = entries
            .into_iter()
            .filter_map(|entry| self.entry(entry))
            .collect();
        if parts.len() < count {
            return None;
        }
        if parts.len() == 1 {
            return parts.pop();
        }
        Some(Condition::All(parts))
    }

    fn entry(&mut self, entry: Entry) -> Option<Condition> {
        match entry.key.as_str() {
            "all" => self.several(entry).map(Condition::All),
            "any" => self.several(entry).map(Condition::Any),
            "not" => self
                .condition(entry.value)
                .map(|part| Condition::Not(Box::new(part))),
            name => {
                let attribute = self.attribute(name, entry.place)?;
                self.tests(&attribute, entry.value)
            }
        }
    }

    fn several(&mut self, entry: Entry) -> Option<Vec<Condition>> {
        let key = entry.key;
        match entry.value.content {
            Content::List(items) if !items.is_empty() => {
                let count = items.len();
                let parts: Vec<Condition> = items
                    .into_iter()
                    .filter_map(|item| self.condition(item))
                    .collect();
                (parts.len() == count).then_some(parts)
            }
            Content::Null
            | Content::Flag(_)
            | Content::Number(_)
            | Content::Text(_)
            | Content::List(_)
            | Content::Map(_) => {
                self.report.error(
                    entry.value.place,
                    format!("`{key}` takes a list of conditions with at least one in it"),
                    format!("write `{key}: [{{ attribute: value }}, …]`"),
                );
                None
            }
        }
    }

    /// The attribute of a name.
    pub(crate) fn attribute(&mut self, name: &str, place: Place) -> Option<Attribute> {
        let fault = match Attribute::parse(name) {
            Ok(attribute) => return Some(attribute),
            Err(fault) => fault,
        };
        match fault {
            NameFault::Reserved => self.report.error(
                place,
                format!("{} is reserved, and not available yet", quoted(name)),
                "take it out; nothing computes call history or approvals for rules so far",
            ),
            NameFault::BadPath => self.report.error(
                place,
                format!("{} names no argument", quoted(name)),
                "write `args.` and the argument's name, `args.customer.region` for a nested one",
            ),
            NameFault::Unknown => {
                let family: Vec<&str> = Attribute::closed_names()
                    .filter(|known| {
                        known
                            .strip_prefix(name)
                            .is_some_and(|rest| rest.starts_with('.'))
                    })
                    .collect();
                let remedy = if family.is_empty() {
                    did_you_mean(name, Attribute::closed_names().chain(["all", "any", "not"]))
                } else {
                    format!("write one of: {}", listed(family))
                };
                self.report
                    .error(place, format!("unknown attribute {}", quoted(name)), remedy);
            }
        }
        None
    }

    /// The tests of one attribute: a scalar, a list, `"*"`, or a mapping of operators.
    fn tests(&mut self, attribute: &Attribute, node: Node) -> Option<Condition> {
        let place = node.place;
        let operator = match node.content {
            Content::Map(operators) => return self.operators(attribute, operators, place),
            Content::Text(text) if text == "*" => self.presence(attribute, place)?,
            Content::List(items) => {
                let starred = items
                    .iter()
                    .any(|item| matches!(&item.content, Content::Text(text) if text == "*"));
                if starred {
                    self.report.error(
                        place,
                        "`*` means that the attribute is present, and stands alone",
                        format!("write `{}: \"*\"`, or list values", attribute.name()),
                    );
                    return None;
                }
                Operator::In(self.literals(items, place)?)
            }
            content
            @ (Content::Null | Content::Flag(_) | Content::Number(_) | Content::Text(_)) => {
                Operator::Equal(self.literal(Node { place, content })?)
            }
        };
        self.test(attribute, operator, place)
    }

    fn presence(&mut self, attribute: &Attribute, place: Place) -> Option<Operator> {
        if *attribute == Attribute::SubjectScopes {
            self.report.error(
                place,
                "there are no wildcards in scopes",
                "name the scope: `subject.scopes: { contains: \"orders.read\" }`",
            );
            return None;
        }
        Some(Operator::Exists(true))
    }

    fn operators(
        &mut self,
        attribute: &Attribute,
        entries: Vec<Entry>,
        place: Place,
    ) -> Option<Condition> {
        if entries.is_empty() {
            self.report.error(
                place,
                format!("`{}` is held against nothing", attribute.name()),
                "write a value or an operator",
            );
            return None;
        }
        let count = entries.len();
        let mut parts: Vec<Condition> = entries
            .into_iter()
            .filter_map(|entry| {
                let place = entry.value.place;
                let operator = self.operator(attribute, entry)?;
                self.test(attribute, operator, place)
            })
            .collect();
        if parts.len() < count {
            return None;
        }
        if parts.len() == 1 {
            return parts.pop();
        }
        Some(Condition::All(parts))
    }

    fn operator(&mut self, attribute: &Attribute, entry: Entry) -> Option<Operator> {
        let Entry { place, key, value } = entry;
        match key.as_str() {
            "eq" => self.literal(value).map(Operator::Equal),
            "ne" => self.literal(value).map(Operator::NotEqual),
            "in" => self.list(&key, value).map(Operator::In),
            "not_in" => self.list(&key, value).map(Operator::NotIn),
            "gt" => self.comparison(Comparison::Greater, &key, value),
            "gte" => self.comparison(Comparison::GreaterOrEqual, &key, value),
            "lt" => self.comparison(Comparison::Less, &key, value),
            "lte" => self.comparison(Comparison::LessOrEqual, &key, value),
            "starts_with" => self.text(&key, value).map(Operator::StartsWith),
            "ends_with" => self.text(&key, value).map(Operator::EndsWith),
            "contains" => self.literal(value).map(Operator::Contains),
            "matches" => self
                .pattern(value)
                .map(|regex| Operator::Matches(Box::new(regex))),
            "exists" => self.flag(&key, value).map(Operator::Exists),
            _ => {
                let dotted = format!("{}.{key}", attribute.name());
                let remedy = if Attribute::closed_names().any(|name| name == dotted) {
                    format!("write `{dotted}: …` as a key of its own")
                } else {
                    did_you_mean(&key, OPERATORS)
                };
                self.report
                    .error(place, format!("unknown operator {}", quoted(&key)), remedy);
                None
            }
        }
    }

    /// A scalar.
    pub(crate) fn literal(&mut self, node: Node) -> Option<Literal> {
        match node.content {
            Content::Flag(flag) => Some(Literal::Flag(flag)),
            Content::Number(number) => Some(Literal::Number(number)),
            Content::Text(text) => Some(Literal::Text(text.into_boxed_str())),
            Content::Null => {
                self.report.error(
                    node.place,
                    "null is no value",
                    "write a value; `exists: false` asks whether there is none",
                );
                None
            }
            content @ (Content::List(_) | Content::Map(_)) => {
                let found = content.kind();
                self.report.error(
                    node.place,
                    format!("one text, number or boolean is wanted, and this is {found}"),
                    "write a single value; a list means any of its values, and goes with `in` \
                     or `not_in`",
                );
                None
            }
        }
    }

    fn literals(&mut self, items: Vec<Node>, place: Place) -> Option<Vec<Literal>> {
        if items.is_empty() {
            self.report.error(
                place,
                "an empty list holds for nothing",
                "write at least one value",
            );
            return None;
        }
        let count = items.len();
        let literals: Vec<Literal> = items
            .into_iter()
            .filter_map(|item| self.literal(item))
            .collect();
        (literals.len() == count).then_some(literals)
    }

    fn list(&mut self, key: &str, node: Node) -> Option<Vec<Literal>> {
        let place = node.place;
        match node.content {
            Content::List(items) => self.literals(items, place),
            content @ (Content::Null
            | Content::Flag(_)
            | Content::Number(_)
            | Content::Text(_)
            | Content::Map(_)) => self.wrong(place, key, "a list", &content),
        }
    }

    fn comparison(&mut self, comparison: Comparison, key: &str, node: Node) -> Option<Operator> {
        match node.content {
            Content::Number(number) => Some(Operator::Compare(comparison, number)),
            content @ (Content::Null
            | Content::Flag(_)
            | Content::Text(_)
            | Content::List(_)
            | Content::Map(_)) => self.wrong(node.place, key, "a number", &content),
        }
    }

    fn text(&mut self, key: &str, node: Node) -> Option<Box<str>> {
        match node.content {
            Content::Text(text) if !text.is_empty() => Some(text.into_boxed_str()),
            content @ (Content::Null
            | Content::Flag(_)
            | Content::Number(_)
            | Content::Text(_)
            | Content::List(_)
            | Content::Map(_)) => self.wrong(node.place, key, "a text that is not empty", &content),
        }
    }

    fn flag(&mut self, key: &str, node: Node) -> Option<bool> {
        match node.content {
            Content::Flag(flag) => Some(flag),
            content @ (Content::Null
            | Content::Number(_)
            | Content::Text(_)
            | Content::List(_)
            | Content::Map(_)) => self.wrong(node.place, key, "true or false", &content),
        }
    }

    fn wrong<T>(&mut self, place: Place, key: &str, wanted: &str, found: &Content) -> Option<T> {
        self.report.error(
            place,
            format!("`{key}` takes {wanted}, and this is {}", found.kind()),
            format!("write {wanted}"),
        );
        None
    }

    fn pattern(&mut self, node: Node) -> Option<Regex> {
        let place = node.place;
        let text = self.text("matches", node)?;
        self.tally.patterns = self.tally.patterns.saturating_add(1);
        if self.tally.patterns > MAX_PATTERNS {
            self.report.error(
                place,
                format!("a policy may have at most {MAX_PATTERNS} patterns"),
                "use `in`, `starts_with` or `ends_with` instead",
            );
            return None;
        }
        if text.len() > MAX_PATTERN {
            self.report.error(
                place,
                format!("a pattern may be at most {MAX_PATTERN} bytes long"),
                "make it shorter",
            );
            return None;
        }
        let built = RegexBuilder::new(&text)
            .size_limit(MAX_PATTERN_SIZE)
            .dfa_size_limit(MAX_PATTERN_SIZE)
            .build();
        match built {
            Ok(regex) => Some(regex),
            Err(error) => {
                let reason = error.to_string();
                let last = reason.lines().last().unwrap_or("it cannot be compiled");
                let message = last.strip_prefix("error: ").unwrap_or(last).to_owned();
                self.report.error(
                    place,
                    format!("this pattern is refused: {message}"),
                    "write a regular expression without look-around and back-references",
                );
                None
            }
        }
    }

    /// A test of an attribute, if the operator fits it. Arguments are checked later.
    fn test(
        &mut self,
        attribute: &Attribute,
        operator: Operator,
        place: Place,
    ) -> Option<Condition> {
        if let Some((message, remedy)) = fit::fault(attribute, &operator) {
            self.report.error(place, message, remedy);
            return None;
        }
        Some(Condition::Test(Test {
            slot: self.tally.slots.of(attribute),
            attribute: attribute.clone(),
            operator,
            place,
        }))
    }
}
