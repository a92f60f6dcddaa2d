//! `POST /t/{tenant}/tools/{name}`: the same rooms for callers without MCP, with true statuses.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::header::{ALLOW, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response};
use portcullis_wire::Slug;
use serde_json::json;

use super::arguments::{DUPLICATE, Distinct};
use super::held::Held;
use super::{Seam, door, mcp, watch};
use crate::challenge;
use crate::rooms::{self, CallRequest, DoorRefusal};

const PROBLEM: &str = "application/problem+json";
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Answers one call: the body is the tool's arguments.
pub(super) async fn handle(
    State(seam): State<Seam>,
    Path((tenant, name)): Path<(String, String)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response<Body> {
    match answer(&seam, &tenant, name, peer, request).await {
        Ok(response) => response,
        Err(refusal) => refused(&refusal),
    }
}

fn refused(refusal: &DoorRefusal) -> Response<Body> {
    let body = json!(door::problem(refusal)).to_string();
    door::refusal_response(refusal, PROBLEM, body.into())
}

/// Every other method than POST.
pub(super) async fn not_a_post() -> Response<Body> {
    let refusal = DoorRefusal::new(Slug::MethodNotAllowed, "call a tool by POST");
    let mut response = refused(&refusal);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

async fn answer(
    seam: &Seam,
    tenant: &str,
    name: String,
    peer: SocketAddr,
    request: Request,
) -> Result<Response<Body>, DoorRefusal> {
    let (parts, body) = request.into_parts();
    let admitted = door::enter(&seam.gate, tenant, peer, &parts).await?;
    let (admitted, body) = door::read(&seam.gate, admitted, &parts.headers, body).await?;
    let Distinct(arguments) = serde_json::from_slice(&body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let detail = if error.to_string().starts_with(DUPLICATE) {
            format!("{DUPLICATE} (line {line}, column {column})")
        } else if error.is_data() {
            "the body must be a JSON object with the tool's arguments".to_owned()
        } else {
            format!("the body is not JSON (line {line}, column {column})")
        };
        DoorRefusal::new(Slug::MalformedRequest, detail)
    })?;
    let (place, trace_state) = mcp::trace_place(&parts, None)?;
    let key = key(&parts.headers)?;
    let rate = admitted.rate().clone();
    let call = CallRequest {
        tool: name,
        arguments,
        key,
        place,
        trace_state,
        arrived: watch::arrived(&parts),
    };
    let mut answer = rooms::call(&seam.gate, admitted, call).await;
    let slots = answer.take_slots();
    let needed = answer.needed_scope();
    let retry = answer.retry_after_seconds();
    let (status, body) = answer.into_http();
    let content_type = if status == 200 {
        "application/json"
    } else {
        PROBLEM
    };
    let body = Held::body(body.to_string().into(), slots);
    let mut response = door::response(status, content_type, body);
    door::insert_rate(response.headers_mut(), &rate);
    door::insert_retry(response.headers_mut(), retry);
    if let Some(scope) = needed {
        let url = &seam.gate.settings.public_url;
        let challenge = challenge::insufficient_scope(url, tenant, &scope);
        door::insert(response.headers_mut(), WWW_AUTHENTICATE, &challenge);
    }
    Ok(response)
}

/// The idempotency key of the header: a quoted string (RFC 9651 §3.3.3), or the same without quotes, as
/// many send it. Room 5 says whether it is one.
fn key(headers: &HeaderMap) -> Result<Option<String>, DoorRefusal> {
    let mut sent = headers.get_all(KEY).iter();
    let value = match (sent.next(), sent.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value,
        (Some(_), Some(_)) => return Err(malformed("`Idempotency-Key` must come once")),
    };
    let text = value
        .to_str()
        .map_err(|error| malformed(&format!("`Idempotency-Key` must be visible ASCII: {error}")))?;
    let text = text.trim();
    let quoted = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    Ok(Some(quoted.unwrap_or(text).to_owned()))
}

fn malformed(detail: &str) -> DoorRefusal {
    DoorRefusal::new(Slug::MalformedRequest, detail)
}
