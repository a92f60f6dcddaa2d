//! Who sees the calls of this replica: the metrics, and spans where a collector is configured.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portcullis_domain::Clock;
use portcullis_domain::id::{Id, Replica};
use portcullis_domain::observation::{CallSeen, Observer, TurnedAway};
use portcullis_keys::LocalKeys;
use portcullis_telemetry::{
    Collector, CollectorError, Exporter, Metrics, Protocol, Sampling, Service, Spans,
};
use secrecy::SecretString;

use crate::config::{Otlp, OtlpProtocol};

/// What traces are sampled by: all replicas with these keys keep the same ones.
const SAMPLING: &str = "trace-sampling";

/// The observer of one replica.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) metrics: Arc<Metrics>,
    pub(super) spans: Option<Spans>,
}

impl Observer for Observed {
    fn call(&self, seen: &CallSeen<'_>) {
        let kept = self.spans.as_ref().is_some_and(|spans| spans.call(seen));
        self.metrics.call(seen, kept);
    }

    fn turned_away(&self, seen: &TurnedAway) {
        if let Some(spans) = &self.spans {
            spans.turned_away(seen);
        }
        self.metrics.turned_away(seen);
    }
}

/// What sends to the configured collector, and where spans go into it.
pub(super) fn exporter(
    otlp: &Otlp,
    replica: Id<Replica>,
    keys: &LocalKeys,
    metrics: &Arc<Metrics>,
    clock: &Arc<dyn Clock>,
) -> Result<(Exporter, Spans), CollectorError> {
    let headers = otlp.headers_file.as_ref().map(|path| {
        let text = fs::read_to_string(path).map_err(unreadable(path))?;
        Ok(SecretString::from(text))
    });
    let authorities = otlp.ca_file.as_ref();
    let authorities = authorities.map(|path| fs::read(path).map_err(unreadable(path)));
    let collector = Collector {
        endpoint: otlp.endpoint.clone(),
        protocol: match otlp.protocol {
            OtlpProtocol::Grpc => Protocol::Grpc,
            OtlpProtocol::Http => Protocol::Http,
        },
        headers: headers.transpose()?,
        authorities: authorities.transpose()?,
        metrics_every: Duration::from_secs(otlp.metrics_interval_seconds),
    };
    let service = Service {
        version: env!("CARGO_PKG_VERSION"),
        replica,
    };
    let sampling = Sampling {
        ratio: otlp.sampling_ratio,
        asked_per_second: otlp.sampled_calls_per_second,
        key: keys.keyed_hash(SAMPLING, b""),
    };
    let (metrics, clock) = (Arc::clone(metrics), Arc::clone(clock));
    Exporter::new(&collector, service, &sampling, metrics, clock)
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> CollectorError {
    move |source| CollectorError::File {
        path: path.to_owned(),
        source,
    }
}
