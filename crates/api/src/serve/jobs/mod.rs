//! What a replica does beside answering: following the epoch, writing counts of refusals, taking
//! administrative changes to the ledger, closing the calls of dead replicas, ending switches whose time
//! is over, sending to the collector, and the sweeper's named jobs. Every replica does them; each is
//! harmless twice.

mod expiry;
mod reap;
mod relay;
mod sweep;

use std::error::Error;
use std::sync::Arc;

use portcullis_mcp_runtime::gate::Gate;
use portcullis_mcp_runtime::{refusals, snapshot};
use portcullis_telemetry::Exporter;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::readings::Backlog;
pub(super) use sweep::Sweeper;

/// Starts everything; it ends after `stop`.
pub(super) fn start(
    gate: &Arc<Gate>,
    (sweeper, backlog, exporter): (Sweeper, Arc<Backlog>, Option<Exporter>),
    stop: &CancellationToken,
) -> TaskTracker {
    let tasks = TaskTracker::new();
    let (watched, token) = (Arc::clone(gate), stop.clone());
    tasks.spawn(async move { snapshot::watch(&watched, token).await });
    let (counted, token) = (Arc::clone(gate), stop.clone());
    tasks.spawn(async move { refusals::record_counts(&counted, token).await });
    tasks.spawn(relay::relay(
        Arc::clone(gate),
        sweeper.control(),
        Arc::clone(&backlog),
        stop.clone(),
    ));
    if let Some(exporter) = exporter {
        tasks.spawn(exporter.run(stop.clone()));
    }
    for region in sweeper.regions() {
        tasks.spawn(reap::reap(
            Arc::clone(gate),
            region,
            Arc::clone(&backlog),
            stop.clone(),
        ));
    }
    tasks.spawn(expiry::expire(Arc::clone(gate), stop.clone()));
    tasks.spawn(sweep::sweep(Arc::clone(gate), sweeper, stop.clone()));
    tasks.close();
    tasks
}

/// An error with everything that caused it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
