//! What is read off the rooms when somebody asks for metrics: ages, queues, connections, switches.
//!
//! Everything here is in memory already; a scrape must never ask a database.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use portcullis_domain::Pool;
use portcullis_mcp_runtime::gate::{Gate, Region};
use portcullis_store::Connections;
use portcullis_telemetry::metrics::{Instrument, Reading, Readings};
use time::OffsetDateTime;

use super::health::Health;

const fn gauge(name: &'static str, help: &'static str) -> Instrument {
    Instrument {
        name,
        help,
        counts: false,
    }
}

const fn counter(name: &'static str, help: &'static str) -> Instrument {
    Instrument {
        name,
        help,
        counts: true,
    }
}

static READY: Instrument = gauge(
    "ready",
    "1 where the replica takes calls, by what it knows and by what its regional databases last answered",
);
static UNDER_WAY: Instrument = gauge("calls_under_way", "Calls that a tool works on now");
static EPOCH_AGE: Instrument = gauge(
    "epoch_age_seconds",
    "How long ago the replica's configuration was confirmed; after 2 s it refuses changes, after 10 s \
     everything",
);
static EPOCH: Instrument = gauge(
    "epoch",
    "The newest epoch of the configuration that was heard of",
);
static TENANTS: Instrument = gauge("tenants_held", "Tenants that the replica holds in memory");
static SWITCHES: Instrument = gauge("switches_down", "Kill switches that are down");
static SWITCH_AGE: Instrument = gauge(
    "switch_oldest_seconds",
    "For how long the oldest kill switch of a kind has been down",
);
static OUTBOX: Instrument = gauge(
    "outbox_lag_seconds",
    "The age of the oldest administrative change that could not be taken to the ledger",
);
static UNCLOSED: Instrument = gauge(
    "claims_unclosed",
    "Calls of dead replicas that could not be closed, as far as this replica tried: their idempotency \
     keys stay taken",
);
static UNCLOSED_AGE: Instrument = gauge(
    "claims_unclosed_oldest_seconds",
    "For how long the oldest of them could not be closed",
);
static CONNECTIONS: Instrument = gauge("database_connections", "Connections to a database");
static CONNECTIONS_MOST: Instrument = gauge(
    "database_connections_limit",
    "As many connections to a database as there may be",
);
static WAITING: Instrument = gauge("records_waiting", "Records that wait for a commit");
static BATCHES: Instrument = counter("record_commits", "Commits of records");
static WRITTEN: Instrument = counter("records_flushed", "Records that those commits held");
static WRITING: Instrument = counter(
    "record_commit_seconds",
    "The time of those commits, all added up",
);
static NOT_TAKEN: Instrument = counter(
    "records_not_taken",
    "Records that were not taken, since too many waited or the replica stops",
);

/// What the jobs beside answering could not do, as the replica knows that had their turn.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// When the oldest administrative change was made that waits: milliseconds since 1970; 0 where
    /// nothing waits or nothing is known.
    oldest: AtomicI64,
    /// How many claims could not be closed, and since when.
    unclosed: Mutex<BTreeMap<Pool, (usize, OffsetDateTime)>>,
}

impl Backlog {
    /// Notes what was left by a look at every outbox.
    pub(super) fn note(&self, oldest: Option<OffsetDateTime>) {
        let millis = oldest.map_or(0, |at| {
            i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
        });
        self.oldest.store(millis, Ordering::Relaxed);
    }

    /// Notes how many claims of a pool could not be closed, and since when the oldest could not.
    pub(super) fn note_unclosed(&self, pool: Pool, number: usize, since: Option<OffsetDateTime>) {
        let mut unclosed = self.held();
        match since {
            Some(since) => unclosed.insert(pool, (number, since)),
            None => unclosed.remove(&pool),
        };
    }

    /// Of each pool where there are any, how many claims could not be closed.
    pub(super) fn unclosed(&self) -> BTreeMap<Pool, usize> {
        let unclosed = self.held();
        unclosed
            .iter()
            .map(|(pool, (number, _))| (*pool, *number))
            .collect()
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Pool, (usize, OffsetDateTime)>> {
        // Nothing panics while it holds the lock; if it did, the counts would still be whole.
        self.unclosed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unclosed_readings(
        &self,
        pools: impl Iterator<Item = Pool>,
        now: OffsetDateTime,
    ) -> Vec<Reading> {
        let unclosed = self.held();
        let readings = pools.flat_map(|pool| {
            let (number, age) = unclosed.get(&pool).map_or((0, 0.0), |(number, since)| {
                (*number, (now - *since).as_seconds_f64().max(0.0))
            });
            [(&UNCLOSED, count(number)), (&UNCLOSED_AGE, age)].map(|(instrument, value)| Reading {
                instrument,
                labels: vec![("pool", pool.as_str())],
                value,
            })
        });
        readings.collect()
    }

    fn age_seconds(&self, now: OffsetDateTime) -> f64 {
        match self.oldest.load(Ordering::Relaxed) {
            0 => 0.0,
            millis => {
                let since = time::Duration::milliseconds(millis);
                let age = now - (OffsetDateTime::UNIX_EPOCH + since);
                age.as_seconds_f64().max(0.0)
            }
        }
    }
}

/// Reads a gate. It is told which one after the gate was made, since the gate knows who observes it.
#[derive(Clone, Default)]
pub(super) struct GateReadings {
    gate: Arc<OnceLock<(Weak<Gate>, Weak<Health>)>>,
    backlog: Arc<Backlog>,
}

impl fmt::Debug for GateReadings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateReadings").finish_non_exhaustive()
    }
}

impl GateReadings {
    /// Says which gate, and whose health.
    pub(super) fn of(&self, gate: &Arc<Gate>, health: &Arc<Health>) {
        // A replica has one gate; a second would not be read.
        let _first = self
            .gate
            .set((Arc::downgrade(gate), Arc::downgrade(health)));
    }

    /// What the relay tells.
    pub(super) fn backlog(&self) -> Arc<Backlog> {
        Arc::clone(&self.backlog)
    }
}

impl Readings for GateReadings {
    fn read(&self) -> Vec<Reading> {
        let read = self
            .gate
            .get()
            .map(|(gate, health)| (gate.upgrade(), health.upgrade()));
        let Some((Some(gate), Some(health))) = read else {
            return Vec::new();
        };
        let now = gate.clock.now();
        let mut found = vec![
            plain(&READY, f64::from(u8::from(health.last_ready()))),
            plain(&UNDER_WAY, count(gate.switchboard.under_way())),
            plain(&EPOCH_AGE, gate.snapshots.staleness().as_secs_f64()),
            plain(&EPOCH, large(gate.snapshots.epoch().unsigned_abs())),
            plain(&TENANTS, large(gate.snapshots.held())),
            plain(&OUTBOX, self.backlog.age_seconds(now)),
        ];
        found.extend(
            self.backlog
                .unclosed_readings(gate.regions.keys().copied(), now),
        );
        found.extend(switches(&gate, now));
        found.extend(connections(&gate));
        found.extend(writers(&gate));
        found
    }
}

fn plain(instrument: &'static Instrument, value: f64) -> Reading {
    Reading {
        instrument,
        labels: Vec::new(),
        value,
    }
}

/// A number that is far below 2^53 in practice; beyond, its neighbour is shown.
fn large(number: u64) -> f64 {
    let high = u32::try_from(number >> 32).unwrap_or(u32::MAX);
    let low = u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    f64::from(high).mul_add(4_294_967_296.0, f64::from(low))
}

fn count(number: usize) -> f64 {
    large(u64::try_from(number).unwrap_or(u64::MAX))
}

fn switches(gate: &Gate, now: OffsetDateTime) -> Vec<Reading> {
    let down = gate.switchboard.down(now);
    let of = |instrument, value: fn(usize, time::Duration) -> f64| {
        let down = down.iter();
        down.map(move |(kind, number, age)| Reading {
            instrument,
            labels: vec![("kind", kind.as_str())],
            value: value(*number, *age),
        })
    };
    of(&SWITCHES, |number, _| count(number))
        .chain(of(&SWITCH_AGE, |_, age| age.as_seconds_f64()))
        .collect()
}

fn connections(gate: &Gate) -> Vec<Reading> {
    let regions = gate.regions.iter();
    let regions = regions.map(|(pool, region)| (pool.as_str(), region.store.connections()));
    let mut databases = vec![("control", gate.control.connections())];
    databases.extend(regions);
    let by_state = databases.iter().flat_map(|(database, connections)| {
        let Connections { used, idle, .. } = *connections;
        [("used", used), ("idle", idle)].map(|(state, number)| Reading {
            instrument: &CONNECTIONS,
            labels: vec![("database", *database), ("state", state)],
            value: f64::from(number),
        })
    });
    let most = databases.iter().map(|(database, connections)| Reading {
        instrument: &CONNECTIONS_MOST,
        labels: vec![("database", *database)],
        value: f64::from(connections.most),
    });
    by_state.chain(most).collect()
}

fn writers(gate: &Gate) -> Vec<Reading> {
    let regions = gate.regions.iter();
    let counts: Vec<_> = regions
        .map(|(pool, Region { writer, .. })| (pool.as_str(), writer.counts()))
        .collect();
    let of = |instrument, value: fn(&portcullis_store::writer::WriterCounts) -> f64| {
        counts.iter().map(move |(pool, counts)| Reading {
            instrument,
            labels: vec![("pool", *pool)],
            value: value(counts),
        })
    };
    of(&WAITING, |counts| count(counts.waiting))
        .chain(of(&BATCHES, |counts| large(counts.batches)))
        .chain(of(&WRITTEN, |counts| large(counts.records)))
        .chain(of(&WRITING, |counts| counts.writing.as_secs_f64()))
        .chain(of(&NOT_TAKEN, |counts| large(counts.not_taken)))
        .collect()
}
