//! Rates and slots of whoever has limits: a principal, or a tenant as a whole.
//!
//! Limits that change hold at once, and what was spent or taken under the old ones stays so: a change
//! never gives a burst back, and never forgets a call under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{NotUntil, Quota, RateLimiter};
use portcullis_domain::Limits;
use portcullis_domain::id::{Id, Principal, Tenant};
use portcullis_wire::Slug;
use std::num::NonZeroU32;

use super::refusal::{DoorRefusal, RateFields};

type Limiter<S> = RateLimiter<NotKeyed, S, DefaultClock, StateInformationMiddleware>;
type Until = NotUntil<<DefaultClock as governor::clock::Clock>::Instant>;

/// What was spent of a rate.
#[derive(Debug, Clone, Default)]
struct Spent(Arc<InMemoryState>);

impl StateStore for Spent {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(key, decide)
    }
}

/// The same, looked at and never changed.
#[derive(Debug)]
struct Looked(Spent);

impl StateStore for Looked {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        // What is an error to the store, it does not keep.
        let seen = self.0.measure_and_replace(key, |spent| {
            Err::<(T, Nanos), Result<(T, Nanos), E>>(decide(spent))
        });
        match seen {
            Ok(kept) => Ok(kept),
            Err(decision) => decision.map(|(outcome, _)| outcome),
        }
    }
}

/// A slot; free again when dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<AtomicU32>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The rate and concurrency of one holder of limits.
#[derive(Debug)]
pub(super) struct Turnstile {
    limits: Limits,
    looking: Limiter<Looked>,
    passing: Limiter<Spent>,
    under_way: Arc<AtomicU32>,
}

impl Turnstile {
    fn new(limits: Limits) -> Self {
        Self::with(limits, Arc::default())
    }

    fn with(limits: Limits, under_way: Arc<AtomicU32>) -> Self {
        let quota = Quota::per_minute(at_least_one(limits.rpm)).allow_burst(burst(limits));
        let spent = Spent::default();
        let clock = DefaultClock::default;
        Self {
            limits,
            looking: RateLimiter::new(quota, Looked(spent.clone()), clock()),
            passing: RateLimiter::new(quota, spent, clock()),
            under_way,
        }
    }

    /// The same holder under other limits.
    fn changed(&self, limits: Limits) -> Self {
        let changed = Self::with(limits, Arc::clone(&self.under_way));
        let spent = NonZeroU32::new(self.spent());
        if let Some(spent) = spent.map(|spent| spent.min(burst(limits))) {
            // It has spent nothing so far and its burst is not less, so this passes.
            let _passed = changed.passing.check_n(spent);
        }
        changed
    }

    /// How much of the burst is spent.
    fn spent(&self) -> u32 {
        let left = self.looking.check().map_or(0, |seen| {
            // It tells what would be left after one more.
            seen.remaining_burst_capacity().saturating_add(1)
        });
        burst(self.limits).get().saturating_sub(left)
    }

    /// Whether the rate would let one through, which is not charged.
    pub(super) fn look(&self, whose: &str) -> Result<(), DoorRefusal> {
        let seen = self.looking.check();
        self.judge(whose, seen).map(|_left| ())
    }

    /// Lets one through and charges the rate.
    pub(super) fn pass(&self, whose: &str) -> Result<RateFields, DoorRefusal> {
        let passed = self.passing.check();
        self.judge(whose, passed)
    }

    fn judge(
        &self,
        whose: &str,
        decided: Result<StateSnapshot, Until>,
    ) -> Result<RateFields, DoorRefusal> {
        let policy = format!("\"{whose}\";q={};w=60", self.limits.rpm);
        match decided {
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

    /// Takes a slot.
    pub(super) fn slot(&self, whose: &str) -> Result<Slot, DoorRefusal> {
        let most = self.limits.concurrency;
        let one_more = |taken: u32| (taken < most).then(|| taken.saturating_add(1));
        let taken = self
            .under_way
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        if taken.is_ok() {
            return Ok(Slot(Arc::clone(&self.under_way)));
        }
        let detail =
            format!("{whose} may have {most} calls under way at once; repeat when one has ended");
        let mut refusal = DoorRefusal::new(Slug::ConcurrencyLimited, detail);
        refusal.retry_after_seconds = Some(1);
        refusal.rate = Some(RateFields {
            limit: format!("\"{whose}-concurrency\";r=0;t=1"),
            policy: format!("\"{whose}-concurrency\";q={most}"),
        });
        Err(refusal)
    }
}

fn at_least_one(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

fn burst(limits: Limits) -> NonZeroU32 {
    at_least_one(limits.burst)
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

/// Whose limits: a principal's, or the tenant's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Holder(pub(super) Id<Tenant>, pub(super) Option<Id<Principal>>);

impl Default for Turnstiles {
    fn default() -> Self {
        let idle = Duration::from_mins(10);
        Self {
            of: moka::sync::Cache::builder().time_to_idle(idle).build(),
        }
    }
}

impl Turnstiles {
    /// The turnstile of a holder under its present limits.
    pub(super) fn current(&self, holder: Holder, limits: Limits) -> Arc<Turnstile> {
        match self.of.get(&holder) {
            Some(turnstile) if turnstile.limits == limits => turnstile,
            Some(_) | None => self.renew(holder, limits),
        }
    }

    fn renew(&self, holder: Holder, limits: Limits) -> Arc<Turnstile> {
        self.of
            .entry(holder)
            .and_upsert_with(|present| match present.map(moka::Entry::into_value) {
                Some(turnstile) if turnstile.limits == limits => turnstile,
                Some(turnstile) => Arc::new(turnstile.changed(limits)),
                None => Arc::new(Turnstile::new(limits)),
            })
            .into_value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_domain::MicroUsd;

    const HOLDER: fn() -> Holder = || Holder(Id::from_row(uuid::Uuid::nil()), None);

    fn limits(rpm: u32, burst: u32, concurrency: u32) -> Limits {
        Limits {
            rpm,
            burst,
            concurrency,
            daily_cost: MicroUsd(0),
        }
    }

    /// How many pass before one is refused.
    fn passing(turnstile: &Turnstile) -> usize {
        (0..1_000)
            .take_while(|_| turnstile.pass("tenant").is_ok())
            .count()
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
    fn looking_charges_nothing_and_sees_what_passing_would_meet() {
        let turnstile = Turnstile::new(limits(1, 3, 1));
        for _ in 0..100 {
            turnstile.look("principal").unwrap();
        }
        assert_eq!(passing(&turnstile), 3);
        let refusal = turnstile.look("principal").unwrap_err();
        assert_eq!(refusal.slug, Slug::RateLimited);
        assert_eq!(refusal.problem.status, 429);
        assert!(refusal.retry_after_seconds.unwrap() >= 59);
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
    fn unchanged_limits_keep_their_state() {
        let turnstiles = Turnstiles::default();
        let current = || turnstiles.current(HOLDER(), limits(1, 1, 1));
        current().pass("tenant").unwrap();
        assert!(current().pass("tenant").is_err());
    }

    #[test]
    fn a_greater_burst_gives_nothing_back_that_was_spent() {
        let turnstiles = Turnstiles::default();
        let before = turnstiles.current(HOLDER(), limits(1, 5, 1));
        assert_eq!(passing(&before), 5);
        let after = turnstiles.current(HOLDER(), limits(1, 8, 1));
        assert_eq!(passing(&after), 3, "the new part of the burst alone");
    }

    #[test]
    fn a_smaller_burst_leaves_what_was_not_spent_of_it() {
        let turnstiles = Turnstiles::default();
        let before = turnstiles.current(HOLDER(), limits(1, 100, 1));
        for _ in 0..4 {
            before.pass("tenant").unwrap();
        }
        let after = turnstiles.current(HOLDER(), limits(1, 10, 1));
        assert_eq!(passing(&after), 6);
        let least = turnstiles.current(HOLDER(), limits(1, 2, 1));
        assert_eq!(passing(&least), 0);
    }

    #[test]
    fn another_rate_gives_no_burst_back() {
        let turnstiles = Turnstiles::default();
        assert_eq!(passing(&turnstiles.current(HOLDER(), limits(1, 5, 1))), 5);
        assert_eq!(passing(&turnstiles.current(HOLDER(), limits(2, 5, 1))), 0);
        assert_eq!(passing(&turnstiles.current(HOLDER(), limits(1, 5, 1))), 0);
    }

    #[test]
    fn other_limits_forget_no_call_under_way() {
        let turnstiles = Turnstiles::default();
        let slot = |concurrency| {
            let turnstile = turnstiles.current(HOLDER(), limits(1, 5, concurrency));
            turnstile.slot("tenant")
        };
        let held = [slot(2).unwrap(), slot(2).unwrap()];
        assert!(slot(2).is_err());
        let third = slot(3).unwrap();
        assert!(slot(3).is_err(), "three are under way");
        assert!(slot(1).is_err());
        drop(third);
        let [first, second] = held;
        drop(first);
        assert!(slot(1).is_err(), "one is still under way");
        drop(second);
        assert!(slot(1).is_ok());
    }
}
