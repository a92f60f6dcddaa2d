//! `/tenants/{tenant}/tools`.

use axum::extract;
use portcullis_domain::id::{Id, Tool as ToolKind};
use portcullis_domain::{HttpToolConfig, ToolDefinition};
use portcullis_store::tools::{self, ToolRow, ToolVersionRow};
use portcullis_store::{ControlTx, Page as Rows};
use portcullis_wire::api::{Page, Tool, ToolDetail, ToolVersion, UpdateTool};
use serde_json::json;

use super::State;
use super::access::{Action, act};
use super::answer::{Listed, Versioned};
use super::caller::{Permit, Scope};
use super::change::Change;
use super::error::ApiError;
use super::etag::{ETag, IfMatch};
use super::input::{JsonBody, Name, Parameters};
use super::page::{Cursor, window};
use super::query::PageQuery;

/// A stored definition. One that cannot be read is a fault, not an absent tool.
pub(super) fn definition(text: &str) -> Result<ToolDefinition, ApiError> {
    serde_json::from_str(text).map_err(|error| ApiError::internal(&error))
}

pub(super) fn view(row: &ToolRow) -> Result<Tool, ApiError> {
    let definition = definition(&row.definition)?;
    Ok(Tool {
        id: row.id,
        name: row.name.clone(),
        title: definition.title,
        connector: row.connector.clone(),
        enabled: row.enabled,
        scope: definition.scope,
        mutating: definition.mutating,
        risk: definition.risk,
        current_version: row.current_version,
        sha256: hex::encode(row.sha256),
        version: row.version,
    })
}

fn config(text: &str) -> Result<HttpToolConfig, ApiError> {
    serde_json::from_str(text).map_err(|error| ApiError::internal(&error))
}

fn version(row: ToolVersionRow) -> Result<ToolVersion, ApiError> {
    let config = row.config.as_ref().map(|held| config(&held.config));
    Ok(ToolVersion {
        number: row.number,
        sha256: hex::encode(row.sha256),
        definition: definition(&row.definition)?,
        config: config.transpose()?,
        config_sha256: row.config.map(|held| hex::encode(held.sha256)),
        created_at: row.created_at,
    })
}

pub(super) async fn named(tx: &mut ControlTx, name: &str) -> Result<ToolRow, ApiError> {
    // What is no name of a tool names none; the database is not asked.
    let named = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    if name.len() > 128 || !name.bytes().all(named) {
        return Err(ApiError::NotFound);
    }
    tools::by_name(tx, name).await?.ok_or(ApiError::NotFound)
}

/// List tools
///
/// Disabled ones included.
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/tools",
    operation_id = "listTools",
    tag = "tools",
    params(("tenant" = String, Path, description = "The tenant's slug or id"), PageQuery),
    responses((status = 200, description = "One page, oldest first", body = Page<Tool>))
)]
pub(super) async fn list(
    permit: Permit<act::ToolRead>,
    extract::State(state): extract::State<State>,
    Name(tenant): Name<String>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Listed<Tool>, ApiError> {
    let window = window::<Id<ToolKind>>(query.limit, query.cursor.as_deref())?;
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let rows = Rows {
        after: window.after.map(|id| id.as_uuid()),
        limit: window.rows(),
    };
    let rows = tools::list(&mut tx, rows).await?;
    let seen = rows.iter().map(view).collect::<Result<Vec<_>, _>>()?;
    Ok(Listed(window.page(
        seen,
        |tool| tool.id.write(),
        |tool| tool,
    )))
}

/// Show a tool with its definitions
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/tools/{tool}",
    operation_id = "getTool",
    tag = "tools",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("tool" = String, Path, description = "The tool's name"),
    ),
    responses((status = 200, description = "The tool", body = ToolDetail))
)]
pub(super) async fn get(
    permit: Permit<act::ToolRead>,
    extract::State(state): extract::State<State>,
    Name((tenant, tool)): Name<(String, String)>,
) -> Result<Versioned<ToolDetail>, ApiError> {
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let row = named(&mut tx, &tool).await?;
    let versions = tools::versions(&mut tx, row.id).await?;
    let detail = ToolDetail {
        tool: view(&row)?,
        versions: versions
            .into_iter()
            .map(version)
            .collect::<Result<_, _>>()?,
    };
    Ok(Versioned(detail, ETag::of_version(row.version)))
}

/// Enable or disable a tool
///
/// A disabled tool is in nobody's catalog, and a call of it is refused.
#[utoipa::path(
    patch,
    path = "/tenants/{tenant}/tools/{tool}",
    operation_id = "updateTool",
    tag = "tools",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("tool" = String, Path, description = "The tool's name"),
    ),
    request_body = UpdateTool,
    responses((status = 200, description = "The tool as it is now", body = Tool))
)]
pub(super) async fn update(
    permit: Permit<act::ToolUpdate>,
    extract::State(state): extract::State<State>,
    Name((tenant, tool)): Name<(String, String)>,
    expected: IfMatch,
    body: JsonBody<UpdateTool>,
) -> Result<Versioned<Tool>, ApiError> {
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let present = named(&mut tx, &tool).await?;
    expected.check(&ETag::of_version(present.version))?;
    let enabled = body.value.enabled;
    let version = Some(present.version);
    let row = tools::set_enabled(&mut tx, &tool, version, enabled, state.now()).await?;
    let change = Change {
        action: Action::ToolUpdate,
        subject: row.name.clone(),
        detail: json!({"from": {"enabled": present.enabled}, "to": {"enabled": row.enabled}}),
    };
    change.commit(tx, &state, permit.caller()).await?;
    Ok(Versioned(view(&row)?, ETag::of_version(row.version)))
}
