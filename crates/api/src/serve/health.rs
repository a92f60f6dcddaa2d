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
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::stores::Stores;

/// How long a database may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a database that answers is said to be.
const OK: &str = "ok";
/// How long one answer stands.
const STANDS: Duration = Duration::from_millis(500);

struct Health {
    stores: Stores,
    /// Behind one lock, so that many who ask at once cause one question.
    last: Mutex<Option<Answer>>,
}

/// What the databases said.
struct Answer {
    at: Instant,
    databases: Map<String, Value>,
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
    let all = answer.databases.values().all(|state| state == OK);
    let body = Json(json!({ "ready": all, "databases": answer.databases }));
    *last = Some(answer);
    let status = if all {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, body)
}

/// Asks every database.
async fn ask(stores: &Stores) -> Answer {
    let mut databases = Map::new();
    let said = within(stores.control.posture()).await;
    databases.insert("control".to_owned(), told("control", said));
    for (pool, region) in &stores.regions {
        let said = within(region.posture()).await;
        databases.insert(pool.as_str().to_owned(), told(pool.as_str(), said));
    }
    Answer {
        at: Instant::now(),
        databases,
    }
}

/// What went wrong, if anything did.
async fn within<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Option<String> {
    match timeout(PATIENCE, asked).await {
        Ok(said) => said.err().map(|error| error.to_string()),
        Err(late) => Some(late.to_string()),
    }
}

fn told(database: &str, fault: Option<String>) -> Value {
    let Some(fault) = fault else {
        return Value::from(OK);
    };
    warn!(database, fault, "not ready");
    Value::from("unreachable")
}
