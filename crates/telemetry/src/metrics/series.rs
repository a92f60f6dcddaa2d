//! Series by a label that others choose: so many have one of their own, those beyond share one. It must
//! never grow past that, whatever comes.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use portcullis_domain::observation::{CallEnd, CallSeen, PolicyDecision};
use prometheus_client::metrics::counter::Counter;

use super::{CallLabels, Calls, Durations, Exemplar, TenantLabels, Tenants};

/// At most so many series, and one for the rest.
#[derive(Debug)]
pub(super) struct Bounded<K, V> {
    most: usize,
    series: RwLock<HashMap<K, Arc<V>>>,
    rest: Arc<V>,
}

impl<K: Hash + Eq, V> Bounded<K, V> {
    pub(super) fn new(most: usize, rest: V) -> Self {
        Self {
            most,
            series: RwLock::default(),
            rest: Arc::new(rest),
        }
    }

    /// The series of `key`, made by `make` where there is room for one more.
    pub(super) fn of<Q>(&self, key: &Q, make: impl FnOnce() -> V) -> Arc<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let full = {
            let series = self.series.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = series.get(key) {
                return Arc::clone(found);
            }
            series.len() >= self.most
        };
        if full {
            return Arc::clone(&self.rest);
        }
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        if series.len() >= self.most && !series.contains_key(key) {
            return Arc::clone(&self.rest);
        }
        let entry = series.entry(key.to_owned());
        Arc::clone(entry.or_insert_with(|| Arc::new(make())))
    }
}

/// The series of one tool.
#[derive(Debug)]
pub(super) struct ToolSeries {
    tool: String,
    duration: Durations,
    /// By decision and by ending; a pair that never was has no series.
    calls: [[OnceLock<Counter>; CallEnd::ALL.len()]; PolicyDecision::ALL.len()],
}

impl ToolSeries {
    pub(super) fn new(tool: &str, duration: Durations) -> Self {
        Self {
            tool: tool.to_owned(),
            duration,
            calls: Default::default(),
        }
    }

    pub(super) fn count(&self, seen: &CallSeen<'_>, exemplar: Option<Exemplar>, calls: &Calls) {
        self.duration
            .observe(seen.took.as_secs_f64(), exemplar, None);
        let decision = PolicyDecision::ALL
            .iter()
            .position(|one| *one == seen.decision);
        let end = CallEnd::ALL.iter().position(|one| *one == seen.end);
        let place = decision
            .zip(end)
            .and_then(|(decision, end)| self.calls.get(decision)?.get(end));
        if let Some(place) = place {
            let make = || {
                calls.get_or_create_owned(&CallLabels {
                    tool: self.tool.clone(),
                    decision: seen.decision.as_str(),
                    outcome: seen.end.as_str(),
                })
            };
            place.get_or_init(make).inc();
        }
    }
}

/// The series of one tenant.
#[derive(Debug)]
pub(super) struct TenantSeries {
    tenant: String,
    /// By ending.
    calls: [OnceLock<Counter>; CallEnd::ALL.len()],
}

impl TenantSeries {
    pub(super) fn new(tenant: String) -> Self {
        Self {
            tenant,
            calls: Default::default(),
        }
    }

    pub(super) fn count(&self, end: CallEnd, tenants: &Tenants) {
        let place = CallEnd::ALL.iter().position(|one| *one == end);
        if let Some(place) = place.and_then(|place| self.calls.get(place)) {
            let make = || {
                tenants.get_or_create_owned(&TenantLabels {
                    tenant: self.tenant.clone(),
                    outcome: end.as_str(),
                })
            };
            place.get_or_init(make).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_late_shares_a_series() {
        let bounded = Bounded::<String, usize>::new(2, 99);
        assert_eq!(*bounded.of("a", || 1), 1);
        assert_eq!(*bounded.of("b", || 2), 2);
        for late in ["c", "d"] {
            assert_eq!(*bounded.of(late, || 3), 99);
        }
        assert_eq!(*bounded.of("a", || 4), 1, "who has one keeps it");
    }
}
