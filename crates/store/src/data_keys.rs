//! Per-tenant data keys, wrapped by a key that no database holds.

use portcullis_domain::Id;
use portcullis_domain::id::DataKey;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::control::ControlTx;
use crate::error::{StoreError, sort};

/// A wrapped data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKeyRow {
    /// Its id.
    pub id: Id<DataKey>,
    /// What it encrypts.
    pub purpose: String,
    /// The wrapped key.
    pub wrapped: Vec<u8>,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

struct Raw {
    id: Uuid,
    purpose: String,
    wrapped: Vec<u8>,
    created_at: OffsetDateTime,
}

impl From<Raw> for DataKeyRow {
    fn from(raw: Raw) -> Self {
        Self {
            id: Id::from_row(raw.id),
            purpose: raw.purpose,
            wrapped: raw.wrapped,
            created_at: raw.created_at,
        }
    }
}

/// Stores a wrapped key unless the tenant has one for this purpose, and gives back the one it has.
/// Two replicas that make one at the same moment get the same.
///
/// # Errors
/// `NotFound` where the tenant does not exist, `Invalid` where a value is outside its bounds.
pub async fn insert_if_none(
    tx: &mut ControlTx,
    id: Id<DataKey>,
    purpose: &str,
    wrapped: &[u8],
    now: OffsetDateTime,
) -> Result<DataKeyRow, StoreError> {
    let operation = "store data key";
    let tenant = tx.tenant().as_uuid();
    sqlx::query!(
        "insert into data_keys (tenant_id, id, purpose, wrapped, created_at)
         values ($1, $2, $3, $4, $5) on conflict (tenant_id, purpose) do nothing",
        tenant,
        id.as_uuid(),
        purpose,
        wrapped,
        now
    )
    .execute(tx.connection())
    .await
    .map_err(sort(operation))?;
    // A second statement sees what a concurrent insert committed while the first waited for it.
    current(tx, purpose)
        .await?
        .ok_or(StoreError::NotFound { operation })
}

/// The tenant's key for a purpose, if it has one.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn current(tx: &mut ControlTx, purpose: &str) -> Result<Option<DataKeyRow>, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let found = sqlx::query_as!(
        Raw,
        "select id, purpose, wrapped, created_at from data_keys
         where tenant_id = $1 and purpose = $2",
        tenant,
        purpose
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort("read data key"))?;
    Ok(found.map(DataKeyRow::from))
}

/// A key by its id, for what was encrypted with it.
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn get(tx: &mut ControlTx, id: Id<DataKey>) -> Result<Option<DataKeyRow>, StoreError> {
    let tenant = tx.tenant().as_uuid();
    let found = sqlx::query_as!(
        Raw,
        "select id, purpose, wrapped, created_at from data_keys where tenant_id = $1 and id = $2",
        tenant,
        id.as_uuid()
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(sort("read data key"))?;
    Ok(found.map(DataKeyRow::from))
}
