//! `/tenants/{tenant}/tickets`: what people have agreed to.
//!
//! Only a service token opens a ticket. An agent's access token is of another plane and opens nothing
//! here. Personal data never becomes part of a ticket: tickets lie in the control database.

use axum::extract;
use axum::response::{IntoResponse, Response};
use portcullis_domain::id::{Id, Ticket as TicketKind};
use portcullis_evidence::canonical_bytes;
use portcullis_mcp_runtime::catalog::{CompiledTool, TicketArgument};
use portcullis_store::tickets::{self, NewTicket, TicketFilter, TicketRow};
use portcullis_store::{ControlTx, Page as Rows, StoreError, tools};
use portcullis_wire::api::{CloseTicket, OpenTicket, Page, Ticket, TicketState};
use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime};

use super::State;
use super::access::{Action, act};
use super::answer::Listed;
use super::caller::{Permit, Scope};
use super::change::Change;
use super::error::ApiError;
use super::idempotency::{Answer, Attempt, Post};
use super::input::{JsonBody, Name, Parameters, check_future, check_label};
use super::page::{Cursor, window};
use super::query::TicketQuery;
use super::secrets::stamp;

/// The longest that a ticket stays open.
const LONGEST: Duration = Duration::days(31);
/// The most bytes that the bound values take, as canonical JSON.
const MAX_BOUND_BYTES: usize = 4_096;

const fn state_of(state: tickets::TicketState) -> TicketState {
    match state {
        tickets::TicketState::Open => TicketState::Open,
        tickets::TicketState::Closed => TicketState::Closed,
        tickets::TicketState::Expired => TicketState::Expired,
    }
}

const fn stored(state: TicketState) -> tickets::TicketState {
    match state {
        TicketState::Open => tickets::TicketState::Open,
        TicketState::Closed => tickets::TicketState::Closed,
        TicketState::Expired => tickets::TicketState::Expired,
    }
}

fn view(row: TicketRow, now: OffsetDateTime) -> Result<Ticket, ApiError> {
    let state = state_of(row.state(now));
    Ok(Ticket {
        id: row.id,
        tool: row.tool,
        arguments: serde_json::from_str(&row.arguments)
            .map_err(|error| ApiError::internal(&error))?,
        reason: row.reason,
        state,
        opened_by: row.opened_by,
        opened_at: row.opened_at,
        expires_at: row.expires_at,
        closed_by: row.closed_by,
        closed_at: row.closed_at,
        closed_reason: row.closed_reason,
    })
}

/// List change tickets
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/tickets",
    operation_id = "listTickets",
    tag = "tickets",
    params(("tenant" = String, Path, description = "The tenant's slug or id"), TicketQuery),
    responses((status = 200, description = "One page, oldest first", body = Page<Ticket>))
)]
pub(super) async fn list(
    permit: Permit<act::TicketRead>,
    extract::State(state): extract::State<State>,
    Name(tenant): Name<String>,
    Parameters(query): Parameters<TicketQuery>,
) -> Result<Listed<Ticket>, ApiError> {
    let window = window::<Id<TicketKind>>(query.limit, query.cursor.as_deref())?;
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let now = state.now();
    let filter = TicketFilter {
        tool: query.tool.as_deref(),
        state: query.state.map(stored),
    };
    let rows = Rows {
        after: window.after.map(|id| id.as_uuid()),
        limit: window.rows(),
    };
    let rows = tickets::list(&mut tx, filter, rows, now).await?;
    let seen = rows
        .into_iter()
        .map(|row| view(row, now))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Listed(window.page(
        seen,
        |ticket| ticket.id.write(),
        |ticket| ticket,
    )))
}

/// Open a change ticket
///
/// A call that names it, of that tool and with just those arguments, has a valid ticket until it
/// expires or is closed. A tenant has at most 1,000 open tickets.
#[utoipa::path(
    post,
    path = "/tenants/{tenant}/tickets",
    operation_id = "openTicket",
    tag = "tickets",
    params(("tenant" = String, Path, description = "The tenant's slug or id")),
    request_body = OpenTicket,
    responses((status = 201, description = "It is open", body = Ticket))
)]
pub(super) async fn open(
    permit: Permit<act::TicketOpen>,
    extract::State(state): extract::State<State>,
    Name(tenant): Name<String>,
    post: Post,
    body: JsonBody<OpenTicket>,
) -> Result<Response, ApiError> {
    let caller = permit.caller();
    let Scope { mut tx, tenant } = permit.open(&state, &tenant).await?;
    let open = match post.claim(&mut tx, caller, body.digest, &state).await? {
        Attempt::Answered(response) => return Ok(response),
        Attempt::Open(open) => open,
    };
    let new = body.value;
    let now = state.now();
    check_label("reason", &new.reason)?;
    check_end(new.expires_at, now)?;
    let arguments = bound(&mut tx, &new.tool, new.arguments).await?;
    let actor = caller.actor();
    let row = NewTicket {
        id: state.mint()?,
        tool: &new.tool,
        arguments: &arguments,
        reason: &new.reason,
        opened_by: &actor,
        expires_at: new.expires_at,
    };
    let row = tickets::open(&mut tx, row, now)
        .await?
        .ok_or_else(too_many)?;
    let ticket = view(row, now)?;
    let place = format!(
        "{}/tenants/{}/tickets/{}",
        super::PATH,
        tenant.id,
        ticket.id
    );
    let answer = Answer::created(&ticket, None, Some(place))?;
    open.settle(&mut tx, &answer).await?;
    let change = Change {
        action: Action::TicketOpen,
        subject: ticket.id.to_string(),
        detail: json!({
            "tool": ticket.tool,
            "arguments": ticket.arguments,
            "reason": ticket.reason,
            "expires_at": stamp(Some(ticket.expires_at)),
        }),
    };
    change.commit(tx, &state, caller).await?;
    Ok(answer.into_response())
}

fn check_end(end: OffsetDateTime, now: OffsetDateTime) -> Result<(), ApiError> {
    check_future("expires_at", Some(end), now)?;
    if end > now + LONGEST {
        return Err(ApiError::invalid(
            "expires_at",
            format!("must be at most {} days from now", LONGEST.whole_days()),
            "Choose an earlier end",
        ));
    }
    Ok(())
}

fn too_many() -> ApiError {
    ApiError::Conflict {
        detail: format!("the tenant has {} open tickets already", tickets::MAX_OPEN),
        remedy: "Close tickets whose change is done, and open this one again",
    }
}

/// The canonical form of what a ticket shall bind, as the tool that is in the catalog now wants it.
async fn bound(
    tx: &mut ControlTx,
    tool: &str,
    arguments: Map<String, Value>,
) -> Result<String, ApiError> {
    let compiled = in_catalog(tx, tool).await?;
    let ticket = compiled.ticket.as_ref().ok_or_else(|| {
        ApiError::invalid(
            "tool",
            "takes no change ticket: no argument in its input schema has `x-ticket`",
            "Name a tool whose input schema says which arguments a ticket binds",
        )
    })?;
    let bound = ticket.check(arguments).map_err(|violation| {
        ApiError::invalid(
            format!("arguments.{}", violation.field),
            violation.rule,
            format!("Bind {} and nothing else", names(ticket)),
        )
    })?;
    let bound = Value::Object(bound);
    if !portcullis_redaction::contains_pii(&bound).is_empty() {
        return Err(ApiError::invalid(
            "arguments",
            "hold what looks like personal data or a secret, which no ticket may hold",
            "Bind an id that tells nothing of a person",
        ));
    }
    let canonical = canonical_bytes(&bound).map_err(|error| {
        ApiError::invalid("arguments", error, "Write such a number as a string")
    })?;
    let text =
        String::from_utf8(canonical.into_bytes()).map_err(|error| ApiError::internal(&error))?;
    if text.len() > MAX_BOUND_BYTES {
        return Err(ApiError::invalid(
            "arguments",
            format!("must be at most {MAX_BOUND_BYTES} bytes of JSON"),
            "Bind shorter values",
        ));
    }
    Ok(text)
}

fn names(ticket: &TicketArgument) -> String {
    let names: Vec<_> = ticket
        .binds()
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    names.join(", ")
}

async fn in_catalog(tx: &mut ControlTx, tool: &str) -> Result<CompiledTool, ApiError> {
    let absent = || {
        ApiError::invalid(
            "tool",
            "is no enabled tool of the tenant's catalog",
            "Name one that `GET /tenants/{tenant}/tools` lists",
        )
    };
    // What is no name of a tool names none; the database is not asked.
    let named = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    if tool.len() > 128 || !tool.bytes().all(named) {
        return Err(absent());
    }
    let row = tools::by_name(tx, tool)
        .await?
        .filter(|row| row.enabled)
        .ok_or_else(absent)?;
    let definition = super::tools::definition(&row.definition)?;
    CompiledTool::new(definition).map_err(|error| ApiError::internal(&error))
}

/// Show a change ticket
#[utoipa::path(
    get,
    path = "/tenants/{tenant}/tickets/{ticket}",
    operation_id = "getTicket",
    tag = "tickets",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("ticket" = String, Path, description = "The ticket's id"),
    ),
    responses((status = 200, description = "The ticket", body = Ticket))
)]
pub(super) async fn get(
    permit: Permit<act::TicketRead>,
    extract::State(state): extract::State<State>,
    Name((tenant, ticket)): Name<(String, Id<TicketKind>)>,
) -> Result<axum::Json<Ticket>, ApiError> {
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let row = tickets::get(&mut tx, ticket)
        .await?
        .ok_or(ApiError::NotFound)?;
    Ok(axum::Json(view(row, state.now())?))
}

/// Close a change ticket
///
/// No call from the next epoch on has it as a valid ticket. A ticket is closed once.
#[utoipa::path(
    post,
    path = "/tenants/{tenant}/tickets/{ticket}/close",
    operation_id = "closeTicket",
    tag = "tickets",
    params(
        ("tenant" = String, Path, description = "The tenant's slug or id"),
        ("ticket" = String, Path, description = "The ticket's id"),
    ),
    request_body = CloseTicket,
    responses((status = 200, description = "The ticket, now closed", body = Ticket))
)]
pub(super) async fn close(
    permit: Permit<act::TicketClose>,
    extract::State(state): extract::State<State>,
    Name((tenant, ticket)): Name<(String, Id<TicketKind>)>,
    post: Post,
    body: JsonBody<CloseTicket>,
) -> Result<Response, ApiError> {
    let caller = permit.caller();
    let Scope { mut tx, .. } = permit.open(&state, &tenant).await?;
    let open = match post.claim(&mut tx, caller, body.digest, &state).await? {
        Attempt::Answered(response) => return Ok(response),
        Attempt::Open(open) => open,
    };
    let reason = body.value.reason;
    if let Some(reason) = &reason {
        check_label("reason", reason)?;
    }
    let now = state.now();
    let row = tickets::close(&mut tx, ticket, &caller.actor(), reason.as_deref(), now)
        .await
        .map_err(closed_already)?;
    let ticket = view(row, now)?;
    let answer = Answer::done(&ticket, None)?;
    open.settle(&mut tx, &answer).await?;
    let change = Change {
        action: Action::TicketClose,
        subject: ticket.id.to_string(),
        detail: json!({"tool": ticket.tool, "reason": ticket.closed_reason}),
    };
    change.commit(tx, &state, caller).await?;
    Ok(answer.into_response())
}

fn closed_already(error: StoreError) -> ApiError {
    match error {
        StoreError::Stale { .. } => ApiError::Conflict {
            detail: "the ticket is closed already".to_owned(),
            remedy: "Nothing is left to do; the ticket says who closed it",
        },
        StoreError::Unavailable { .. }
        | StoreError::Conflict { .. }
        | StoreError::NotFound { .. }
        | StoreError::Invalid { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Internal { .. } => error.into(),
    }
}
