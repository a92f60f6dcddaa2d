//! `/tenants/{tenant}/records`, and `/records` of the platform's own changes. Records hold commitments to personal values, never the values; this
//! route never reads the encrypted inputs beside them.

use axum::extract;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::id::{Id, Record as RecordKind, Tenant};
use portcullis_domain::{Pool, TraceId};
use portcullis_mcp_runtime::changes::PLATFORM_LEDGER;
use portcullis_store::records::{self, RecordFilter, RecordRow};
use portcullis_wire::api::{Page, Record};
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::State;
use super::access::act;
use super::answer::Listed;
use super::caller::{Permit, Scope};
use super::error::ApiError;
use super::input::{Name, Parameters};
use super::page::{Cursor, Window, window};
use super::query::RecordQuery;

/// What the query asks for, checked.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Trace(TraceId),
    Time(OffsetDateTime, OffsetDateTime),
}

impl Wanted {
    fn read(query: &RecordQuery, now: OffsetDateTime) -> Result<Self, ApiError> {
        match (query.trace_id, query.from, query.to) {
            (Some(trace), None, None) => Ok(Self::Trace(trace)),
            (None, Some(from), to) => {
                // Records of this very moment are wanted too.
                let until = to.unwrap_or(now + time::Duration::minutes(1));
                if from >= until {
                    return Err(ApiError::invalid(
                        "from",
                        "must be before `to`",
                        "Exchange the two, or leave `to` out",
                    ));
                }
                Ok(Self::Time(from, until))
            }
            (Some(_), _, _) => Err(ApiError::invalid(
                "trace_id",
                "cannot be combined with `from` and `to`",
                "Send one or the other",
            )),
            (None, None, _) => Err(ApiError::invalid(
                "(query)",
                "says neither which trace nor which time",
                "Send `trace_id`, or `from` and maybe `to`",
            )),
        }
    }
}

/// List records
///
/// The signed records of one trace, or of a time, newest first, from every pool that keeps some of
/// the tenant's. `record` is, byte for byte, what `leaf` is the hash of.
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/records",
    operation_id = "listRecords",
    tag = "records",
    params(("tenant" = String, Path, description = "The tenant's slug or id"), RecordQuery),
    responses((status = 200, description = "One page, newest first", body = Page<Record>))
)]
pub(super) async fn list(
    permit: Permit<act::RecordRead>,
    extract::State(state): extract::State<State>,
    Name(tenant): Name<String>,
    Parameters(query): Parameters<RecordQuery>,
) -> Result<Listed<Record>, ApiError> {
    let window = window::<Id<RecordKind>>(query.limit, query.cursor.as_deref())?;
    let wanted = Wanted::read(&query, state.now())?;
    let Scope { tenant, .. } = permit.open(&state, &tenant).await?;
    read(&state, tenant.id, wanted, window).await
}

/// List the platform's records
///
/// The signed records of the platform's own changes: its service tokens, its kill switches, its drills.
/// As with a tenant's, they hold commitments to what was changed, never the values. No tenant's record is
/// among them.
#[utoipa::path(
    get,
    path = "/records",
    operation_id = "listPlatformRecords",
    tag = "records",
    params(RecordQuery),
    responses((status = 200, description = "One page, newest first", body = Page<Record>))
)]
pub(super) async fn list_platform(
    _permit: Permit<act::PlatformRecordRead>,
    extract::State(state): extract::State<State>,
    Parameters(query): Parameters<RecordQuery>,
) -> Result<Listed<Record>, ApiError> {
    let window = window::<Id<RecordKind>>(query.limit, query.cursor.as_deref())?;
    let wanted = Wanted::read(&query, state.now())?;
    read(&state, PLATFORM_LEDGER, wanted, window).await
}

/// One page of a ledger, from every pool that keeps some of it.
async fn read(
    state: &State,
    ledger: Id<Tenant>,
    wanted: Wanted,
    window: Window<Id<RecordKind>>,
) -> Result<Listed<Record>, ApiError> {
    let mut found = Vec::new();
    for pool in state.regions().keys().copied() {
        for row in in_pool(state, pool, ledger, wanted, &window).await? {
            found.push((pool, row));
        }
    }
    // Ids grow with time in every pool, so their order is one.
    found.sort_unstable_by_key(|(_, row)| std::cmp::Reverse(row.id));
    let seen = found
        .into_iter()
        .map(|(pool, row)| view(pool, row))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Listed(window.page(
        seen,
        |record| record.id.write(),
        |record| record,
    )))
}

async fn in_pool(
    state: &State,
    pool: Pool,
    tenant: Id<Tenant>,
    wanted: Wanted,
    window: &Window<Id<RecordKind>>,
) -> Result<Vec<RecordRow>, ApiError> {
    let region = state
        .regions()
        .get(&pool)
        .ok_or_else(|| ApiError::Unavailable(format!("the pool {pool} is not configured")))?;
    let mut tx = region.begin(tenant).await?;
    let rows = match wanted {
        Wanted::Trace(trace) => {
            records::by_trace(&mut tx, trace, window.after, window.rows()).await?
        }
        Wanted::Time(from, until) => {
            let filter = RecordFilter {
                from,
                until,
                principal: None,
                before: window.after,
                limit: window.rows(),
            };
            records::list(&mut tx, filter).await?
        }
    };
    Ok(rows)
}

fn view(pool: Pool, row: RecordRow) -> Result<Record, ApiError> {
    let fault = |what: &str| ApiError::Internal(format!("the record {} is no {what}", row.id));
    let text = String::from_utf8(row.canonical).map_err(|_not_text| fault("text"))?;
    Ok(Record {
        id: row.id,
        trace_id: row.trace_id,
        pool,
        record: RawValue::from_string(text).map_err(|_not_json| fault("JSON"))?,
        leaf: hex::encode(row.leaf_hash),
        signature: URL_SAFE_NO_PAD.encode(&row.signature),
        key_id: row.key_id,
    })
}
