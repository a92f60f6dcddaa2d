//! What an operator sees of the platform: metrics, and spans on their way to a collector.
//!
//! It takes the closed form of `portcullis_domain::observation` and nothing else, so there is no field by
//! which an argument, a result, a key or a token could get here. It must never make a call wait: what
//! cannot be kept or sent at once is dropped and counted.

pub mod metrics;
pub mod otlp;
mod sampling;
#[cfg(test)]
mod testing;

pub use metrics::Metrics;
pub use otlp::{Collector, CollectorError, Exporter, Protocol, Service, Spans};
pub use sampling::Sampling;
