//! `/tenants/{tenant}/egress-allowlist` and `/tenants/{tenant}/egress-check`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use axum::extract;
use portcullis_domain::SwitchKind;
use portcullis_egress::inspect::{Question, Step, inspect, may_be_reached};
use portcullis_egress::{Block, Target, Watch};
use portcullis_mcp_runtime::connectors::destination::{Lists, ListsError};
use portcullis_mcp_runtime::connectors::native;
use portcullis_store::egress_allowlists::{self, AllowlistRow};
use portcullis_store::switches::{self, Which};
use portcullis_store::{ControlTx, Page, tools};
use portcullis_wire::api::{EgressAllowlist, EgressCheck, EgressStep, PutEgressAllowlist};
use serde_json::json;
use tokio::time::Instant;

use super::State;
use super::access::{Action, act};
use super::answer::Versioned;
use super::caller::{Permit, Scope};
use super::change::Change;
use super::error::ApiError;
use super::etag::{ETag, IfMatch};
use super::input::{JsonBody, Name, Parameters};
use super::query::EgressCheckQuery;
use super::switches::server_of;

/// How long name servers may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest URL that a fetch takes.
const MAX_URL: usize = 2_048;

/// One that was never set is empty, in version 0.
fn view(row: Option<AllowlistRow>) -> Versioned<EgressAllowlist> {
    let list = row.map_or_else(
        || EgressAllowlist {
            hosts: Vec::new(),
            tools: BTreeMap::new(),
            version: 0,
        },
        |row| EgressAllowlist {
            hosts: row.hosts,
            tools: row.tools.0,
            version: row.version,
        },
    );
    let etag = ETag::of_version(list.version);
    Versioned(list, etag)
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
    let PutEgressAllowlist { hosts, tools } = body.value;
    check_lists(&hosts, &tools)?;
    let Scope { mut tx, tenant } = permit.open(&state, &tenant).await?;
    let present = egress_allowlists::get(&mut tx).await?;
    let version = present.as_ref().map_or(0, |row| row.version);
    expected.check(&ETag::of_version(version))?;
    let row = egress_allowlists::set(&mut tx, &hosts, &tools, Some(version), state.now()).await?;
    let change = Change {
        action: Action::EgressUpdate,
        subject: tenant.slug,
        detail: json!({"from": present.as_ref().map(detail), "to": detail(&row)}),
    };
    change.commit(tx, &state, permit.caller()).await?;
    Ok(view(Some(row)))
}

fn detail(row: &AllowlistRow) -> serde_json::Value {
    json!({"hosts": row.hosts, "tools": row.tools.0})
}

fn check_lists(hosts: &[String], tools: &BTreeMap<String, Vec<String>>) -> Result<(), ApiError> {
    let remedy = "Write entries like `api.example.com`, `*.example.com` or `api.example.com:8443`";
    match Lists::read(hosts, tools) {
        Ok(_lists) => Ok(()),
        Err(error @ ListsError::Every(_)) => Err(ApiError::invalid("hosts", error, remedy)),
        Err(error @ (ListsError::Tool { .. } | ListsError::TooMany)) => {
            Err(ApiError::invalid("tools", error, remedy))
        }
    }
}

/// What is blocked for a tenant.
#[derive(Debug)]
struct Blocks(Vec<Block>);

impl Watch for Blocks {
    fn admits(&self, target: &Target, addresses: &[IpAddr]) -> bool {
        let host = target.host();
        !self.0.iter().any(|block| {
            block.stops_host(&host) || addresses.iter().any(|one| block.stops_address(*one))
        })
    }
}

async fn blocks(tx: &mut ControlTx, now: time::OffsetDateTime) -> Result<Blocks, ApiError> {
    let mut found = Vec::new();
    let mut page = Page::first(1_000);
    loop {
        let rows = switches::list(tx, Which::Down, page).await?;
        let last = rows.last().map(|row| row.id.as_uuid());
        let down = rows.into_iter().filter(|row| {
            row.kind == SwitchKind::EgressBlock && row.expires_at.is_none_or(|end| now < end)
        });
        let texts = down.filter_map(|row| row.target);
        found.extend(texts.filter_map(|text| Block::parse(&text).ok()));
        match last {
            Some(last) => page.after = Some(last),
            None => return Ok(Blocks(found)),
        }
    }
}

/// Explain whether a URL may be reached
///
/// Takes the steps of a request without dialling: the URL, its scheme, host and port, the allow-list,
/// the block-list, and the addresses that its name has now. Addresses that are not public are told by
/// their class alone.
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/egress-check",
    operation_id = "checkEgress",
    tag = "tools",
    params(("tenant" = String, Path, description = "The tenant's slug or id"), EgressCheckQuery),
    responses((status = 200, description = "Every step, and whether all are passed", body = EgressCheck))
)]
pub(super) async fn check(
    permit: Permit<act::EgressRead>,
    extract::State(state): extract::State<State>,
    Name(tenant): Name<String>,
    query: Result<Parameters<EgressCheckQuery>, ApiError>,
) -> Result<axum::Json<EgressCheck>, ApiError> {
    // Whoever may not ask here learns that first.
    let Scope { mut tx, tenant } = permit.open(&state, &tenant).await?;
    let Parameters(query) = query?;
    if query.url.len() > MAX_URL {
        let rule = "must be at most 2048 bytes long";
        return Err(ApiError::invalid(
            "url",
            rule,
            "Leave its end out; the host decides",
        ));
    }
    let tool = query.tool.as_deref().unwrap_or(native::fetch::TOOL);
    let found = tools::by_name(&mut tx, tool).await?;
    let Some(found) = found else {
        let name: String = tool.chars().take(128).collect();
        return Err(ApiError::invalid(
            "tool",
            format!("`{name}` is no tool of this tenant"),
            "List the tools",
        ));
    };
    let lists = egress_allowlists::get(&mut tx).await?;
    let lists = lists.map_or_else(Lists::default, |row| {
        Lists::read(&row.hosts, &row.tools).unwrap_or_default()
    });
    let blocks = blocks(&mut tx, state.now()).await?;
    drop(tx);
    let question = Question {
        url: &query.url,
        allowlist: &lists.of(tool),
        allowance: &state.networks().allowance(&tenant.slug, &server_of(&found)),
        watch: &blocks,
    };
    let steps = inspect(question, state.resolver(), Instant::now() + PATIENCE).await;
    Ok(axum::Json(EgressCheck {
        may_be_reached: may_be_reached(&steps),
        steps: steps.into_iter().map(shown).collect(),
    }))
}

fn shown(step: Step) -> EgressStep {
    EgressStep {
        step: step.name.to_owned(),
        passed: step.passed,
        found: step.found,
        remedy: step.remedy.map(str::to_owned),
    }
}
