//! Registering tools of other systems: a definition and how the `http` connector calls it.
//!
//! A tool that this module accepts is one that a replica will compile: the same code checks both. No
//! registration touches a tool of the platform's own.

use axum::extract;
use axum::response::{IntoResponse, Response};
use portcullis_domain::ToolDefinition;
use portcullis_mcp_runtime::catalog::CompiledTool;
use portcullis_mcp_runtime::connectors::destination::Lists;
use portcullis_mcp_runtime::connectors::http::{HTTP, HttpTool};
use portcullis_store::tools::{self, NewTool, Registered, ToolRow};
use portcullis_store::{ControlTx, egress_allowlists, policies};
use portcullis_wire::api::{RegisterTool, Tool, ToolConnector};
use serde_json::json;

use super::State;
use super::access::{Action, act};
use super::answer::Versioned;
use super::baseline::canonical;
use super::caller::{Caller, Permit, Scope};
use super::change::Change;
use super::error::ApiError;
use super::etag::{ETag, IfMatch};
use super::idempotency::{Answer, Attempt, Post};
use super::input::{JsonBody, Name};
use super::outputs;
use super::policies::{catalog, shape};
use super::tools::{named, view};

const REMEDY: &str = "See `Tools of other systems` in docs/management-api.md";

/// Register a tool of another system
///
/// It is in the catalog from the next epoch on, for those who hold its scope and whom policy allows.
#[utoipa::path(
    post,
    path = "/tenants/{tenant}/tools",
    operation_id = "registerTool",
    tag = "tools",
    params(("tenant" = String, Path, description = "The tenant's slug or id")),
    request_body = RegisterTool,
    responses((status = 201, description = "Registered, in its version 1", body = Tool))
)]
pub(super) async fn create(
    permit: Permit<act::ToolCreate>,
    extract::State(state): extract::State<State>,
    Name(tenant): Name<String>,
    post: Post,
    body: JsonBody<RegisterTool>,
) -> Result<Response, ApiError> {
    let caller = permit.caller();
    let Scope { mut tx, tenant } = permit.open(&state, &tenant).await?;
    let open = match post.claim(&mut tx, caller, body.digest, &state).await? {
        Attempt::Answered(response) => return Ok(response),
        Attempt::Open(open) => open,
    };
    let row = match register(&mut tx, &state, caller, &tenant.slug, &body.value).await? {
        Registered::Created(row) => row,
        Registered::Updated(_) | Registered::Unchanged(_) => {
            return Err(ApiError::Conflict {
                detail: "a tool of this name is there already".to_owned(),
                remedy: "Choose another name, or put another version of it to its own path",
            });
        }
    };
    let tool = view(&row)?;
    let place = format!("{}/tenants/{}/tools/{}", super::PATH, tenant.id, tool.name);
    let etag = ETag::of_version(row.version);
    let answer = Answer::created(&tool, Some(&etag), Some(place))?;
    open.settle(&mut tx, &answer).await?;
    let change = change(Action::ToolCreate, &row);
    change.commit(tx, &state, caller).await?;
    Ok(answer.into_response())
}

/// Give a tool another version
///
/// The versions before it stay readable. Where definition and configuration are those that it has,
/// nothing changes.
#[utoipa::path(
    put,
    path = "/tenants/{tenant}/tools/{tool}",
    operation_id = "replaceTool",
    tag = "tools",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("tool" = String, Path, description = "The tool's name"),
    ),
    request_body = RegisterTool,
    responses((status = 200, description = "The tool as it is now", body = Tool))
)]
pub(super) async fn replace(
    permit: Permit<act::ToolUpdate>,
    extract::State(state): extract::State<State>,
    Name((tenant, tool)): Name<(String, String)>,
    expected: IfMatch,
    body: JsonBody<RegisterTool>,
) -> Result<Versioned<Tool>, ApiError> {
    let caller = permit.caller();
    let Scope { mut tx, tenant } = permit.open(&state, &tenant).await?;
    let present = named(&mut tx, &tool).await?;
    expected.check(&ETag::of_version(present.version))?;
    if body.value.definition.name != present.name {
        let rule = format!("must be `{}`, the name in the path", present.name);
        return Err(ApiError::invalid("definition.name", rule, REMEDY));
    }
    match register(&mut tx, &state, caller, &tenant.slug, &body.value).await? {
        Registered::Unchanged(row) => Ok(Versioned(view(&row)?, ETag::of_version(row.version))),
        // Somebody else was faster: the version that the caller saw is not the one replaced.
        Registered::Updated(row) if row.version != present.version.saturating_add(1) => {
            Err(ApiError::PreconditionFailed)
        }
        Registered::Created(row) | Registered::Updated(row) => {
            let change = change(Action::ToolUpdate, &row);
            change.commit(tx, &state, caller).await?;
            Ok(Versioned(view(&row)?, ETag::of_version(row.version)))
        }
    }
}

fn change(action: Action, row: &ToolRow) -> Change {
    let config = row.config.as_ref().map(|held| hex::encode(held.sha256));
    Change {
        action,
        subject: row.name.clone(),
        detail: json!({
            "connector": row.connector,
            "number": row.current_version,
            "sha256": hex::encode(row.sha256),
            "config_sha256": config,
        }),
    }
}

async fn register(
    tx: &mut ControlTx,
    state: &State,
    caller: &Caller,
    tenant: &str,
    new: &RegisterTool,
) -> Result<Registered, ApiError> {
    let RegisterTool {
        definition,
        connector,
        config,
    } = new;
    refuse_own(state, &definition.name)?;
    let invalid = |field: &str, rule: String| ApiError::invalid(field, rule, REMEDY);
    let compiled = CompiledTool::new(definition.clone())
        .map_err(|error| invalid("definition", error.to_string()))?;
    let listed = egress_allowlists::get(tx).await?;
    let lists = listed
        .map(|row| Lists::read(&row.hosts, &row.tools))
        .transpose();
    let lists = lists.map_err(|error| ApiError::internal(&error))?;
    let allowlist = lists.unwrap_or_default().of(&definition.name);
    HttpTool::new(&compiled.definition, config, tenant, &allowlist)
        .and_then(|tool| tool.check_reach(state.networks()))
        .map_err(|fault| invalid(&place(&fault.field), fault.rule))?;
    let (text, sha256) = canonical(definition)?;
    let (config, config_sha256) = canonical(config)?;
    let actor = caller.actor();
    let tool = NewTool {
        id: state.mint()?,
        name: &definition.name,
        connector: match connector {
            ToolConnector::Http => HTTP,
        },
        definition: &text,
        sha256,
        config: Some((&config, config_sha256)),
        created_by: &actor,
    };
    let registered = tools::register(tx, &tool, state.now()).await?;
    if registered.tool().enabled {
        check_policy(tx, definition).await?;
    }
    Ok(registered)
}

/// Where a field of the configuration stands in the body.
fn place(field: &str) -> String {
    if field.starts_with("definition.") {
        field.to_owned()
    } else {
        format!("config.{field}")
    }
}

/// A name that the platform's own tools have is theirs in every tenant.
fn refuse_own(state: &State, name: &str) -> Result<(), ApiError> {
    let own = &state.baseline().tools;
    if own.iter().any(|(_, definition)| definition.name == name) {
        return Err(ApiError::Conflict {
            detail: "this is the name of one of the platform's own tools".to_owned(),
            remedy: "Choose another name",
        });
    }
    Ok(())
}

/// The policy in force has to hold with the tool as well: one that does not would close the tenant.
async fn check_policy(tx: &mut ControlTx, definition: &ToolDefinition) -> Result<(), ApiError> {
    let Some(row) = policies::published(tx).await? else {
        return Ok(());
    };
    let definitions = catalog(tx).await?;
    let shapes: Vec<_> = definitions.iter().map(shape).collect();
    let words = match portcullis_policy::load_published(&row.source, &shapes) {
        Ok(loaded) => outputs::broken(&loaded.policy, std::slice::from_ref(definition)),
        Err(diagnostics) => diagnostics,
    };
    match words.into_iter().next() {
        None => Ok(()),
        Some(first) => Err(ApiError::Conflict {
            detail: format!("the policy in force does not hold with this tool: {first}"),
            remedy: "Change the tool, or publish a policy that holds with it first",
        }),
    }
}
