//! Room 2: rate, burst and concurrency of the principal and of its tenant, and the plan's depth.
//!
//! Before them, the switches that stop everything of a tenant or a principal. Limits hold for this
//! replica. Nothing is queued: what does not fit is refused at once.

use std::sync::Arc;

use portcullis_domain::id::{Id, Principal};
use portcullis_domain::{Caller, PrincipalName, StopRules};
use portcullis_wire::Slug;
use serde::Deserialize;
use tokio::time::Instant;

use super::authenticate::{self, Authenticated};
use super::refusal::DoorRefusal;
pub use super::refusal::RateFields;
use super::switches;
pub use super::turnstile::Turnstiles;
use super::turnstile::{Holder, Slot, Turnstile};
use crate::gate::Gate;
use crate::snapshot::TenantSnapshot;
use crate::token::VerifiedToken;

/// An admitted request: it holds its slots until its last byte of work is done.
#[derive(Debug)]
pub struct Admitted {
    pub(in crate::rooms) caller: Caller,
    pub(in crate::rooms) snapshot: Arc<TenantSnapshot>,
    pub(in crate::rooms) deadline: Instant,
    pub(in crate::rooms) plan: Option<Plan>,
    pub(in crate::rooms) slots: Slots,
    token: Arc<VerifiedToken>,
    rate: RateFields,
}

impl Admitted {
    /// Who is calling.
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The tenant as this call sees it.
    pub const fn snapshot(&self) -> &Arc<TenantSnapshot> {
        &self.snapshot
    }

    /// When the call has to be over.
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The token that proved who is calling.
    pub(in crate::rooms) const fn token(&self) -> &Arc<VerifiedToken> {
        &self.token
    }

    /// The rate fields of the answer.
    pub const fn rate(&self) -> &RateFields {
        &self.rate
    }

    /// Looks again at the caller and its tenant, once the body has arrived: a body that is held back
    /// must not carry a call over a suspension, a revocation or a new policy.
    ///
    /// # Errors
    /// Refuses a caller that may no longer call.
    pub async fn refreshed(mut self, gate: &Gate) -> Result<Self, DoorRefusal> {
        let (caller, snapshot) =
            authenticate::again(gate, &self.caller.tenant_slug, &self.token).await?;
        check_active(gate, &caller.name, &snapshot)?;
        self.caller = caller;
        self.snapshot = snapshot;
        Ok(self)
    }

    /// Checks the plan that the request names against the caller's stop rules.
    ///
    /// # Errors
    /// Refuses a plan that is nested too deeply or repeats a step too often.
    pub fn with_plan(mut self, plan: Option<Plan>) -> Result<Self, DoorRefusal> {
        if let Some(plan) = &plan {
            let rules = self.snapshot.stop_rules(self.caller.principal);
            plan.check(rules)?;
        }
        self.plan = plan;
        Ok(self)
    }
}

/// Where a call stands in the caller's plan (`_meta["dev.portcullis/plan"]`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The plan's id, chosen by the caller; 1 to 64 characters of `A-Za-z0-9-`.
    pub id: String,
    /// How deeply plans are nested; the outermost is 0.
    pub depth: u32,
    /// How often this step was tried before.
    #[serde(default)]
    pub attempt: u32,
}

impl Plan {
    fn check(&self, rules: StopRules) -> Result<(), DoorRefusal> {
        // It stands in records as it is, so its form leaves little room for a person's data.
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if self.id.is_empty() || self.id.len() > 64 || !self.id.bytes().all(allowed) {
            return Err(DoorRefusal::new(
                Slug::MalformedRequest,
                "`dev.portcullis/plan`.id must have 1 to 64 characters of A-Z a-z 0-9 -",
            ));
        }
        let refuse = |slug, what: &str, given: u32, most: u32| {
            let mut refusal = DoorRefusal::new(slug, format!("{what} {given} exceeds {most}"));
            refusal.problem.remedy =
                Some("End this plan and report to the person who started it.".to_owned());
            refusal.problem.rule = Some("stop-rules".to_owned());
            Err(refusal)
        };
        if self.depth > rules.max_plan_depth {
            return refuse(
                Slug::PlanTooDeep,
                "plan depth",
                self.depth,
                rules.max_plan_depth,
            );
        }
        if self.attempt > rules.max_retries {
            return refuse(
                Slug::TooManyRetries,
                "attempt",
                self.attempt,
                rules.max_retries,
            );
        }
        Ok(())
    }
}

/// The concurrency slots of one request; given back when dropped.
#[derive(Debug)]
pub struct Slots {
    _tenant: Slot,
    _principal: Slot,
}

/// Enters the room: charges the rate and takes the slots.
///
/// # Errors
/// Refuses with 403 a caller whom a switch stops, with 429 what exceeds a limit, and with 503 a caller
/// whose limits are not known.
pub fn enter(gate: &Gate, authenticated: Authenticated) -> Result<Admitted, DoorRefusal> {
    let Authenticated {
        caller,
        snapshot,
        token,
    } = authenticated;
    check_active(gate, &caller.name, &snapshot)?;
    let (principal, tenant) = turnstiles(gate, &snapshot, caller.principal);
    let rate = principal.pass("principal")?;
    tenant.pass("tenant")?;
    let slots = Slots {
        _principal: principal.slot("principal")?,
        _tenant: tenant.slot("tenant")?,
    };
    Ok(Admitted {
        caller,
        snapshot,
        deadline: Instant::now() + gate.settings.call_deadline,
        plan: None,
        slots,
        token,
        rate,
    })
}

/// Looks at whether a principal would be admitted, and charges nothing: before a token's first use
/// costs a row.
pub(in crate::rooms) fn look(
    gate: &Gate,
    snapshot: &TenantSnapshot,
    name: &PrincipalName,
    principal: Id<Principal>,
) -> Result<(), DoorRefusal> {
    check_active(gate, name, snapshot)?;
    let (principal, tenant) = turnstiles(gate, snapshot, principal);
    principal.look("principal")?;
    tenant.look("tenant")
}

fn turnstiles(
    gate: &Gate,
    snapshot: &TenantSnapshot,
    principal: Id<Principal>,
) -> (Arc<Turnstile>, Arc<Turnstile>) {
    let holders = (
        Holder(snapshot.id, Some(principal)),
        Holder(snapshot.id, None),
    );
    let current = |holder, limits| gate.turnstiles.current(holder, limits);
    (
        current(holders.0, snapshot.limits(principal)),
        current(holders.1, snapshot.tenant_limits()),
    )
}

/// Whoever holds a genuine token may know that its principal is suspended.
fn check_active(
    gate: &Gate,
    name: &PrincipalName,
    snapshot: &TenantSnapshot,
) -> Result<(), DoorRefusal> {
    switches::check_caller(gate, snapshot.id, name)?;
    if snapshot.is_active(name) {
        return Ok(());
    }
    let detail = format!("{name} is suspended");
    let mut refusal = DoorRefusal::new(Slug::PrincipalSuspended, detail);
    refusal.problem.remedy = Some("Ask an operator of the tenant to activate it.".to_owned());
    Err(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_stop_at_their_rules() {
        let rules = StopRules {
            max_plan_depth: 12,
            max_retries: 3,
        };
        let plan = |depth, attempt| Plan {
            id: "p".into(),
            depth,
            attempt,
        };
        plan(12, 3).check(rules).unwrap();
        assert_eq!(
            plan(13, 0).check(rules).unwrap_err().slug,
            Slug::PlanTooDeep
        );
        assert_eq!(
            plan(0, 4).check(rules).unwrap_err().slug,
            Slug::TooManyRetries
        );
    }
}
