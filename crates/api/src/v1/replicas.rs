//! `/replicas`: which processes serve, and how far each has followed.

use axum::{Json, extract};
use portcullis_store::replicas;
use portcullis_wire::api::{Replica, Replicas};

use super::State;
use super::access::act;
use super::caller::Permit;
use super::error::ApiError;

/// List replicas
///
/// Those that registered and did not stop; one that died is on the list for ten minutes.
#[utoipa::path(
    get,
    path = "/replicas",
    operation_id = "listReplicas",
    tag = "switches",
    responses((status = 200, description = "All of them", body = Replicas))
)]
pub(super) async fn list(
    _permit: Permit<act::ReplicaRead>,
    extract::State(state): extract::State<State>,
) -> Result<Json<Replicas>, ApiError> {
    let mut tx = state.control().platform().await?;
    let (epoch, rows) = replicas::list(&mut tx).await?;
    let items = rows
        .into_iter()
        .map(|row| Replica {
            id: row.id,
            started_at: row.started_at,
            confirmed_epoch: row.confirmed_epoch,
            silent_for_ms: u64::try_from(row.silent_for.as_millis()).unwrap_or(u64::MAX),
        })
        .collect();
    Ok(Json(Replicas { epoch, items }))
}
