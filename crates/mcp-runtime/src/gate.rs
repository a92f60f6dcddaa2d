//! What every room needs: the databases, the keys, the clock, the tenants' snapshots.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis_domain::id::{Id, Replica};
use portcullis_domain::observation::Observer;
use portcullis_domain::{Clock, Pool};
use portcullis_keys::LocalKeys;
use portcullis_store::{ControlStore, RecordWriter, RegionStore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connectors::Connectors;
use crate::refusals::RefusalCounts;
use crate::rooms::admit::Turnstiles;
use crate::snapshot::Snapshots;
use crate::switchboard::Switchboard;
use crate::token::{NetworkPrefix, TokenVerifier};

/// Settings of the gate, validated by whoever read them.
#[derive(Debug, Clone)]
pub struct GateSettings {
    /// The platform's outside address, without a slash at the end.
    pub public_url: String,
    /// Hosts that requests may name; compared without case.
    pub allowed_hosts: Vec<String>,
    /// Web origins that may call; without any, every request that has an `Origin` is refused.
    pub allowed_origins: Vec<String>,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// How much of a client's address counts when a token is bound to its network.
    pub network_prefix: NetworkPrefix,
    /// How long a request body may take to arrive.
    pub body_deadline: Duration,
    /// How long a call may take, from its admission to its record.
    pub call_deadline: Duration,
    /// Whether this replica refuses every call that changes something.
    pub read_only: bool,
}

/// A pool's database: what tools read, and what takes records.
#[derive(Debug)]
pub struct Region {
    /// Reads and writes under a tenant.
    pub store: RegionStore,
    /// Takes records.
    pub writer: RecordWriter,
}

/// The gate of one replica.
#[derive(Debug)]
pub struct Gate {
    /// Settings.
    pub settings: GateSettings,
    /// This process, as records and the replica registry name it.
    pub replica: Id<Replica>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Signs receipts, wraps data keys, hashes addresses.
    pub keys: Arc<LocalKeys>,
    /// The control database.
    pub control: ControlStore,
    /// The regional databases.
    pub regions: HashMap<Pool, Region>,
    /// The tenants that this replica serves.
    pub snapshots: Snapshots,
    /// The kill switches that are down, and the calls under way.
    pub switchboard: Switchboard,
    /// Checks access tokens.
    pub verifier: TokenVerifier,
    /// Rates and concurrency.
    pub turnstiles: Turnstiles,
    /// Refusals of rooms 1 and 2, on their way to count records.
    pub refusals: RefusalCounts,
    /// Sees calls when they are over.
    pub observer: Arc<dyn Observer>,
    /// What runs permitted calls.
    pub connectors: Connectors,
    /// The tasks that shutdown waits for.
    pub tasks: TaskTracker,
    /// Cancelled when the replica stops and has waited long enough: calls under way are then
    /// cancelled, and recorded as such.
    pub stopping: CancellationToken,
}
