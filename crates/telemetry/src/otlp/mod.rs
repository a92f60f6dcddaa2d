//! Spans and metrics on their way to a collector, by OTLP over gRPC or HTTP.
//!
//! What is kept of a call waits in a bounded queue, and a task of its own makes spans of it and sends
//! them. The collector is infrastructure: the operator's configuration alone names it. Its absence must
//! never make a call wait or fill memory: what finds no room, or is not taken in time, is dropped and
//! counted.

mod client;
mod exporter;
mod kept;
mod points;
mod settings;
mod spans;

pub use exporter::Exporter;
pub use settings::{Collector, CollectorError, Protocol, Service};

use std::sync::Arc;

use portcullis_domain::observation::{CallSeen, TurnedAway};
use tokio::sync::mpsc;

use crate::metrics::{Dropped, Exports};
use crate::sampling::Sampler;
use kept::Kept;

/// Calls that may wait; each takes about a kilobyte.
pub(crate) const CALLS: usize = 8_192;
/// Requests turned away that may wait. They have a queue of their own, which is emptied once a
/// [`exporter::PAUSE`]: whoever has no token can neither push calls out nor make a replica send more.
pub(crate) const DOOR: usize = 256;

/// Where spans go in.
#[derive(Debug)]
pub struct Spans {
    sampler: Sampler,
    calls: mpsc::Sender<Box<Kept>>,
    door: mpsc::Sender<TurnedAway>,
    exports: Arc<Exports>,
}

/// Where they come out.
#[derive(Debug)]
pub(crate) struct Queues {
    pub(crate) calls: mpsc::Receiver<Box<Kept>>,
    pub(crate) door: mpsc::Receiver<TurnedAway>,
}

impl Spans {
    pub(crate) fn new(sampler: Sampler, exports: Arc<Exports>) -> (Self, Queues) {
        let (calls, calls_out) = mpsc::channel(CALLS);
        let (door, door_out) = mpsc::channel(DOOR);
        let spans = Self {
            sampler,
            calls,
            door,
            exports,
        };
        let queues = Queues {
            calls: calls_out,
            door: door_out,
        };
        (spans, queues)
    }

    /// Takes the spans of a call that is over, where its trace is kept and there is room. Says whether it
    /// did.
    pub fn call(&self, seen: &CallSeen<'_>) -> bool {
        if !self.sampler.keeps(seen.place, seen.end.is_good()) {
            return false;
        }
        // Room first: a call that finds none costs nothing.
        match self.calls.try_reserve() {
            Ok(room) => {
                room.send(Box::new(Kept::of(seen)));
                true
            }
            Err(_full_or_closed) => {
                self.exports.dropped(Dropped::QueueFull, spans::count(seen));
                false
            }
        }
    }

    /// Takes the span of a request that was turned away.
    pub fn turned_away(&self, seen: &TurnedAway) {
        if self.door.try_send(*seen).is_err() {
            self.exports.dropped(Dropped::QueueFull, 1);
        }
    }
}

#[cfg(test)]
mod tests;
