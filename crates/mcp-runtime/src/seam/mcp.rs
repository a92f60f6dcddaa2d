//! `/t/{tenant}/mcp`: one JSON-RPC message a POST, both eras of the protocol.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::header::{ALLOW, AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use portcullis_domain::observation::TracePlace;
use portcullis_domain::{TraceId, TraceParent, TraceState};
use portcullis_evidence::record::Room;
use portcullis_keys::entropy;
use portcullis_wire::Slug;
use serde_json::{Map, Value, json};

use super::Seam;
use super::door;
use super::held::Held;
use super::jsonrpc::{self, CallParams, Message, ProtocolFault};
use super::service::Visible;
use super::version::{self, Era};
use super::watch;
use crate::challenge;
use crate::gate::Gate;
use crate::rooms::admit::{Admitted, Plan, RateFields, Slots};
use crate::rooms::respond::{self, McpReply};
use crate::rooms::{self, CallRequest, DoorRefusal, validate};

const JSON: &str = "application/json";
const META_PLAN: &str = "dev.portcullis/plan";
const META_KEY: &str = "dev.portcullis/idempotency-key";

/// Answers one request.
pub(super) async fn handle(
    State(seam): State<Seam>,
    Path(tenant): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response<Body> {
    if request.method() != Method::POST {
        let refusal = DoorRefusal::new(Slug::MethodNotAllowed, "send one JSON-RPC message by POST");
        let mut response = refused("null", &refusal);
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    let (parts, body) = request.into_parts();
    let admitted = match door::enter(&seam.gate, &tenant, peer, &parts).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refused("null", &refusal),
    };
    let place = (admitted.caller().tenant, admitted.caller().home);
    let (admitted, body) = match door::read(&seam.gate, admitted, &parts.headers, body).await {
        Ok(read) => read,
        Err(refusal) => return refused("null", &refusal),
    };
    let count = |slug| seam.gate.refusals.count(place, Room::Admit, slug);
    let message = match Message::read(&body) {
        Ok(message) => message,
        Err(fault) => {
            count(Slug::MalformedRequest);
            return faulty("null", &fault);
        }
    };
    if message.method.as_deref() == Some("tools/call") {
        if !message.is_request() {
            let fault = ProtocolFault::new(jsonrpc::INVALID_REQUEST, "`tools/call` needs an `id`");
            return faulty("null", &fault);
        }
        return call(&seam.gate, &parts, admitted, &message).await;
    }
    let listing = message.method.as_deref() == Some("tools/list");
    pass_on(&seam, parts, body.clone(), admitted, listing).await
}

/// A tool call, through the rooms.
async fn call(
    gate: &Arc<Gate>,
    parts: &Parts,
    admitted: Admitted,
    message: &Message<'_>,
) -> Response<Body> {
    let id = message.id_text();
    let caller = admitted.caller();
    let place = (caller.tenant, caller.home);
    let slug = caller.tenant_slug.clone();
    let rate = admitted.rate().clone();
    let count = |slug| gate.refusals.count(place, Room::Admit, slug);
    let (params, era, plan, key) = match read_call(parts, message) {
        Ok(read) => read,
        Err(fault) => {
            count(fault.slug());
            return faulty(id, &fault);
        }
    };
    let complete = era == Era::Modern;
    let admitted = match admitted.with_plan(plan) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            count(refusal.slug);
            return stopped(id, &refusal, &rate, complete);
        }
    };
    let (place, trace_state) = match trace_place(parts, params.meta.as_ref()) {
        Ok(place) => place,
        Err(refusal) => return refused(id, &refusal),
    };
    let request = CallRequest {
        tool: params.name,
        arguments: params.arguments.unwrap_or_default().0,
        key,
        place,
        trace_state,
        arrived: watch::arrived(parts),
    };
    let mut answer = rooms::call(gate, admitted, request).await;
    let slots = answer.take_slots();
    let retry = answer.retry_after_seconds();
    let mut response = reply(gate, id, &slug, answer.into_mcp(complete), slots);
    door::insert_rate(response.headers_mut(), &rate);
    door::insert_retry(response.headers_mut(), retry);
    response
}

fn read_call(
    parts: &Parts,
    message: &Message<'_>,
) -> Result<(CallParams, Era, Option<Plan>, Option<String>), ProtocolFault> {
    let params = jsonrpc::call_params(message.params)?;
    let era = version::check(&parts.headers, &params.name, params.meta.as_ref())?;
    let plan = plan(params.meta.as_ref())?;
    let key = key(params.meta.as_ref())?;
    Ok((params, era, plan, key))
}

fn reply(
    gate: &Gate,
    id: &str,
    slug: &str,
    reply: McpReply,
    slots: Option<Slots>,
) -> Response<Body> {
    match reply {
        McpReply::Result(result) => door::response(
            200,
            JSON,
            Held::body(jsonrpc::result_body(id, &result), slots),
        ),
        McpReply::UnknownTool(problem, receipt) => {
            let data = with_receipt(json!({ respond::META_PROBLEM: problem }), receipt);
            let text = "unknown tool; call tools/list for the tools of this principal";
            let body = jsonrpc::error_body(id, jsonrpc::INVALID_PARAMS, text, Some(&data));
            door::response(200, JSON, body)
        }
        McpReply::StepUp(problem, receipt, scope) => {
            let code = i64::from(problem.status);
            let text = format!("{}: {}", problem.title, problem.detail);
            let data = with_receipt(json!(problem), receipt);
            let body = jsonrpc::error_body(id, code, &text, Some(&data));
            let mut response = door::response(403, JSON, body);
            let challenge = challenge::insufficient_scope(&gate.settings.public_url, slug, &scope);
            door::insert(response.headers_mut(), WWW_AUTHENTICATE, &challenge);
            response
        }
        McpReply::Later(problem, receipt) => {
            let data = with_receipt(json!(problem), receipt);
            let code = i64::from(problem.status);
            let body = jsonrpc::error_body(id, code, &problem.title, Some(&data));
            door::response(problem.status, JSON, body)
        }
        McpReply::Fault(problem) => {
            let body = jsonrpc::problem_body(id, &problem);
            door::response(problem.status, JSON, body)
        }
    }
}

fn with_receipt(mut data: Value, receipt: Value) -> Value {
    if let (Value::Object(data), Value::Object(receipt)) = (&mut data, receipt) {
        data.extend(receipt);
    }
    data
}

/// A stop rule refuses as policy does: with a tool result that says `DENY:`.
fn stopped(id: &str, refusal: &DoorRefusal, rate: &RateFields, complete: bool) -> Response<Body> {
    let by_rule = matches!(refusal.slug, Slug::PlanTooDeep | Slug::TooManyRetries);
    if !by_rule {
        return refused(id, refusal);
    }
    let text = respond::deny_text(&refusal.problem);
    match respond::tool_error(&text, &refusal.problem, None, complete) {
        McpReply::Result(result) => {
            let mut response = door::response(200, JSON, jsonrpc::result_body(id, &result));
            door::insert_rate(response.headers_mut(), rate);
            watch::mark(&mut response, refusal.slug);
            response
        }
        McpReply::UnknownTool(..)
        | McpReply::StepUp(..)
        | McpReply::Later(..)
        | McpReply::Fault(_) => refused(id, refusal),
    }
}

/// Every other method, by rmcp. The caller's slots are held until the last byte has left.
async fn pass_on(
    seam: &Seam,
    mut parts: Parts,
    body: Bytes,
    admitted: Admitted,
    listing: bool,
) -> Response<Body> {
    let visible = if listing {
        validate::visible_tools(&seam.gate, &admitted)
    } else {
        Vec::new()
    };
    parts.extensions.insert(Visible(Arc::new(visible)));
    // The token stays at the door: nothing behind it has a use for it.
    parts.headers.remove(AUTHORIZATION);
    let rate = admitted.rate().clone();
    let request = Request::from_parts(parts, Full::new(body));
    let response = seam.service.handle(request).await;
    let (mut head, body) = response.into_parts();
    door::insert_rate(&mut head.headers, &rate);
    let body = body.map_frame(move |frame| {
        let _held = &admitted;
        frame
    });
    Response::from_parts(head, Body::new(body))
}

fn plan(meta: Option<&Map<String, Value>>) -> Result<Option<Plan>, ProtocolFault> {
    let Some(value) = meta.and_then(|meta| meta.get(META_PLAN)) else {
        return Ok(None);
    };
    match serde_json::from_value(value.clone()) {
        Ok(plan) => Ok(Some(plan)),
        Err(_unfit) => Err(ProtocolFault::new(
            jsonrpc::INVALID_PARAMS,
            format!(
                "`_meta[\"{META_PLAN}\"]` must be {{id, depth, attempt}}: a string, two integers"
            ),
        )),
    }
}

fn key(meta: Option<&Map<String, Value>>) -> Result<Option<String>, ProtocolFault> {
    match meta.and_then(|meta| meta.get(META_KEY)) {
        None => Ok(None),
        Some(Value::String(key)) => Ok(Some(key.clone())),
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_),
        ) => Err(ProtocolFault::new(
            jsonrpc::INVALID_PARAMS,
            format!("`_meta[\"{META_KEY}\"]` must be a string"),
        )),
    }
}

/// The caller's place in its trace and what it says beside it, from `_meta` or the headers, else a new
/// trace.
pub(super) fn trace_place(
    parts: &Parts,
    meta: Option<&Map<String, Value>>,
) -> Result<(TracePlace, Option<TraceState>), DoorRefusal> {
    let text = |name| meta.and_then(|meta| meta.get(name)).and_then(Value::as_str);
    if let Some(sent) = text("traceparent").and_then(TraceParent::read) {
        return Ok((
            sent.into(),
            TraceState::read(text("tracestate").into_iter()),
        ));
    }
    if let Some(sent) = watch::sent_trace(&parts.headers) {
        return Ok((sent.into(), watch::sent_state(&parts.headers)));
    }
    match entropy::random() {
        Ok(bytes) => Ok((TracePlace::new(TraceId::from_bytes(bytes)), None)),
        Err(error) => {
            tracing::error!(%error, "no random bytes for a trace id");
            Err(DoorRefusal::new(Slug::Internal, ""))
        }
    }
}

fn refused(id: &str, refusal: &DoorRefusal) -> Response<Body> {
    let problem = door::problem(refusal);
    door::refusal_response(refusal, JSON, jsonrpc::problem_body(id, &problem))
}

fn faulty(id: &str, fault: &ProtocolFault) -> Response<Body> {
    let body = jsonrpc::error_body(id, fault.code, &fault.message, fault.data.as_ref());
    let mut response = door::response(fault.status, JSON, body);
    watch::mark(&mut response, fault.slug());
    response
}
