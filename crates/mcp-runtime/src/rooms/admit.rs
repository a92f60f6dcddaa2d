//! Room 2: rate, burst and concurrency of the principal and of its tenant, and the plan's depth.
//!
//! Limits hold for this replica. Nothing is queued: what does not fit is refused at once.

use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::{Quota, RateLimiter};
use portcullis_domain::id::{Id, Principal, Tenant};
use portcullis_domain::{Caller, Limits, StopRules};
use portcullis_wire::Slug;
use serde::Deserialize;
use std::num::NonZeroU32;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::authenticate::{self, Authenticated};
use super::refusal::DoorRefusal;
pub use super::refusal::RateFields;
use crate::gate::Gate;
use crate::snapshot::TenantSnapshot;
use crate::token::VerifiedToken;

type Limiter = RateLimiter<
    governor::state::NotKeyed,
    governor::state::InMemoryState,
    DefaultClock,
    StateInformationMiddleware,
>;

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
        check_active(&caller, &snapshot)?;
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
    _tenant: OwnedSemaphorePermit,
    _principal: OwnedSemaphorePermit,
}

/// The rate and concurrency of one holder of limits.
#[derive(Debug)]
struct Turnstile {
    limits: Limits,
    limiter: Limiter,
    slots: Arc<Semaphore>,
}

impl Turnstile {
    fn new(limits: Limits) -> Self {
        let at_least_one = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let quota =
            Quota::per_minute(at_least_one(limits.rpm)).allow_burst(at_least_one(limits.burst));
        let slots = usize::try_from(limits.concurrency).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            limits,
            limiter: RateLimiter::direct(quota).with_middleware::<StateInformationMiddleware>(),
            slots: Arc::new(Semaphore::new(slots.min(Semaphore::MAX_PERMITS))),
        }
    }

    fn pass(&self, whose: &str) -> Result<RateFields, DoorRefusal> {
        let policy = format!("\"{whose}\";q={};w=60", self.limits.rpm);
        match self.limiter.check() {
            Ok(state) => {
                let left = state.remaining_burst_capacity();
                let limit = format!("\"{whose}\";r={left}");
                Ok(RateFields { limit, policy })
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(DefaultClock::default().now());
                let seconds = whole_seconds(wait);
                let detail = format!(
                    "{whose} may make {} calls a minute and {} at once; repeat after {seconds} s",
                    self.limits.rpm, self.limits.burst
                );
                let mut refusal = DoorRefusal::new(Slug::RateLimited, detail);
                refusal.retry_after_seconds = Some(seconds);
                let limit = format!("\"{whose}\";r=0;t={seconds}");
                refusal.rate = Some(RateFields { limit, policy });
                Err(refusal)
            }
        }
    }

    fn slot(&self, whose: &str) -> Result<OwnedSemaphorePermit, DoorRefusal> {
        Arc::clone(&self.slots).try_acquire_owned().map_err(|full| {
            let detail = format!(
                "{whose} may have {} calls under way at once ({full}); repeat when one has ended",
                self.limits.concurrency
            );
            let mut refusal = DoorRefusal::new(Slug::ConcurrencyLimited, detail);
            refusal.retry_after_seconds = Some(1);
            refusal.rate = Some(RateFields {
                limit: format!("\"{whose}-concurrency\";r=0;t=1"),
                policy: format!("\"{whose}-concurrency\";q={}", self.limits.concurrency),
            });
            refusal
        })
    }
}

fn whole_seconds(wait: Duration) -> u64 {
    let partial = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(partial).max(1)
}

/// Every turnstile of this replica; those unused for ten minutes are forgotten.
#[derive(Debug)]
pub struct Turnstiles {
    of: moka::sync::Cache<Holder, Arc<Turnstile>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Holder(Id<Tenant>, Option<Id<Principal>>);

impl Default for Turnstiles {
    fn default() -> Self {
        let idle = Duration::from_mins(10);
        Self {
            of: moka::sync::Cache::builder().time_to_idle(idle).build(),
        }
    }
}

impl Turnstiles {
    fn find(&self, holder: Holder, limits: Limits) -> Arc<Turnstile> {
        let fresh = || Arc::new(Turnstile::new(limits));
        self.of
            .entry(holder)
            .and_upsert_with(|present| match present.map(moka::Entry::into_value) {
                Some(turnstile) if turnstile.limits == limits => turnstile,
                Some(_) | None => fresh(),
            })
            .into_value()
    }

    fn current(&self, holder: Holder, limits: Limits) -> Arc<Turnstile> {
        match self.of.get(&holder) {
            Some(turnstile) if turnstile.limits == limits => turnstile,
            Some(_) | None => self.find(holder, limits),
        }
    }
}

/// Enters the room: charges the rate and takes the slots.
///
/// # Errors
/// Refuses with 429 what exceeds a limit, and with 503 a caller whose limits are not known.
pub fn enter(gate: &Gate, authenticated: Authenticated) -> Result<Admitted, DoorRefusal> {
    let Authenticated {
        caller,
        snapshot,
        token,
    } = authenticated;
    check_active(&caller, &snapshot)?;
    let tenant = gate
        .turnstiles
        .current(Holder(caller.tenant, None), snapshot.tenant_limits());
    let own = Holder(caller.tenant, Some(caller.principal));
    let principal = gate
        .turnstiles
        .current(own, snapshot.limits(caller.principal));
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

/// Whoever holds a genuine token may know that its principal is suspended.
fn check_active(caller: &Caller, snapshot: &TenantSnapshot) -> Result<(), DoorRefusal> {
    if snapshot.is_active(&caller.name) {
        return Ok(());
    }
    let detail = format!("{} is suspended", caller.name);
    let mut refusal = DoorRefusal::new(Slug::PrincipalSuspended, detail);
    refusal.problem.remedy = Some("Ask an operator of the tenant to activate it.".to_owned());
    Err(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_domain::MicroUsd;

    fn limits(rpm: u32, burst: u32, concurrency: u32) -> Limits {
        Limits {
            rpm,
            burst,
            concurrency,
            daily_cost: MicroUsd(0),
        }
    }

    #[test]
    fn the_burst_passes_and_the_next_is_refused_with_a_time() {
        let turnstile = Turnstile::new(limits(60, 3, 1));
        for _ in 0..3 {
            turnstile.pass("principal").unwrap();
        }
        let refusal = turnstile.pass("principal").unwrap_err();
        assert_eq!(refusal.problem.status, 429);
        assert_eq!(refusal.retry_after_seconds, Some(1));
        assert_eq!(refusal.rate.unwrap().policy, "\"principal\";q=60;w=60");
    }

    #[test]
    fn a_slot_is_free_again_only_when_its_holder_is_gone() {
        let turnstile = Turnstile::new(limits(60, 3, 1));
        let held = turnstile.slot("tenant").unwrap();
        assert_eq!(
            turnstile.slot("tenant").unwrap_err().slug,
            Slug::ConcurrencyLimited
        );
        drop(held);
        assert!(turnstile.slot("tenant").is_ok());
    }

    #[test]
    fn changed_limits_hold_at_once_and_unchanged_ones_keep_their_state() {
        let turnstiles = Turnstiles::default();
        let holder = Holder(Id::from_row(uuid::Uuid::nil()), None);
        turnstiles
            .current(holder, limits(60, 1, 1))
            .pass("tenant")
            .unwrap();
        assert!(
            turnstiles
                .current(holder, limits(60, 1, 1))
                .pass("tenant")
                .is_err()
        );
        assert!(
            turnstiles
                .current(holder, limits(60, 2, 1))
                .pass("tenant")
                .is_ok()
        );
    }

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
