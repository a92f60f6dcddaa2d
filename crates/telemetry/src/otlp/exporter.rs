//! The task that sends: spans soon after their calls, metrics at their interval.
//!
//! A batch that the collector does not take is tried again for some seconds while later ones wait in the
//! queue; then it is dropped and counted. Nothing here is on the way of a call.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use portcullis_domain::Clock;
use rand::Rng;
use time::OffsetDateTime;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::client::{Client, Failure, Rejected, Way};
use super::settings::{Collector, CollectorError, Service};
use super::{Queues, Spans, points, spans};
use crate::metrics::{Dropped, Exports, Metrics, Signal};
use crate::sampling::{Sampler, Sampling};

/// How long kept calls gather before they are sent.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);
/// The most spans in one request.
const BATCH: usize = 2_048;
/// The most spans of one call.
const OF_A_CALL: usize = 5;
/// What is waited for after each failure; after the last the batch is dropped.
const WAITS: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// How long the last spans may take when the replica stops.
const LAST: Duration = Duration::from_secs(3);

/// Sends what a replica tells to its collector.
#[derive(Debug)]
pub struct Exporter {
    way: Way,
    queues: Queues,
    metrics: Arc<Metrics>,
    metrics_every: Duration,
    resource: Resource,
    scope: InstrumentationScope,
    clock: Arc<dyn Clock>,
}

impl Exporter {
    /// An exporter, and where spans go into it.
    ///
    /// # Errors
    /// The collector cannot be spoken to as it is described.
    pub fn new(
        collector: &Collector,
        service: Service,
        sampling: &Sampling,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Spans), CollectorError> {
        let way = Way::to(collector)?;
        let (spans, queues) = Spans::new(Sampler::new(sampling), metrics.exports());
        let exporter = Self {
            way,
            queues,
            metrics,
            metrics_every: collector.metrics_every,
            resource: resource(service),
            scope: InstrumentationScope {
                name: "portcullis".to_owned(),
                version: service.version.to_owned(),
                ..InstrumentationScope::default()
            },
            clock,
        };
        Ok((exporter, spans))
    }

    /// Sends until `stop`, then what is left, once.
    pub async fn run(self, stop: CancellationToken) {
        let exports = self.metrics.exports();
        let client = self.way.open();
        let started = self.clock.now();
        let sender = Sender {
            client: client.clone(),
            resource: self.resource.clone(),
            scope: self.scope.clone(),
            exports: Arc::clone(&exports),
            away: false,
        };
        let teller = Teller {
            client,
            resource: self.resource,
            scope: self.scope,
            exports,
            metrics: self.metrics,
            clock: self.clock,
            started,
            away: false,
        };
        tokio::join!(
            sender.run(self.queues, &stop),
            teller.run(self.metrics_every, &stop)
        );
    }
}

fn resource(service: Service) -> Resource {
    Resource {
        attributes: vec![
            spans::text("service.name", "portcullis"),
            spans::text("service.version", service.version),
            spans::text("service.instance.id", &service.replica.to_string()),
        ],
        ..Resource::default()
    }
}

/// Says once that the collector is away, and once that it is back.
fn note(away: &mut bool, signal: Signal, failure: Option<&Failure>) {
    let signal = signal.as_str();
    let before = std::mem::replace(away, failure.is_some());
    match failure {
        Some(Failure { what, .. }) if !before => warn_away(signal, what),
        None if before => info!(signal, "the collector takes what it is sent again"),
        Some(_) | None => {}
    }
}

fn warn_away(signal: &str, why: &str) {
    warn!(signal, why, "the collector does not take what it is sent");
}

/// An answer, or none where the replica was asked to stop and the collector has not answered a little
/// later: one that is silent must not hold up its end.
async fn unless_stopped<T>(
    answer: impl Future<Output = T>,
    stop: Option<&CancellationToken>,
) -> Option<T> {
    let Some(stop) = stop else {
        return Some(answer.await);
    };
    let given_up = async {
        stop.cancelled().await;
        sleep(LAST).await;
    };
    tokio::select! {
        answer = answer => Some(answer),
        () = given_up => None,
    }
}

/// Sends spans.
struct Sender {
    client: Client,
    resource: Resource,
    scope: InstrumentationScope,
    exports: Arc<Exports>,
    away: bool,
}

impl Sender {
    async fn run(mut self, mut queues: Queues, stop: &CancellationToken) {
        let mut tick = interval(PAUSE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            self.empty(&mut queues, Some(stop)).await;
        }
        // Whatever is sent from now on finds a closed queue.
        queues.calls.close();
        queues.door.close();
        if timeout(LAST, self.empty(&mut queues, None)).await.is_err() {
            warn!("the last spans were not taken in time");
        }
    }

    /// Sends everything that waits. What comes meanwhile at the door waits for the next time.
    async fn empty(&mut self, queues: &mut Queues, stop: Option<&CancellationToken>) {
        let mut door = queues.door.len();
        // The last turn takes what is left, within its own time.
        while !stop.is_some_and(CancellationToken::is_cancelled) {
            let mut batch = Vec::new();
            while batch.len() + OF_A_CALL <= BATCH
                && let Ok(kept) = queues.calls.try_recv()
            {
                spans::of_call(&kept, &mut batch);
            }
            while door > 0
                && batch.len() < BATCH
                && let Ok(seen) = queues.door.try_recv()
            {
                door -= 1;
                spans::of_door(&seen, rand::rng().random(), &mut batch);
            }
            self.exports.waiting(queues.calls.len() + queues.door.len());
            if batch.is_empty() {
                return;
            }
            self.send(batch, stop).await;
        }
    }

    /// Sends a batch. `stop` ends the waits between tries; without it there are none.
    async fn send(&mut self, batch: Vec<Span>, stop: Option<&CancellationToken>) {
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let request = self.request(batch);
        let mut waits = WAITS.iter();
        loop {
            let Some(sent) = unless_stopped(self.client.traces(request.clone()), stop).await else {
                self.exports.dropped(Dropped::NotTaken, count);
                return;
            };
            let failure = match sent {
                Ok(rejected) => {
                    self.taken(count, rejected);
                    return;
                }
                Err(failure) => failure,
            };
            self.exports.failed(Signal::Traces);
            note(&mut self.away, Signal::Traces, Some(&failure));
            let stopped = stop.is_some_and(CancellationToken::is_cancelled);
            let wait = waits.next().filter(|_| failure.passing && !stopped);
            let wait = wait.zip(stop);
            let Some((wait, stop)) = wait else {
                self.exports.dropped(Dropped::NotTaken, count);
                return;
            };
            let wait = failure.after.map_or(*wait, |asked| asked.max(*wait));
            // Asked to stop, it tries once more at once.
            let _cut_short = stop.run_until_cancelled(sleep(wait)).await;
        }
    }

    fn taken(&mut self, count: u64, rejected: Rejected) {
        let rejected = rejected.min(count);
        self.exports.sent(count - rejected);
        self.exports.dropped(Dropped::Rejected, rejected);
        note(&mut self.away, Signal::Traces, None);
    }

    fn request(&self, spans: Vec<Span>) -> ExportTraceServiceRequest {
        let scope = ScopeSpans {
            scope: Some(self.scope.clone()),
            spans,
            ..ScopeSpans::default()
        };
        let of_resource = ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans: vec![scope],
            ..ResourceSpans::default()
        };
        ExportTraceServiceRequest {
            resource_spans: vec![of_resource],
        }
    }
}

/// Sends metrics. They are totals, so what was not taken comes with the next ones.
struct Teller {
    client: Client,
    resource: Resource,
    scope: InstrumentationScope,
    exports: Arc<Exports>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    started: OffsetDateTime,
    away: bool,
}

impl Teller {
    async fn run(mut self, every: Duration, stop: &CancellationToken) {
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once, when there is nothing to tell yet.
        tick.tick().await;
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            self.tell().await;
        }
        if timeout(LAST, self.tell()).await.is_err() {
            warn!("the last metrics were not taken in time");
        }
    }

    async fn tell(&mut self) {
        let found = self.metrics.text().ok();
        let found = found.and_then(|text| points::of_text(&text, self.started, self.clock.now()));
        let Some(metrics) = found else {
            warn!("the metrics cannot be written for the collector");
            return;
        };
        let scope = ScopeMetrics {
            scope: Some(self.scope.clone()),
            metrics,
            ..ScopeMetrics::default()
        };
        let of_resource = ResourceMetrics {
            resource: Some(self.resource.clone()),
            scope_metrics: vec![scope],
            ..ResourceMetrics::default()
        };
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![of_resource],
        };
        let failure = self.client.metrics(request).await.err();
        if failure.is_some() {
            self.exports.failed(Signal::Metrics);
        }
        note(&mut self.away, Signal::Metrics, failure.as_ref());
    }
}
