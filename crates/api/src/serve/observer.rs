//! Who sees the calls of this replica: the metrics, and spans where a collector is configured.

use std::sync::Arc;

use portcullis_domain::observation::{CallSeen, Observer, TurnedAway};
use portcullis_telemetry::Metrics;

/// The observer of one replica.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) metrics: Arc<Metrics>,
}

impl Observer for Observed {
    fn call(&self, seen: &CallSeen<'_>) {
        self.metrics.call(seen, false);
    }

    fn turned_away(&self, seen: &TurnedAway) {
        self.metrics.turned_away(seen);
    }
}
