//! What policy may know of a call. Nothing here is taken on the caller's word but the arguments.

use portcullis_domain::Pool;
use portcullis_domain::id::{Id, Ticket};
use portcullis_egress::Target;
use portcullis_policy::{Attribute, Fact, Facts};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::catalog::CompiledTool;
use crate::connectors::Binding;
use crate::connectors::destination::{self, Reach};
use crate::connectors::http::HttpTool;
use crate::rooms::admit::Admitted;

/// The facts of one call, or of a tool before any arguments are known.
#[derive(Debug)]
pub(super) struct CallFacts<'a> {
    pub(super) admitted: &'a Admitted,
    pub(super) tool: &'a CompiledTool,
    /// How the tool is run.
    pub(super) binding: &'a Binding,
    pub(super) arguments: Option<&'a Map<String, Value>>,
    /// The ticket that the call names, if it is open and for just this change.
    pub(super) ticket: Option<Id<Ticket>>,
    pub(super) pii_types: Vec<String>,
    pub(super) now: OffsetDateTime,
}

impl Facts for CallFacts<'_> {
    fn fact(&self, attribute: &Attribute) -> Fact<'_> {
        let definition = &self.tool.definition;
        let caller = self.admitted.caller();
        match attribute {
            Attribute::Tool => Fact::text(definition.name.as_str()),
            Attribute::ToolServer => Fact::text(
                self.binding
                    .config
                    .as_ref()
                    .map_or(self.binding.connector.as_ref(), |tool| tool.server()),
            ),
            // Nobody signs tools yet.
            Attribute::ToolSigned => Fact::flag(false),
            Attribute::TicketValid => self.ticket_valid(),
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
            Attribute::EgressDomain => self.egress(
                |tool| tool.domain().map_or(Fact::Unknown, Fact::text),
                |_reach, target| Fact::text(target.host()),
            ),
            Attribute::EgressDomainInAllowlist => self.egress(
                |tool| Fact::flag(tool.is_listed()),
                |reach, target| Fact::flag(reach.allowlist.lists(target)),
            ),
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
    /// A tool without egress has no domain. Of one that declares egress, the tenant's configuration
    /// tells whom it calls; where there is none, or different hosts for different pools, the domain is
    /// unknown: the pool is decided only after this. Of a tool whose argument names a URL, that is read as
    /// the tool will read it; before there are arguments, it is unknown as well.
    fn egress(
        &self,
        configured: impl Fn(&HttpTool) -> Fact<'static>,
        named: impl Fn(&Reach, &Target) -> Fact<'static>,
    ) -> Fact<'static> {
        if let Some(reach) = &self.binding.reach {
            let target = self.arguments.and_then(destination::target);
            return target.map_or(Fact::Unknown, |target| named(reach, &target));
        }
        match &self.binding.config {
            Some(tool) => configured(tool),
            None if self.tool.definition.egress.is_empty() => Fact::Absent,
            None => Fact::Unknown,
        }
    }

    /// No call of a tool without an argument for it can name a ticket: there it does not apply.
    const fn ticket_valid(&self) -> Fact<'_> {
        if self.tool.ticket.is_none() {
            Fact::Absent
        } else {
            Fact::flag(self.ticket.is_some())
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
