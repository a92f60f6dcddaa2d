//! What other rooms hold and is looked at only when somebody asks: connections, ages, queues.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// A metric that is read where its value already is.
#[derive(Debug, PartialEq, Eq)]
pub struct Instrument {
    /// The name, without what comes before every name and without `_total`.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Whether it only ever grows.
    pub counts: bool,
}

/// The value of an instrument under some labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Of what.
    pub instrument: &'static Instrument,
    /// Labels, each from a closed list.
    pub labels: Vec<(&'static str, &'static str)>,
    /// The value.
    pub value: f64,
}

/// What can be read.
pub trait Readings: Send + Sync + fmt::Debug + 'static {
    /// The values now, those of one instrument together. It must not wait.
    fn read(&self) -> Vec<Reading>;
}

/// The readings of nothing.
impl Readings for () {
    fn read(&self) -> Vec<Reading> {
        Vec::new()
    }
}

/// Readings as the registry takes them.
#[derive(Debug)]
pub(super) struct Collected<R>(pub(super) R);

impl<R: Readings> Collector for Collected<R> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let readings = self.0.read();
        for group in readings.chunk_by(|a, b| a.instrument == b.instrument) {
            let Some(Reading { instrument, .. }) = group.first() else {
                continue;
            };
            let kind = if instrument.counts {
                MetricType::Counter
            } else {
                MetricType::Gauge
            };
            let (name, help) = (instrument.name, instrument.help);
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for Reading { labels, value, .. } in group {
                let mut one = metric.encode_family(labels)?;
                if instrument.counts {
                    one.encode_counter::<NoLabelSet, f64, f64>(value, None)?;
                } else {
                    one.encode_gauge(value)?;
                }
            }
        }
        Ok(())
    }
}
