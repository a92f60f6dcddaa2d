//! The facts of a call that has not been made: what the call will decide is open.

use serde_json::Value;

use crate::attribute::Attribute;
use crate::fact::{Fact, FactValue, Facts};
use crate::policy::Arguments;

/// Hides what depends on a call's arguments, plan, ticket, budget and time.
pub(crate) struct Forecast<'a> {
    facts: &'a dyn Facts,
    arguments: &'a Arguments,
    tool: Option<String>,
}

impl<'a> Forecast<'a> {
    pub(crate) fn new(facts: &'a dyn Facts, arguments: &'a Arguments) -> Self {
        let tool = match facts.fact(&Attribute::Tool) {
            Fact::Value(value) => value.as_text().map(str::to_owned),
            Fact::Absent | Fact::Unknown => None,
        };
        Self {
            facts,
            arguments,
            tool,
        }
    }
}

impl Facts for Forecast<'_> {
    fn fact(&self, attribute: &Attribute) -> Fact<'_> {
        match attribute {
            Attribute::Args(path) => {
                let tool = self.tool.as_deref();
                match tool.and_then(|tool| self.arguments.has(tool, path)) {
                    Some(false) => Fact::Absent,
                    Some(true) | None => Fact::Unknown,
                }
            }
            Attribute::TicketValid
            | Attribute::DataPiiTypes
            | Attribute::DataJurisdictions
            | Attribute::PlanDepth
            | Attribute::PlanAttempt
            | Attribute::BudgetUsedRatio
            | Attribute::TimeHour
            | Attribute::TimeWeekday => Fact::Unknown,
            // What the definition declares stays true whatever the arguments add.
            Attribute::DataContainsPii => match self.facts.fact(attribute) {
                known @ Fact::Value(FactValue::Flag(true) | FactValue::Json(Value::Bool(true))) => {
                    known
                }
                Fact::Value(_) | Fact::Absent | Fact::Unknown => Fact::Unknown,
            },
            // A tool without egress has none, whatever the arguments.
            Attribute::EgressDomain | Attribute::EgressDomainInAllowlist => {
                match self.facts.fact(attribute) {
                    Fact::Absent => Fact::Absent,
                    Fact::Value(_) | Fact::Unknown => Fact::Unknown,
                }
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
            | Attribute::TenantRegion => self.facts.fact(attribute),
        }
    }
}
