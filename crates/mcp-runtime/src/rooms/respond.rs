//! Room 9: the answer with its receipt, or the refusal with its reason.
//!
//! The only serialisation of a call's answer, for MCP and for plain HTTP. It takes what is recorded
//! and nothing else; what could not be recorded is answered with a trace id alone.

use portcullis_domain::TraceId;
use portcullis_evidence::{Canonical, Receipt};
use portcullis_wire::{Problem, Slug};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::task::JoinError;

use super::admit::Slots;
use super::claim::RecordFault;
use super::record::Recorded;
use super::redact::Shown;
use super::refusal::Refusal;

/// The key of a result's receipt in `_meta`.
pub const META_RECEIPT: &str = "dev.portcullis/receipt";
/// The key of a refusal's problem document in `_meta`.
pub const META_PROBLEM: &str = "dev.portcullis/problem";

/// The key in `_meta` that says that a result is an earlier call's.
pub const META_REPLAY: &str = "dev.portcullis/idempotent-replay";
/// The first text block of such a result.
const REPLAY_TEXT: &str = "OK (idempotent)";

/// An answered call. Its slots stay taken until the answer has left.
#[derive(Debug)]
pub struct Answer {
    trace_id: TraceId,
    slots: Option<Slots>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Output {
        text: Canonical,
        receipt: Receipt,
        said: Said,
    },
    Refused {
        refusal: Refusal,
        receipt: Receipt,
    },
    Failed {
        problem: Problem,
        receipt: Receipt,
    },
    Unrecorded(Problem),
}

/// What the first text block of a result says.
#[derive(Debug)]
enum Said {
    /// A sentence about it, or the result itself.
    Done(Option<String>),
    /// That the call was done before.
    Replayed,
}

/// Enters the room.
pub(in crate::rooms) fn enter(
    trace_id: TraceId,
    recorded: Result<Result<Recorded, RecordFault>, JoinError>,
) -> Answer {
    let (kind, slots) = match recorded {
        Ok(Ok(recorded)) => kept(recorded),
        Ok(Err(fault)) => (unrecorded(trace_id, fault.slug(), &fault), None),
        Err(fault) => (unrecorded(trace_id, Slug::Internal, &fault), None),
    };
    Answer {
        trace_id,
        slots,
        kind,
    }
}

fn unrecorded(trace_id: TraceId, slug: Slug, fault: &dyn std::error::Error) -> Kind {
    tracing::error!(%trace_id, fault = %crate::chain(fault), "a call could not be recorded");
    let problem = if slug == Slug::OutcomeUnknown {
        Problem::new(slug, "whether the call took effect is not known yet").with_remedy(
            "Repeat it with the same idempotency key in some seconds: the answer is then the first \
             call's, or says what to do.",
        )
    } else {
        Problem::new(slug, "repeat the call later")
    };
    Kind::Unrecorded(problem.with_trace(trace_id))
}

fn kept(recorded: Recorded) -> (Kind, Option<Slots>) {
    let Recorded {
        shown,
        receipt,
        slots,
    } = recorded;
    let kind = match shown {
        Shown::Output(told) => Kind::Output {
            text: told.json,
            receipt,
            said: Said::Done(told.summary),
        },
        Shown::Replayed(text, _) => Kind::Output {
            text,
            receipt,
            said: Said::Replayed,
        },
        Shown::Refused(refusal) | Shown::Withheld(refusal) => Kind::Refused { refusal, receipt },
        Shown::Failed(_, problem) => Kind::Failed { problem, receipt },
    };
    (kind, Some(slots))
}

/// How an answer goes out over MCP.
#[derive(Debug)]
pub enum McpReply {
    /// The `result` of the JSON-RPC response, serialised.
    Result(Box<RawValue>),
    /// An unknown tool, which MCP answers as a protocol error.
    UnknownTool(Problem, Value),
    /// A scope that lacks: HTTP 403 with a challenge that names the scope.
    StepUp(Problem, Value, String),
    /// The replica cannot serve the call now, and its refusal is recorded: HTTP 503.
    Later(Problem, Value),
    /// Nothing was recorded: HTTP 503 or 500.
    Fault(Problem),
}

impl Answer {
    /// What the answer's body has to hold until it has left.
    pub fn take_slots(&mut self) -> Option<Slots> {
        self.slots.take()
    }

    /// The answer over MCP. `complete` adds what 2026-07-28 requires of a result.
    pub fn into_mcp(self, complete: bool) -> McpReply {
        let trace_id = self.trace_id;
        match self.kind {
            Kind::Output {
                text,
                receipt,
                said,
            } => success(text.as_bytes(), &receipt, &said, complete)
                .map_or_else(|| fault(trace_id), McpReply::Result),
            Kind::Refused { refusal, receipt } => {
                let problem = refusal.problem().with_trace(trace_id);
                let receipt = json!({ META_RECEIPT: receipt });
                match (refusal.slug, refusal.needed_scope) {
                    (Slug::UnknownTool, _) => McpReply::UnknownTool(problem, receipt),
                    (Slug::ConfigurationStale, _) => McpReply::Later(problem, receipt),
                    (_, Some(scope)) => McpReply::StepUp(problem, receipt, scope.to_string()),
                    (_, None) => {
                        let text = deny_text(&problem);
                        tool_error(&text, &problem, Some(&receipt), complete)
                    }
                }
            }
            Kind::Failed {
                problem, receipt, ..
            } => {
                let receipt = json!({ META_RECEIPT: receipt });
                let text = format!("ERROR: {} (trace {trace_id})", problem.title);
                tool_error(&text, &problem, Some(&receipt), complete)
            }
            Kind::Unrecorded(problem) => McpReply::Fault(problem),
        }
    }

    /// The answer over plain HTTP: its status and its JSON body.
    pub fn into_http(self) -> (u16, Value) {
        let trace_id = self.trace_id;
        match self.kind {
            Kind::Output {
                text,
                receipt,
                said,
            } => {
                let raw: Option<&RawValue> = serde_json::from_slice(text.as_bytes()).ok();
                let mut body = json!({ "result": raw, "receipt": receipt });
                if let (Said::Replayed, Value::Object(members)) = (said, &mut body) {
                    members.insert("idempotent_replay".to_owned(), Value::Bool(true));
                }
                (200, body)
            }
            Kind::Refused { refusal, receipt } => {
                let problem = refusal.problem().with_trace(trace_id);
                with_receipt(&problem, &receipt)
            }
            Kind::Failed {
                problem, receipt, ..
            } => with_receipt(&problem, &receipt),
            Kind::Unrecorded(problem) => (problem.status, json!(problem)),
        }
    }

    /// After how many seconds a repeat may be answered, where that is what lacks.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match &self.kind {
            Kind::Refused { refusal, .. } => matches!(
                refusal.slug,
                Slug::IdempotencyInProgress | Slug::ConfigurationStale
            )
            .then_some(1),
            // Of what has no record, only the call of a busy replica or database is worth repeating so
            // soon.
            Kind::Unrecorded(problem) => matches!(problem.status, 429 | 503).then_some(1),
            Kind::Output { .. } | Kind::Failed { .. } => None,
        }
    }

    /// The scope to step up to, where that is what lacks.
    pub fn needed_scope(&self) -> Option<String> {
        match &self.kind {
            Kind::Refused { refusal, .. } => refusal.needed_scope.as_ref().map(ToString::to_string),
            Kind::Output { .. } | Kind::Failed { .. } | Kind::Unrecorded(_) => None,
        }
    }
}

fn with_receipt(problem: &Problem, receipt: &Receipt) -> (u16, Value) {
    let mut body = json!(problem);
    if let Value::Object(members) = &mut body {
        members.insert("receipt".to_owned(), json!(receipt));
    }
    (problem.status, body)
}

fn fault(trace_id: TraceId) -> McpReply {
    McpReply::Fault(Problem::new(Slug::Internal, "").with_trace(trace_id))
}

fn success(text: &[u8], receipt: &Receipt, said: &Said, complete: bool) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(text).ok()?;
    let block = serde_json::to_string(text).ok()?;
    let mut meta = Map::new();
    meta.insert(META_RECEIPT.to_owned(), serde_json::to_value(receipt).ok()?);
    let first = match said {
        Said::Replayed => {
            meta.insert(META_REPLAY.to_owned(), Value::Bool(true));
            Some(REPLAY_TEXT)
        }
        Said::Done(summary) => summary.as_deref(),
    };
    let first = match first {
        Some(words) => {
            let words = serde_json::to_string(words).ok()?;
            format!(r#"{{"type":"text","text":{words}}},"#)
        }
        None => String::new(),
    };
    finish(
        &format!(r#"[{first}{{"type":"text","text":{block}}}]"#),
        Some(text),
        false,
        meta,
        complete,
    )
}

/// The words of a refusal: `DENY:`, the reason, the rule, the remedy.
pub fn deny_text(problem: &Problem) -> String {
    let mut text = format!("DENY: {}", problem.detail);
    if let Some(rule) = &problem.rule {
        text.push_str(" (rule ");
        text.push_str(rule);
        text.push(')');
    }
    if let Some(remedy) = &problem.remedy {
        text.push_str(". ");
        text.push_str(remedy);
    }
    text
}

/// A tool result that says what went wrong.
pub fn tool_error(
    text: &str,
    problem: &Problem,
    receipt: Option<&Value>,
    complete: bool,
) -> McpReply {
    let mut meta = Map::new();
    meta.insert(META_PROBLEM.to_owned(), json!(problem));
    if let Some(Value::Object(receipt)) = receipt {
        meta.extend(receipt.clone());
    }
    let content = json!([{ "type": "text", "text": text }]).to_string();
    match finish(&content, None, true, meta, complete) {
        Some(result) => McpReply::Result(result),
        None => McpReply::Fault(problem.clone()),
    }
}

/// Joins parts that are JSON already, so that a large result is not parsed and written again.
fn finish(
    content: &str,
    structured: Option<&str>,
    is_error: bool,
    mut meta: Map<String, Value>,
    complete: bool,
) -> Option<Box<RawValue>> {
    let mut out = String::with_capacity(content.len() + structured.map_or(0, str::len) + 1_024);
    out.push_str(r#"{"content":"#);
    out.push_str(content);
    out.push_str(if is_error {
        r#","isError":true"#
    } else {
        r#","isError":false"#
    });
    if complete {
        out.push_str(r#","resultType":"complete""#);
        let info = json!({ "name": "portcullis", "version": env!("CARGO_PKG_VERSION") });
        meta.insert("io.modelcontextprotocol/serverInfo".to_owned(), info);
    }
    if let Some(structured) = structured {
        out.push_str(r#","structuredContent":"#);
        out.push_str(structured);
    }
    out.push_str(r#","_meta":"#);
    out.push_str(&Value::Object(meta).to_string());
    out.push('}');
    RawValue::from_string(out).ok()
}
