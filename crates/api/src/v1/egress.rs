//! `/tenants/{tenant}/egress-allowlist`.

use axum::extract;
use portcullis_mcp_runtime::connectors::http::Allowlist;
use portcullis_store::egress_allowlists::{self, AllowlistRow};
use portcullis_wire::api::{EgressAllowlist, PutEgressAllowlist};
use serde_json::json;

use super::State;
use super::access::{Action, act};
use super::answer::Versioned;
use super::caller::{Permit, Scope};
use super::change::Change;
use super::error::ApiError;
use super::etag::{ETag, IfMatch};
use super::input::{JsonBody, Name};

/// One that was never set is empty, in version 0.
fn view(row: Option<AllowlistRow>) -> Versioned<EgressAllowlist> {
    let (hosts, version) = row.map_or((Vec::new(), 0), |row| (row.hosts, row.version));
    Versioned(
        EgressAllowlist { hosts, version },
        ETag::of_version(version),
    )
}

/// Show the hosts that tools may call
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/egress-allowlist",
    operation_id = "getEgressAllowlist",
    tag = "tools",
    params(("tenant" = String, Path, description = "The tenant's slug or id")),
    responses((status = 200, description = "The allow-list", body = EgressAllowlist))
)]
pub(super) async fn get(
    permit: Permit<act::EgressRead>,
    extract::State(state): extract::State<State>,
    Name(tenant): Name<String>,
) -> Result<Versioned<EgressAllowlist>, ApiError> {
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    Ok(view(egress_allowlists::get(&mut tx).await?))
}

/// Set the hosts that tools may call
///
/// Policy sees whether a tool's hosts are listed; the default policy denies those that are not. It
/// opens nothing that is not public.
#[utoipa::path(
    put,
    path = "/tenants/{tenant}/egress-allowlist",
    operation_id = "putEgressAllowlist",
    tag = "tools",
    params(("tenant" = String, Path, description = "The tenant's slug or id")),
    request_body = PutEgressAllowlist,
    responses((status = 200, description = "The allow-list as it is now", body = EgressAllowlist))
)]
pub(super) async fn put(
    permit: Permit<act::EgressUpdate>,
    extract::State(state): extract::State<State>,
    Name(tenant): Name<String>,
    expected: IfMatch,
    body: JsonBody<PutEgressAllowlist>,
) -> Result<Versioned<EgressAllowlist>, ApiError> {
    let hosts = body.value.hosts;
    if let Err(error) = Allowlist::read(&hosts) {
        let remedy = "Write entries like `api.example.com` or `api.example.com:8443`";
        return Err(ApiError::invalid("hosts", error, remedy));
    }
    let Scope { mut tx, tenant } = permit.open(&state, &tenant).await?;
    let present = egress_allowlists::get(&mut tx).await?;
    let version = present.as_ref().map_or(0, |row| row.version);
    expected.check(&ETag::of_version(version))?;
    let row = egress_allowlists::set(&mut tx, &hosts, Some(version), state.now()).await?;
    let change = Change {
        action: Action::EgressUpdate,
        subject: tenant.slug,
        detail: json!({"from": present.map(|row| row.hosts), "to": row.hosts}),
    };
    change.commit(tx, &state, permit.caller()).await?;
    Ok(view(Some(row)))
}
