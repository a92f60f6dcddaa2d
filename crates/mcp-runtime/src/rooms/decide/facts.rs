//! What policy may know of a call. Nothing here is taken on the caller's word but the arguments.

use portcullis_domain::Pool;
use portcullis_policy::{Attribute, Fact, Facts};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::catalog::CompiledTool;
use crate::rooms::admit::Admitted;

/// The facts of one call, or of a tool before any arguments are known.
#[derive(Debug)]
pub(super) struct CallFacts<'a> {
    pub(super) admitted: &'a Admitted,
    pub(super) tool: &'a CompiledTool,
    pub(super) arguments: Option<&'a Map<String, Value>>,
    pub(super) pii_types: Vec<String>,
    pub(super) now: OffsetDateTime,
}

impl Facts for CallFacts<'_> {
    fn fact(&self, attribute: &Attribute) -> Fact<'_> {
        let definition = &self.tool.definition;
        let caller = self.admitted.caller();
        match attribute {
            Attribute::Tool => Fact::text(definition.name.as_str()),
            // Every tool here is the platform's own: it came from no server, and nobody signed it.
            // No call can name a ticket before there are tickets: none is valid.
            Attribute::ToolServer => Fact::text("native"),
            Attribute::ToolSigned | Attribute::TicketValid => Fact::flag(false),
            Attribute::ToolMutating => Fact::flag(definition.mutating),
            Attribute::ToolRisk => Fact::text(definition.risk.as_str()),
            Attribute::SubjectId => Fact::text(caller.name.as_str()),
            Attribute::SubjectType => Fact::text(caller.name.principal_type().as_str()),
            Attribute::SubjectRegion => Fact::text(caller.region.as_str()),
            Attribute::SubjectPurpose => optional(caller.purpose.as_deref()),
            Attribute::SubjectAuth => Fact::text(caller.auth.as_str()),
            Attribute::SubjectScopes => {
                Fact::texts(caller.scopes.iter().map(portcullis_domain::Scope::as_str))
            }
            Attribute::TenantId => Fact::text(caller.tenant.to_string()),
            Attribute::TenantRegion => Fact::text(jurisdiction(caller.home)),
            Attribute::DataContainsPii => Fact::flag(!self.pii_types.is_empty()),
            Attribute::DataPiiTypes => Fact::texts(self.pii_types.iter().map(String::as_str)),
            Attribute::DataJurisdictions => {
                Fact::texts(definition.data.jurisdictions.iter().map(|one| one.as_str()))
            }
            Attribute::EgressDomain | Attribute::EgressDomainInAllowlist => self.egress(),
            Attribute::PlanDepth => self.plan(|plan| plan.depth),
            Attribute::PlanAttempt => self.plan(|plan| plan.attempt),
            // Costs are not kept account of yet, so a rule that leans on them has to restrict.
            Attribute::BudgetUsedRatio => Fact::Unknown,
            Attribute::TimeHour => Fact::number(self.now.hour()),
            Attribute::TimeWeekday => Fact::text(weekday(self.now)),
            Attribute::Args(path) => {
                Fact::argument(self.arguments.and_then(|arguments| path.find(arguments)))
            }
        }
    }
}

impl CallFacts<'_> {
    /// A tool without egress has no domain. One that declares egress would reach hosts that are not
    /// checked here yet: that is unknown, and so refused by the rules about it.
    const fn egress(&self) -> Fact<'_> {
        if self.tool.definition.egress.is_empty() {
            Fact::Absent
        } else {
            Fact::Unknown
        }
    }

    fn plan(&self, number: impl Fn(&crate::rooms::admit::Plan) -> u32) -> Fact<'_> {
        self.admitted
            .plan
            .as_ref()
            .map_or(Fact::Absent, |plan| Fact::number(number(plan)))
    }
}

fn optional(text: Option<&str>) -> Fact<'_> {
    text.map_or(Fact::Absent, Fact::text)
}

const fn jurisdiction(pool: Pool) -> &'static str {
    pool.jurisdiction().as_str()
}

const fn weekday(now: OffsetDateTime) -> &'static str {
    match now.weekday() {
        time::Weekday::Monday => "monday",
        time::Weekday::Tuesday => "tuesday",
        time::Weekday::Wednesday => "wednesday",
        time::Weekday::Thursday => "thursday",
        time::Weekday::Friday => "friday",
        time::Weekday::Saturday => "saturday",
        time::Weekday::Sunday => "sunday",
    }
}
