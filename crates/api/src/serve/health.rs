//! `/livez` and `/readyz`: whether the process runs, and whether it can answer calls.
//!
//! Neither needs a token, so neither tells more than that; and asking often costs the databases
//! nothing, since one answer stands for a while.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use portcullis_store::StoreError;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::stores::Stores;

/// How long a database may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long one answer stands.
const STANDS: Duration = Duration::from_millis(500);

struct Health {
    stores: Stores,
    /// Behind one lock, so that many who ask at once cause one question.
    last: Mutex<Option<Answer>>,
}

/// Whether every database answered.
#[derive(Clone, Copy)]
struct Answer {
    at: Instant,
    ready: bool,
}

/// The two routes.
pub(super) fn router(stores: Stores) -> Router {
    let health = Arc::new(Health {
        stores,
        last: Mutex::new(None),
    });
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .with_state(health)
}

async fn ready(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let mut last = health.last.lock().await;
    let fresh = last.take().filter(|answer| answer.at.elapsed() < STANDS);
    let answer = match fresh {
        Some(answer) => answer,
        None => ask(&health.stores).await,
    };
    *last = Some(answer);
    let status = if answer.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(json!({ "ready": answer.ready })))
}

/// Asks every database. Which one does not answer stands in the log alone.
async fn ask(stores: &Stores) -> Answer {
    let said = within(stores.control.posture()).await;
    let mut ready = answered("control", said);
    for (pool, region) in &stores.regions {
        let said = within(region.posture()).await;
        ready &= answered(pool.as_str(), said);
    }
    Answer {
        at: Instant::now(),
        ready,
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
