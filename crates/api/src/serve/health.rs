//! `/livez` and `/readyz`: whether the process runs, and whether it is worth sending it calls: it is
//! not stopping, it knows its configuration, and its regional databases answer.
//!
//! Neither needs a token, so neither tells more than that; and asking often costs the databases
//! nothing, since one answer stands for a while. The admin listener tells more, at `/health`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use portcullis_domain::Pool;
use portcullis_mcp_runtime::gate::Gate;
use portcullis_mcp_runtime::snapshot::Freshness;
use portcullis_store::{RegionStore, StoreError};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::readings::Backlog;

/// How long a database may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long one answer stands.
const STANDS: Duration = Duration::from_millis(500);

/// What is known of a replica's health.
pub(super) struct Health {
    gate: Arc<Gate>,
    regions: BTreeMap<Pool, RegionStore>,
    stopping: CancellationToken,
    backlog: Arc<Backlog>,
    /// Behind one lock, so that many who ask at once cause one question.
    last: Mutex<Option<Answer>>,
    /// Whether all regional databases answered the last time.
    regions_answered: AtomicBool,
}

/// Which regional databases answered.
#[derive(Clone)]
struct Answer {
    at: Instant,
    answered: BTreeMap<Pool, bool>,
}

impl Answer {
    fn ready(&self) -> bool {
        self.answered.values().all(|answered| *answered)
    }
}

/// The two routes that everybody reaches.
pub(super) fn router(health: &Arc<Health>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .with_state(Arc::clone(health))
}

/// The same and the details, for the admin listener.
pub(super) fn details(health: &Arc<Health>) -> Router {
    let details = Router::new()
        .route("/health", get(detailed))
        .with_state(Arc::clone(health));
    details.merge(router(health))
}

async fn detailed(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let gate = &health.gate;
    let answer = health.answer().await;
    let freshness = match gate.snapshots.freshness() {
        Freshness::Confirmed => "confirmed",
        Freshness::Late => "late",
        Freshness::Lost => "lost",
    };
    let now = gate.clock.now();
    let switches: BTreeMap<_, _> = gate
        .switchboard
        .down(now)
        .into_iter()
        .map(|(kind, number, _)| (kind.as_str(), number))
        .collect();
    Json(json!({
        "ready": health.serves() && answer.ready(),
        "stopping": health.stopping.is_cancelled(),
        "read_only": gate.settings.read_only,
        "replica": gate.replica,
        "version": env!("CARGO_PKG_VERSION"),
        "configuration": {
            "state": freshness,
            "epoch": gate.snapshots.epoch(),
            "confirmed_seconds_ago": gate.snapshots.staleness().as_secs_f64(),
        },
        "regions_answer": answer.answered,
        "switches_down": switches,
        "claims_unclosed": health.backlog.unclosed(),
        "calls_under_way": gate.switchboard.under_way(),
    }))
}

async fn ready(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let ready = health.serves() && health.answer().await.ready();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(json!({ "ready": ready })))
}

impl Health {
    /// Of a gate. `stopping` is cancelled when the replica is asked to stop.
    pub(super) fn new(
        gate: Arc<Gate>,
        regions: BTreeMap<Pool, RegionStore>,
        backlog: Arc<Backlog>,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            gate,
            regions,
            stopping,
            backlog,
            last: Mutex::new(None),
            regions_answered: AtomicBool::new(true),
        })
    }

    /// What the replica knows of itself. Out of touch with the control database for a while, it still
    /// answers calls that only read.
    fn serves(&self) -> bool {
        if self.stopping.is_cancelled() {
            return false;
        }
        match self.gate.snapshots.freshness() {
            Freshness::Confirmed | Freshness::Late => true,
            Freshness::Lost => {
                warn!(
                    database = "control",
                    "not ready: the epoch is not confirmed"
                );
                false
            }
        }
    }

    /// Whether the replica takes calls, as far as it knows without asking anybody: `/readyz` asks.
    pub(super) fn last_ready(&self) -> bool {
        let regions = self.regions_answered.load(Ordering::Relaxed);
        let lost = matches!(self.gate.snapshots.freshness(), Freshness::Lost);
        regions && !lost && !self.stopping.is_cancelled()
    }

    async fn answer(&self) -> Answer {
        let mut last = self.last.lock().await;
        let fresh = last.take().filter(|answer| answer.at.elapsed() < STANDS);
        let answer = match fresh {
            Some(answer) => answer,
            None => self.ask().await,
        };
        *last = Some(answer.clone());
        answer
    }

    /// Asks every regional database. Which one does not answer stands in the log alone.
    async fn ask(&self) -> Answer {
        let mut found = BTreeMap::new();
        for (pool, region) in &self.regions {
            let said = within(region.posture()).await;
            found.insert(*pool, answered(pool.as_str(), said));
        }
        let answer = Answer {
            at: Instant::now(),
            answered: found,
        };
        self.regions_answered
            .store(answer.ready(), Ordering::Relaxed);
        answer
    }
}

/// What went wrong, if anything did.
async fn within<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Option<String> {
    match timeout(PATIENCE, asked).await {
        Ok(said) => said.err().map(|error| error.to_string()),
        Err(late) => Some(late.to_string()),
    }
}

fn answered(database: &str, fault: Option<String>) -> bool {
    if let Some(fault) = &fault {
        warn!(database, fault, "not ready");
    }
    fault.is_none()
}
