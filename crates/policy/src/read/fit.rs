//! Whether an operator and its operand can mean anything for an attribute.
//!
//! What could never hold is an error of the policy: a rule that silently never applies is a hole.

use portcullis_domain::{PrincipalName, Scope};

use crate::attribute::{Attribute, Kind};
use crate::condition::{Literal, Operator};
use crate::diagnostic::{did_you_mean, listed, quoted};

/// What does not fit, and what to write instead.
pub(crate) type Fault = Option<(String, String)>;

/// Why an operator does not fit an attribute that is no argument.
pub(crate) fn fault(attribute: &Attribute, operator: &Operator) -> Fault {
    let kind = attribute.kind();
    if kind == Kind::Argument {
        return None;
    }
    let name = attribute.name();
    match operator {
        Operator::Exists(_) | Operator::Broken => None,
        Operator::Equal(literal) | Operator::NotEqual(literal) => {
            value_fault(attribute, literal, true)
        }
        Operator::In(literals) | Operator::NotIn(literals) => literals
            .iter()
            .find_map(|literal| value_fault(attribute, literal, true)),
        Operator::Compare(..) => match kind {
            Kind::Number | Kind::Argument => None,
            Kind::Flag | Kind::Text | Kind::OneOf(_) | Kind::Texts(_) => Some((
                format!(
                    "only numbers are more or less, and `{name}` is {}",
                    article(kind)
                ),
                "use `eq`, `in` or another operator".to_owned(),
            )),
        },
        Operator::StartsWith(text) | Operator::EndsWith(text) => {
            text_operator_fault(attribute).or_else(|| text_fault(attribute, text, false))
        }
        Operator::Matches(_) => text_operator_fault(attribute),
        Operator::Contains(literal) => match kind {
            Kind::Texts(_) => item_fault(attribute, literal),
            Kind::Flag | Kind::Number | Kind::Text | Kind::OneOf(_) | Kind::Argument => {
                text_operator_fault(attribute).or_else(|| contained_fault(attribute, literal))
            }
        },
    }
}

/// Why a value cannot equal the attribute's.
pub(crate) fn value_fault(attribute: &Attribute, literal: &Literal, whole: bool) -> Fault {
    let name = attribute.name();
    let kind = attribute.kind();
    match (kind, literal) {
        (Kind::Flag, Literal::Flag(_))
        | (Kind::Number, Literal::Number(_))
        | (Kind::Argument, _) => None,
        (Kind::Text, Literal::Text(text)) => text_fault(attribute, text, whole),
        (Kind::OneOf(choices), Literal::Text(text)) => choice_fault(name, choices, text),
        (Kind::Texts(_), _) => Some((
            format!("`{name}` is a list"),
            format!("write `{name}: {{ contains: … }}`; several under `any:`"),
        )),
        (Kind::Flag | Kind::Number | Kind::Text | Kind::OneOf(_), _) => {
            let remedy = match kind {
                Kind::Flag => "write true or false".to_owned(),
                Kind::Number => "write a number without quotes".to_owned(),
                Kind::OneOf(choices) => {
                    format!("write one of: {}", listed(choices.iter().copied()))
                }
                Kind::Text | Kind::Texts(_) | Kind::Argument => "put it in quotes".to_owned(),
            };
            Some((
                format!(
                    "`{name}` is {}, and this is {}",
                    article(kind),
                    literal.kind()
                ),
                remedy,
            ))
        }
    }
}

/// Why a value cannot be among the attribute's.
pub(crate) fn item_fault(attribute: &Attribute, literal: &Literal) -> Fault {
    let name = attribute.name();
    let Literal::Text(text) = literal else {
        return Some((
            format!(
                "`{name}` is a list of texts, and this is {}",
                literal.kind()
            ),
            "put it in quotes".to_owned(),
        ));
    };
    if *attribute == Attribute::SubjectScopes
        && let Err(error) = text.parse::<Scope>()
    {
        return Some((error.to_string(), "name one whole scope".to_owned()));
    }
    match attribute.kind() {
        Kind::Texts(Some(choices)) => choice_fault(name, choices, text),
        Kind::Texts(None)
        | Kind::Flag
        | Kind::Number
        | Kind::Text
        | Kind::OneOf(_)
        | Kind::Argument => None,
    }
}

fn contained_fault(attribute: &Attribute, literal: &Literal) -> Fault {
    match literal {
        Literal::Text(text) if text.is_empty() => Some((
            "every text contains the empty one".to_owned(),
            "write what it has to contain".to_owned(),
        )),
        Literal::Text(text) => text_fault(attribute, text, false),
        Literal::Flag(_) | Literal::Number(_) => Some((
            format!(
                "`{}` is a text, and this is {}",
                attribute.name(),
                literal.kind()
            ),
            "put it in quotes".to_owned(),
        )),
    }
}

fn choice_fault(name: &str, choices: &[&str], text: &str) -> Fault {
    (!choices.contains(&text)).then(|| {
        (
            format!("`{name}` is never {}", quoted(text)),
            did_you_mean(text, choices.iter().copied()),
        )
    })
}

fn text_operator_fault(attribute: &Attribute) -> Fault {
    let kind = attribute.kind();
    match kind {
        Kind::Text | Kind::OneOf(_) | Kind::Argument => None,
        Kind::Flag | Kind::Number | Kind::Texts(_) => Some((
            format!(
                "this operator reads texts, and `{}` is {}",
                attribute.name(),
                article(kind)
            ),
            "use `eq`, `in`, or `contains` for a list".to_owned(),
        )),
    }
}

/// Why a text can never be the attribute's, or a part of it.
fn text_fault(attribute: &Attribute, text: &str, whole: bool) -> Fault {
    match attribute {
        Attribute::SubjectId if whole => text.parse::<PrincipalName>().err().map(|error| {
            (
                format!("`subject.id` is never {}: {error}", quoted(text)),
                "write the principal's whole name, `agent:copilot`".to_owned(),
            )
        }),
        Attribute::EgressDomain if !text.is_ascii() || text.chars().any(char::is_uppercase) => {
            Some((
                format!("`egress.domain` is never {}", quoted(text)),
                "write it in lower case, international names as `xn--…`".to_owned(),
            ))
        }
        Attribute::Tool
        | Attribute::ToolServer
        | Attribute::ToolMutating
        | Attribute::ToolRisk
        | Attribute::ToolSigned
        | Attribute::SubjectId
        | Attribute::SubjectType
        | Attribute::SubjectRegion
        | Attribute::SubjectPurpose
        | Attribute::SubjectAuth
        | Attribute::SubjectScopes
        | Attribute::TenantId
        | Attribute::TenantRegion
        | Attribute::TicketValid
        | Attribute::DataContainsPii
        | Attribute::DataPiiTypes
        | Attribute::DataJurisdictions
        | Attribute::EgressDomain
        | Attribute::EgressDomainInAllowlist
        | Attribute::PlanDepth
        | Attribute::PlanAttempt
        | Attribute::BudgetUsedRatio
        | Attribute::TimeHour
        | Attribute::TimeWeekday
        | Attribute::Args(_) => None,
    }
}

fn article(kind: Kind) -> &'static str {
    match kind {
        Kind::Flag => "a boolean",
        Kind::Number => "a number",
        Kind::Text => "a text",
        Kind::OneOf(_) => "one of a few texts",
        Kind::Texts(_) => "a list",
        Kind::Argument => "an argument",
    }
}
