//! The metrics of one replica, in one registry: what `/metrics` shows is what a collector is sent.
//!
//! Labels are bounded: problems, decisions and outcomes are closed lists; tools and tenants have a series
//! of their own up to a number, and share one beyond it.

mod exports;
mod reading;
mod series;

use std::fmt;
use std::sync::Arc;

use portcullis_domain::attribute;
use portcullis_domain::id::{Id, Tenant};
use portcullis_domain::observation::{CallSeen, Stage, TurnedAway};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

pub use exports::{Dropped, Exports, Signal};
pub use reading::{Instrument, Reading, Readings};

use reading::Collected;
use series::{Bounded, TenantSeries, ToolSeries};

/// What comes before the name of every metric.
const PREFIX: &str = "portcullis";
/// How many tools have series of their own.
const TOOLS: usize = 512;
/// How many tenants have series of their own.
const TENANTS: usize = 256;
/// The label of those beyond.
const OTHER: &str = "other";
/// The label of a tool that no catalog has.
const UNKNOWN: &str = "unknown";
/// The upper bounds of durations, in seconds: from a call that is answered from memory to the deadline.
const BOUNDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0,
];

/// The parts of a call whose time is measured, as the label `part` names them.
const POLICY: &str = attribute::SPAN_POLICY_EVALUATE;
const SERVICE: &str = attribute::SPAN_SERVICE_CALL;
const REDACTION: &str = attribute::SPAN_REDACT;
const RECORDING: &str = "record";

/// A trace that a measurement came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Exemplar {
    trace_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    tool: String,
    decision: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToolLabel {
    tool: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantLabels {
    tenant: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartLabel {
    part: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProblemLabels {
    problem: &'static str,
    room: &'static str,
}

type Calls = Family<CallLabels, Counter>;
type Tenants = Family<TenantLabels, Counter>;
type Durations = HistogramWithExemplars<Exemplar>;
type DurationsByTool = Family<ToolLabel, Durations, fn() -> Durations>;
type DurationsByPart = Family<PartLabel, Histogram, fn() -> Histogram>;

/// The metrics of one replica.
pub struct Metrics {
    registry: Registry,
    calls: Calls,
    durations: DurationsByTool,
    tenants: Tenants,
    problems: Family<ProblemLabels, Counter>,
    parts: [Histogram; 4],
    redacted: Counter,
    exports: Arc<Exports>,
    by_tool: Bounded<String, ToolSeries>,
    by_tenant: Bounded<Id<Tenant>, TenantSeries>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// The metrics of a replica of this version. `readings` are looked at each time somebody asks.
    pub fn new(version: &'static str, readings: impl Readings) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let build = Info::new([("version", version)]);
        registry.register("build", "The version that runs", build);
        let calls = Calls::default();
        registry.register(
            "tool_calls",
            "Calls that passed admission, by tool, by what policy said and by how they ended",
            calls.clone(),
        );
        let durations =
            DurationsByTool::new_with_constructor(|| Durations::new(BOUNDS.into_iter()));
        registry.register(
            "tool_call_duration_seconds",
            "From a call's arrival to its durable record",
            durations.clone(),
        );
        let tenants = Tenants::default();
        registry.register(
            "tenant_calls",
            "Calls that passed admission, by tenant and by how they ended",
            tenants.clone(),
        );
        let problems = Family::<ProblemLabels, Counter>::default();
        registry.register(
            "refusals",
            "Requests and calls that did not get what they asked for, by problem and by where it ended",
            problems.clone(),
        );
        let parts = DurationsByPart::new_with_constructor(|| Histogram::new(BOUNDS));
        registry.register(
            "call_part_duration_seconds",
            "The time of parts of a call: the policy's decision, the tool's work, redaction, the record",
            parts.clone(),
        );
        let redacted = Counter::default();
        registry.register(
            "redacted_values",
            "Values and stretches of text that were taken out of answers",
            redacted.clone(),
        );
        let exports = Arc::new(Exports::registered(&mut registry));
        registry.register_collector(Box::new(Collected(readings)));
        let part = |part| parts.get_or_create_owned(&PartLabel { part });
        let rest = ToolSeries::new(OTHER, duration_of(&durations, OTHER));
        Self {
            parts: [POLICY, SERVICE, REDACTION, RECORDING].map(part),
            registry,
            calls,
            durations,
            tenants,
            problems,
            redacted,
            exports,
            by_tool: Bounded::new(TOOLS, rest),
            by_tenant: Bounded::new(TENANTS, TenantSeries::new(OTHER.to_owned())),
        }
    }

    /// Counts a call that is over. `kept` says that its trace goes to a collector, where an exemplar finds
    /// it.
    pub fn call(&self, seen: &CallSeen<'_>, kept: bool) {
        let exemplar = kept.then(|| Exemplar {
            trace_id: seen.place.trace.to_string(),
        });
        let tool = seen.tool.unwrap_or(UNKNOWN);
        let make = || ToolSeries::new(tool, duration_of(&self.durations, tool));
        self.by_tool
            .of(tool, make)
            .count(seen, exemplar, &self.calls);
        let tenant = seen.actor.tenant;
        self.by_tenant
            .of(&tenant, || TenantSeries::new(tenant.to_string()))
            .count(seen.end, &self.tenants);
        if let Some(problem) = seen.problem {
            self.problem(problem, "call");
        }
        let redacted = seen.pii_count.unwrap_or_default();
        self.redacted.inc_by(u64::from(redacted));
        let seen = [seen.policy, seen.service, seen.redaction, seen.recording];
        for (histogram, part) in self.parts.iter().zip(seen) {
            if let Some(Stage { took, .. }) = part {
                histogram.observe(took.as_secs_f64());
            }
        }
    }

    /// Counts a request that was turned away at the door.
    pub fn turned_away(&self, seen: &TurnedAway) {
        self.problem(seen.problem, "door");
    }

    fn problem(&self, problem: &'static str, room: &'static str) {
        self.problems
            .get_or_create(&ProblemLabels { problem, room })
            .inc();
    }

    /// What is counted of the way to the collector.
    pub fn exports(&self) -> Arc<Exports> {
        Arc::clone(&self.exports)
    }

    /// Everything, as `OpenMetrics` text.
    ///
    /// # Errors
    /// A label could not be written.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(16 * 1_024);
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn duration_of(durations: &DurationsByTool, tool: &str) -> Durations {
    let tool = tool.to_owned();
    durations.get_or_create_owned(&ToolLabel { tool })
}

#[cfg(test)]
mod tests;
