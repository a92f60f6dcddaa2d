//! The snapshots of this replica: loaded on first use, forgotten when idle, replaced when the epoch
//! says that the tenant changed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use portcullis_domain::Clock;
use portcullis_domain::id::{Id, Tenant};
use portcullis_keys::LocalKeys;
use portcullis_store::replicas::{PATIENCE, PATIENCE_MUTATING};
use portcullis_store::{ControlStore, StoreError, tenants};
use tokio::sync::SetOnce;
use tokio::time::Instant;

use super::compile::{CompileError, Compiler, ToolCache};
use super::{DefaultLimits, TenantKey, TenantSnapshot};

/// How long an unused snapshot is kept.
const IDLE: Duration = Duration::from_mins(10);
/// How long it is remembered that a tenant does not exist or does not load: bounds what asking again
/// and again costs the database.
const FAILED: Duration = Duration::from_secs(1);
/// How long a load may take.
const LOAD: Duration = Duration::from_secs(5);
/// How many loads a caller waits for. The first may have begun before the caller came; the second
/// began after, and has read whatever was heard of by then.
const LOADS: u32 = 3;
/// The most snapshots a replica keeps.
const CAPACITY: u64 = 20_000;

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// No tenant has this name.
    #[error("there is no such tenant")]
    NoTenant,
    /// The control database did not answer.
    #[error("the tenant's configuration could not be read")]
    Store(#[source] StoreError),
    /// The tenant's configuration does not compile.
    #[error("the tenant's configuration does not compile")]
    Compile(#[source] CompileError),
    /// The control database neither answered nor broke off.
    #[error("the tenant's configuration was not read within {0} s")]
    Slow(u64),
    /// The control database has been out of reach for too long.
    #[error("the control database has not been reached for {0} s")]
    Stale(u64),
    /// What was read is older than a change that was heard of: the control database went back.
    #[error("the tenant's configuration is older than a change that was announced")]
    Outdated,
}

/// How well a replica knows its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It has confirmed the epoch just now.
    Confirmed,
    /// It has not confirmed it for 2 s: calls that change something are refused.
    Late,
    /// It has not confirmed it for 10 s, or never: every call is refused.
    Lost,
}

/// Every snapshot of this replica.
#[derive(Debug)]
pub struct Snapshots {
    control: ControlStore,
    keys: Arc<LocalKeys>,
    clock: Arc<dyn Clock>,
    default_limits: DefaultLimits,
    tools: ToolCache,
    by_slug: moka::future::Cache<String, Arc<TenantSnapshot>>,
    failed: moka::sync::Cache<String, Arc<SnapshotError>>,
    /// The newest epoch at which each tenant changed, as far as this replica heard.
    changed: RwLock<HashMap<Id<Tenant>, i64>>,
    /// The newest epoch at which every tenant may have changed.
    all_changed: AtomicI64,
    /// The newest epoch at which anything changed, as far as this replica heard.
    heard: AtomicI64,
    started: Instant,
    /// Milliseconds from `started` to the last confirmation of the epoch.
    confirmed_millis: AtomicU64,
    /// Set with the first confirmation.
    first: SetOnce<()>,
}

impl Snapshots {
    /// An empty set. `default_limits` are those of principals and tenants without their own.
    pub fn new(
        control: ControlStore,
        keys: Arc<LocalKeys>,
        clock: Arc<dyn Clock>,
        default_limits: DefaultLimits,
    ) -> Self {
        Self {
            control,
            keys,
            clock,
            default_limits,
            tools: ToolCache::builder()
                .time_to_idle(IDLE)
                .max_capacity(CAPACITY)
                .build(),
            by_slug: moka::future::Cache::builder()
                .time_to_idle(IDLE)
                .max_capacity(CAPACITY)
                .build(),
            failed: moka::sync::Cache::builder()
                .time_to_live(FAILED)
                .max_capacity(CAPACITY)
                .build(),
            changed: RwLock::new(HashMap::new()),
            all_changed: AtomicI64::new(0),
            heard: AtomicI64::new(0),
            started: Instant::now(),
            confirmed_millis: AtomicU64::new(0),
            first: SetOnce::new(),
        }
    }

    /// The tenant's data key, whether or not its configuration compiles.
    ///
    /// # Errors
    /// When the control database does not answer, or the key cannot be unwrapped.
    pub(crate) async fn data_key(&self, tenant: Id<Tenant>) -> Result<TenantKey, CompileError> {
        self.compiler().data_key(tenant).await
    }

    fn compiler(&self) -> Compiler<'_> {
        Compiler {
            control: &self.control,
            keys: &self.keys,
            clock: self.clock.as_ref(),
            tools: &self.tools,
            default_limits: self.default_limits,
        }
    }

    /// The tenant's snapshot if this replica holds it and it is not outdated.
    pub async fn known(&self, slug: &str) -> Option<Arc<TenantSnapshot>> {
        let snapshot = self.by_slug.get(slug).await?;
        (snapshot.epoch >= self.changed_at(snapshot.id) && self.check_fresh().is_ok())
            .then_some(snapshot)
    }

    /// The tenant's snapshot, at least as new as every change that this replica had heard of when it
    /// was asked. What it hears of meanwhile is for the next call: a tenant that changes faster than
    /// it can be read is served all the same.
    ///
    /// # Errors
    /// When there is no such tenant, when its configuration cannot be read or compiled, and when the
    /// control database has been out of reach for 10 s.
    pub async fn get(&self, slug: &str) -> Result<Arc<TenantSnapshot>, Arc<SnapshotError>> {
        let asked = self.heard.load(Ordering::SeqCst);
        self.check_fresh()?;
        if let Some(snapshot) = self.known(slug).await {
            return Ok(snapshot);
        }
        if let Some(error) = self.failed.get(slug) {
            return Err(error);
        }
        // Callers that miss together load once. A load that was under way when this one came may
        // have read too early: then the next is waited for.
        for _ in 0..LOADS {
            self.drop_outdated(slug).await;
            let loaded = self
                .by_slug
                .try_get_with_by_ref(slug, self.load_in_time(slug))
                .await;
            let snapshot = loaded.inspect_err(|error| {
                self.failed.insert(slug.to_owned(), Arc::clone(error));
            })?;
            if snapshot.epoch >= asked.min(self.changed_at(snapshot.id)) {
                return Ok(snapshot);
            }
        }
        Err(Arc::new(SnapshotError::Outdated))
    }

    async fn drop_outdated(&self, slug: &str) {
        if let Some(snapshot) = self.by_slug.get(slug).await
            && snapshot.epoch < self.changed_at(snapshot.id)
        {
            self.by_slug.invalidate(slug).await;
        }
    }

    /// A database that neither answers nor breaks off must not hold callers for ever.
    async fn load_in_time(&self, slug: &str) -> Result<Arc<TenantSnapshot>, SnapshotError> {
        match tokio::time::timeout(LOAD, self.load(slug)).await {
            Ok(loaded) => loaded,
            Err(_elapsed) => Err(SnapshotError::Slow(LOAD.as_secs())),
        }
    }

    async fn load(&self, slug: &str) -> Result<Arc<TenantSnapshot>, SnapshotError> {
        let mut tx = self
            .control
            .platform()
            .await
            .map_err(SnapshotError::Store)?;
        let found = tenants::by_slug(&mut tx, slug)
            .await
            .map_err(SnapshotError::Store)?;
        tx.commit().await.map_err(SnapshotError::Store)?;
        let tenant = found.ok_or(SnapshotError::NoTenant)?.id;
        let now = self.clock.now();
        let rows = portcullis_store::snapshot::load(&self.control, tenant, now)
            .await
            .map_err(SnapshotError::Store)?;
        self.compiler()
            .compile(rows)
            .await
            .map(Arc::new)
            .map_err(SnapshotError::Compile)
    }

    /// Says that a tenant changed at an epoch; its snapshot is loaded anew at its next use.
    pub fn note_change(&self, tenant: Id<Tenant>, epoch: i64) {
        self.heard.fetch_max(epoch, Ordering::SeqCst);
        let mut changed = self.changed.write().unwrap_or_else(PoisonError::into_inner);
        let at = changed.entry(tenant).or_insert(0);
        *at = epoch.max(*at);
    }

    /// Says that any tenant may have changed up to an epoch.
    pub fn note_everything(&self, epoch: i64) {
        self.heard.fetch_max(epoch, Ordering::SeqCst);
        self.all_changed.fetch_max(epoch, Ordering::SeqCst);
    }

    /// Says that the epoch was read from the database by a question sent at `asked`.
    pub fn confirm(&self, asked: Instant) {
        let millis = asked.saturating_duration_since(self.started).as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        self.confirmed_millis.fetch_max(millis, Ordering::SeqCst);
        // Every later confirmation finds it set.
        let _set_before = self.first.set(());
    }

    /// The newest epoch that this replica heard of.
    pub fn epoch(&self) -> i64 {
        self.heard.load(Ordering::SeqCst)
    }

    /// How many tenants are held.
    pub fn held(&self) -> u64 {
        self.by_slug.entry_count()
    }

    /// Waits until the epoch was confirmed for the first time.
    pub async fn first_confirmation(&self) {
        self.first.wait().await;
    }

    /// How well this replica knows its configuration.
    pub fn freshness(&self) -> Freshness {
        let staleness = self.staleness();
        if staleness > PATIENCE || !self.first.initialized() {
            Freshness::Lost
        } else if staleness > PATIENCE_MUTATING {
            Freshness::Late
        } else {
            Freshness::Confirmed
        }
    }

    /// How long ago the epoch was confirmed, or, where it never was, this replica started.
    pub fn staleness(&self) -> Duration {
        let confirmed = Duration::from_millis(self.confirmed_millis.load(Ordering::SeqCst));
        self.started.elapsed().saturating_sub(confirmed)
    }

    fn check_fresh(&self) -> Result<(), Arc<SnapshotError>> {
        match self.freshness() {
            Freshness::Confirmed | Freshness::Late => Ok(()),
            Freshness::Lost => Err(Arc::new(SnapshotError::Stale(self.staleness().as_secs()))),
        }
    }

    fn changed_at(&self, tenant: Id<Tenant>) -> i64 {
        let changed = self.changed.read().unwrap_or_else(PoisonError::into_inner);
        let own = changed.get(&tenant).copied().unwrap_or(0);
        own.max(self.all_changed.load(Ordering::SeqCst))
    }
}
