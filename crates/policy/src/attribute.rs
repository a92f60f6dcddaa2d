//! What a rule may ask about: the attributes of a call, by name.
//!
//! The list is closed. A name outside it is an error of the policy, never an absent fact.

use std::fmt;
use std::sync::Arc;

use portcullis_domain::caller::AuthStrength;
use portcullis_domain::tool::Risk;
use portcullis_domain::{Jurisdiction, PrincipalType};
use serde_json::{Map, Value};

/// The most names in a path into the arguments.
const MAX_PATH: usize = 16;

const RISKS: &[&str] = &[
    Risk::Low.as_str(),
    Risk::Medium.as_str(),
    Risk::High.as_str(),
];
const PRINCIPAL_TYPES: &[&str] = &[
    PrincipalType::Agent.as_str(),
    PrincipalType::User.as_str(),
    PrincipalType::Service.as_str(),
];
const STRENGTHS: &[&str] = &[
    AuthStrength::Bearer.as_str(),
    AuthStrength::OneTime.as_str(),
];
const JURISDICTIONS: &[&str] = &[Jurisdiction::Eu.as_str(), Jurisdiction::Us.as_str()];
const WEEKDAYS: &[&str] = &[
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// An attribute of a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Attribute {
    /// `tool`: the tool's name.
    Tool,
    /// `tool.server`: the server that the tool came from.
    ToolServer,
    /// `tool.mutating`: whether a call changes anything.
    ToolMutating,
    /// `tool.risk`: `low`, `medium` or `high`.
    ToolRisk,
    /// `tool.signed`: whether a publisher whom the tenant trusts signed the definition.
    ToolSigned,
    /// `subject.id`: the principal's name, `agent:copilot`.
    SubjectId,
    /// `subject.type`: `agent`, `user` or `service`.
    SubjectType,
    /// `subject.region`: the jurisdiction that the caller falls under.
    SubjectRegion,
    /// `subject.purpose`: the token's purpose.
    SubjectPurpose,
    /// `subject.auth`: the strongest thing that the request proved.
    SubjectAuth,
    /// `subject.scopes`: the token's scopes, a list.
    SubjectScopes,
    /// `tenant.id`: the tenant's id.
    TenantId,
    /// `tenant.region`: the jurisdiction of the tenant's home.
    TenantRegion,
    /// `ticket.valid`: whether the call names an open change ticket for just this change.
    TicketValid,
    /// `data.contains_pii`: whether personal data is declared by the tool or found.
    DataContainsPii,
    /// `data.pii_types`: the kinds of personal data, a list.
    DataPiiTypes,
    /// `data.jurisdictions`: whose personal data it may be, a list.
    DataJurisdictions,
    /// `egress.domain`: the host that the call would reach, in lower case.
    EgressDomain,
    /// `egress.domain_in_allowlist`: whether that host is on the tenant's allow-list.
    EgressDomainInAllowlist,
    /// `plan.depth`: how deep the caller's plan is.
    PlanDepth,
    /// `plan.attempt`: which attempt this is.
    PlanAttempt,
    /// `budget.used_ratio`: the part of the day's budget that is used, 0 to 1.
    BudgetUsedRatio,
    /// `time.hour`: the hour in UTC, 0 to 23.
    TimeHour,
    /// `time.weekday`: the day in UTC, `monday` to `sunday`.
    TimeWeekday,
    /// `args.…`: an argument of the call.
    Args(ArgumentPath),
}

/// The kind of value that an attribute has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A boolean.
    Flag,
    /// A number.
    Number,
    /// Any text.
    Text,
    /// One of a few texts.
    OneOf(&'static [&'static str]),
    /// A list of texts; any, or some of a few.
    Texts(Option<&'static [&'static str]>),
    /// What the tool's input schema says.
    Argument,
}

/// How many attributes are not arguments.
pub(crate) const CLOSED: usize = 24;

static CLOSED_ATTRIBUTES: [Attribute; CLOSED] = [
    Attribute::Tool,
    Attribute::ToolServer,
    Attribute::ToolMutating,
    Attribute::ToolRisk,
    Attribute::ToolSigned,
    Attribute::SubjectId,
    Attribute::SubjectType,
    Attribute::SubjectRegion,
    Attribute::SubjectPurpose,
    Attribute::SubjectAuth,
    Attribute::SubjectScopes,
    Attribute::TenantId,
    Attribute::TenantRegion,
    Attribute::TicketValid,
    Attribute::DataContainsPii,
    Attribute::DataPiiTypes,
    Attribute::DataJurisdictions,
    Attribute::EgressDomain,
    Attribute::EgressDomainInAllowlist,
    Attribute::PlanDepth,
    Attribute::PlanAttempt,
    Attribute::BudgetUsedRatio,
    Attribute::TimeHour,
    Attribute::TimeWeekday,
];

/// A name that is no attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameFault {
    /// It belongs to a part of the language that is not there yet.
    Reserved,
    /// It names nothing.
    Unknown,
    /// It begins as an argument, but names none.
    BadPath,
}

impl Attribute {
    /// The name used in policies.
    pub fn name(&self) -> &str {
        self.describe().0
    }

    /// The attribute of a name.
    pub(crate) fn parse(name: &str) -> Result<Self, NameFault> {
        if let Some(path) = name.strip_prefix("args.") {
            return ArgumentPath::new(name, path)
                .map(Self::Args)
                .ok_or(NameFault::BadPath);
        }
        let reserved = |family: &str| {
            name.strip_prefix(family)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if reserved("history") || reserved("approval") {
            return Err(NameFault::Reserved);
        }
        if name == "args" {
            return Err(NameFault::BadPath);
        }
        CLOSED_ATTRIBUTES
            .iter()
            .find(|attribute| attribute.name() == name)
            .cloned()
            .ok_or(NameFault::Unknown)
    }

    /// Every name but those of arguments.
    pub(crate) fn closed_names() -> impl Iterator<Item = &'static str> + Clone {
        CLOSED_ATTRIBUTES.iter().map(Self::name)
    }

    /// The path, if it is an argument.
    pub(crate) fn argument(&self) -> Option<&ArgumentPath> {
        if let Self::Args(path) = self {
            Some(path)
        } else {
            None
        }
    }

    /// The attribute's place among those that are not arguments; the tool's is the first.
    pub(crate) fn slot(&self) -> Option<usize> {
        CLOSED_ATTRIBUTES
            .iter()
            .position(|attribute| attribute == self)
    }

    /// The kind of its values.
    pub(crate) fn kind(&self) -> Kind {
        self.describe().1
    }

    fn describe(&self) -> (&str, Kind) {
        match self {
            Self::Tool => ("tool", Kind::Text),
            Self::ToolServer => ("tool.server", Kind::Text),
            Self::ToolMutating => ("tool.mutating", Kind::Flag),
            Self::ToolRisk => ("tool.risk", Kind::OneOf(RISKS)),
            Self::ToolSigned => ("tool.signed", Kind::Flag),
            Self::SubjectId => ("subject.id", Kind::Text),
            Self::SubjectType => ("subject.type", Kind::OneOf(PRINCIPAL_TYPES)),
            Self::SubjectRegion => ("subject.region", Kind::OneOf(JURISDICTIONS)),
            Self::SubjectPurpose => ("subject.purpose", Kind::Text),
            Self::SubjectAuth => ("subject.auth", Kind::OneOf(STRENGTHS)),
            Self::SubjectScopes => ("subject.scopes", Kind::Texts(None)),
            Self::TenantId => ("tenant.id", Kind::Text),
            Self::TenantRegion => ("tenant.region", Kind::OneOf(JURISDICTIONS)),
            Self::TicketValid => ("ticket.valid", Kind::Flag),
            Self::DataContainsPii => ("data.contains_pii", Kind::Flag),
            Self::DataPiiTypes => ("data.pii_types", Kind::Texts(None)),
            Self::DataJurisdictions => ("data.jurisdictions", Kind::Texts(Some(JURISDICTIONS))),
            Self::EgressDomain => ("egress.domain", Kind::Text),
            Self::EgressDomainInAllowlist => ("egress.domain_in_allowlist", Kind::Flag),
            Self::PlanDepth => ("plan.depth", Kind::Number),
            Self::PlanAttempt => ("plan.attempt", Kind::Number),
            Self::BudgetUsedRatio => ("budget.used_ratio", Kind::Number),
            Self::TimeHour => ("time.hour", Kind::Number),
            Self::TimeWeekday => ("time.weekday", Kind::OneOf(WEEKDAYS)),
            Self::Args(path) => (path.as_str(), Kind::Argument),
        }
    }

    /// Whether its values name a person, or are taken from a text of an argument.
    pub(crate) fn is_personal(&self) -> bool {
        matches!(self, Self::SubjectId | Self::EgressDomain)
    }
}

/// The names that lead to an argument, `args.customer.region`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArgumentPath {
    /// As the policy writes it, `args.` included.
    text: Arc<str>,
    names: Arc<[Box<str>]>,
}

impl ArgumentPath {
    fn new(text: &str, path: &str) -> Option<Self> {
        let names: Arc<[Box<str>]> = path.split('.').map(Box::from).collect();
        let complete = names.iter().all(|name| !name.is_empty());
        (complete && names.len() <= MAX_PATH).then(|| Self {
            text: Arc::from(text),
            names,
        })
    }

    /// The path as the policy writes it, `args.` included.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names from the arguments down.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }

    /// The argument in a call's arguments. A name under what is no object leads nowhere.
    pub fn find<'v>(&self, arguments: &'v Map<String, Value>) -> Option<&'v Value> {
        let (first, rest) = self.names.split_first()?;
        rest.iter()
            .try_fold(arguments.get(first.as_ref())?, |value, name| {
                value.as_object()?.get(name.as_ref())
            })
    }
}

impl fmt::Debug for ArgumentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_closed_attribute_has_its_slot_and_its_name() {
        for (slot, attribute) in CLOSED_ATTRIBUTES.iter().enumerate() {
            assert_eq!(attribute.slot(), Some(slot));
            assert_eq!(Attribute::parse(attribute.name()).as_ref(), Ok(attribute));
        }
    }

    #[test]
    fn names_outside_the_list_are_no_attributes() {
        for (name, fault) in [
            ("tools", NameFault::Unknown),
            ("tool.", NameFault::Unknown),
            ("Tool", NameFault::Unknown),
            ("histories", NameFault::Unknown),
            ("history", NameFault::Reserved),
            ("history.calls", NameFault::Reserved),
            ("approval.by", NameFault::Reserved),
            ("args", NameFault::BadPath),
            ("args.", NameFault::BadPath),
            ("args.a..b", NameFault::BadPath),
        ] {
            assert_eq!(Attribute::parse(name), Err(fault), "{name}");
        }
    }

    #[test]
    fn a_path_finds_nested_arguments_and_nothing_else() {
        let Ok(Attribute::Args(path)) = Attribute::parse("args.a.b") else {
            panic!("a path");
        };
        let arguments = json!({"a": {"b": 5}});
        assert_eq!(path.find(arguments.as_object().unwrap()), Some(&json!(5)));
        for other in [
            json!({"a": 5}),
            json!({"b": 5}),
            json!({"a": [{"b": 5}]}),
            json!({"a.b": 5}),
        ] {
            assert_eq!(path.find(other.as_object().unwrap()), None, "{other}");
        }
    }
}
