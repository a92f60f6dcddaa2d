//! What is counted of the way to the collector. Every series is there from the start, so that an alert on
//! it never waits for the first time.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Why spans were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// They found no room to wait.
    QueueFull,
    /// The collector did not take them, though it was asked for some seconds.
    NotTaken,
    /// The collector took the request and threw them away.
    Rejected,
}

impl Dropped {
    const ALL: [Self; 3] = [Self::QueueFull, Self::NotTaken, Self::Rejected];

    const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::NotTaken => "not_taken",
            Self::Rejected => "rejected",
        }
    }
}

/// What a collector is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
}

impl Signal {
    const ALL: [Self; 2] = [Self::Traces, Self::Metrics];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSignal {
    signal: &'static str,
}

/// Counts of the way to the collector.
#[derive(Debug)]
pub struct Exports {
    sent: Counter,
    dropped: Family<Reason, Counter>,
    failed: Family<OfSignal, Counter>,
    waiting: Gauge,
}

impl Exports {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let exports = Self {
            sent: Counter::default(),
            dropped: Family::default(),
            failed: Family::default(),
            waiting: Gauge::default(),
        };
        for why in Dropped::ALL {
            exports.dropped(why, 0);
        }
        for signal in Signal::ALL {
            let signal = signal.as_str();
            drop(exports.failed.get_or_create(&OfSignal { signal }));
        }
        registry.register(
            "spans_sent",
            "Spans that the collector took",
            exports.sent.clone(),
        );
        registry.register(
            "spans_dropped",
            "Spans of kept traces that the collector never got",
            exports.dropped.clone(),
        );
        registry.register(
            "otlp_requests_failed",
            "Requests that the collector did not take, each try counted",
            exports.failed.clone(),
        );
        registry.register(
            "otlp_queue_length",
            "Calls and requests whose spans wait to be sent",
            exports.waiting.clone(),
        );
        exports
    }

    /// So many spans were taken.
    pub(crate) fn sent(&self, spans: u64) {
        self.sent.inc_by(spans);
    }

    /// So many spans are lost.
    pub(crate) fn dropped(&self, why: Dropped, spans: u64) {
        let reason = why.as_str();
        self.dropped.get_or_create(&Reason { reason }).inc_by(spans);
    }

    /// A request was not taken.
    pub(crate) fn failed(&self, signal: Signal) {
        let signal = signal.as_str();
        self.failed.get_or_create(&OfSignal { signal }).inc();
    }

    /// So much waits.
    pub(crate) fn waiting(&self, length: usize) {
        self.waiting.set(i64::try_from(length).unwrap_or(i64::MAX));
    }
}
