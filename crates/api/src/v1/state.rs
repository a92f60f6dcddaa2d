//! What the management API works with. The composition root makes it, tests make it with a clock and
//! databases of their own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis_domain::id::{Id, Kind};
use portcullis_domain::{Clock, Limits, Pool, StopRules, ToolDefinition};
use portcullis_egress::{InternalNetworks, Resolve};
use portcullis_keys::{EntropyError, entropy};
use portcullis_mcp_runtime::token::TrustedProxies;
use portcullis_store::{ControlStore, RegionStore};
use time::OffsetDateTime;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::error::ApiError;
use crate::attempts::Attempts;

/// How long a network that failed too often waits for its turn.
const TURN: Duration = Duration::from_secs(1);

/// What the management API works with. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct State(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: Parts,
    attempts: Attempts,
    turns: Semaphore,
}

/// The parts of a [`State`].
#[derive(Debug)]
pub struct Parts {
    /// The control database.
    pub control: ControlStore,
    /// The database of each pool that this replica reaches.
    pub regions: BTreeMap<Pool, RegionStore>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// The proxies whose `Forwarded` header is believed.
    pub proxies: TrustedProxies,
    /// The server's public origin, without a slash at its end.
    pub public_url: String,
    /// What is in force where nothing else is set.
    pub defaults: Defaults,
    /// What a new tenant begins with.
    pub baseline: Baseline,
    /// What the platform's operator opened of the inside to tool servers.
    pub networks: Arc<InternalNetworks>,
    /// Who is asked for the addresses of a name.
    pub resolver: Arc<dyn Resolve>,
}

/// Limits where none are set.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// Of a whole tenant.
    pub tenant: (Limits, StopRules),
    /// Of a principal; new ones start with these.
    pub principal: (Limits, StopRules),
}

/// What a new tenant begins with.
#[derive(Debug, Clone, Default)]
pub struct Baseline {
    /// The text of its first policy, published at once. None: it begins with nothing allowed.
    pub policy: Option<String>,
    /// Its first tools, each with the name of its connector.
    pub tools: Vec<(String, ToolDefinition)>,
}

impl State {
    /// A state of these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            parts,
            attempts: Attempts::new(),
            turns: Semaphore::new(1),
        }))
    }

    /// The control database.
    pub(super) fn control(&self) -> &ControlStore {
        &self.0.parts.control
    }

    /// The regional databases.
    pub(super) fn regions(&self) -> &BTreeMap<Pool, RegionStore> {
        &self.0.parts.regions
    }

    /// Limits where none are set.
    pub(super) fn defaults(&self) -> &Defaults {
        &self.0.parts.defaults
    }

    /// What a new tenant begins with.
    pub(super) fn baseline(&self) -> &Baseline {
        &self.0.parts.baseline
    }

    /// Failures to show a service token that works.
    pub(super) fn attempts(&self) -> &Attempts {
        &self.0.attempts
    }

    /// A turn to be looked up for networks that failed too often: one at a time. None where it does
    /// not come within a second.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        timeout(TURN, self.0.turns.acquire()).await.ok()?.ok()
    }

    /// The proxies whose `Forwarded` header is believed.
    pub(super) fn proxies(&self) -> &TrustedProxies {
        &self.0.parts.proxies
    }

    /// What the platform's operator opened of the inside to tool servers.
    pub(super) fn networks(&self) -> &InternalNetworks {
        &self.0.parts.networks
    }

    /// Who is asked for the addresses of a name.
    pub(super) fn resolver(&self) -> &dyn Resolve {
        self.0.parts.resolver.as_ref()
    }

    /// The time.
    pub(super) fn now(&self) -> OffsetDateTime {
        self.0.parts.clock.now()
    }

    /// Where a tenant's agents call tools.
    pub(super) fn mcp_url(&self, slug: &str) -> String {
        format!("{}/t/{slug}/mcp", self.0.parts.public_url)
    }

    /// A new id.
    pub(super) fn mint<K: Kind>(&self) -> Result<Id<K>, ApiError> {
        let random = entropy::random().map_err(|error| no_entropy(&error))?;
        Ok(Id::mint(self.now(), random))
    }
}

/// The random bytes of a new secret.
pub(super) fn secret_bytes() -> Result<Zeroizing<[u8; 32]>, ApiError> {
    let mut bytes = Zeroizing::new([0; 32]);
    entropy::fill(bytes.as_mut_slice()).map_err(|error| no_entropy(&error))?;
    Ok(bytes)
}

fn no_entropy(error: &EntropyError) -> ApiError {
    ApiError::unavailable(error)
}
