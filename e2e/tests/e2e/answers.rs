//! What tests look for in answers: hygiene headers, the shape of problems, and answers compared
//! without what differs on purpose.

use std::collections::BTreeSet;

use portcullis_e2e::{Platform, Reply};
use serde_json::Value;

/// The database of acme's home pool.
pub(crate) const EU: &str = "portcullis_eu_west";
/// The database of globex's home pool.
pub(crate) const US: &str = "portcullis_us_east";

/// The headers of every answer (contracts, MCP endpoint).
pub(crate) const HYGIENE: [(&str, &str); 3] = [
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
];

/// A week that the seeded orders cover.
pub(crate) fn week() -> Value {
    serde_json::json!({"from": "2025-08-25", "to": "2025-08-31"})
}

/// Every header that an answer should have.
#[track_caller]
pub(crate) fn assert_hygiene(what: &str, reply: &Reply) {
    for (name, value) in HYGIENE {
        let told = reply.told();
        assert_eq!(reply.header(name), Some(value), "{what}: {name}: {told}");
    }
}

/// A 401 that says in words what is wrong and where to get a token.
#[track_caller]
pub(crate) fn assert_unauthorized(reply: &Reply, slug: &str) {
    let told = reply.told();
    assert_eq!(reply.status, 401, "{told}");
    let challenge = reply.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with("Bearer "), "{told}");
    assert!(challenge.contains("resource_metadata=\"http"), "{told}");
    assert_eq!(
        problem(reply)["type"],
        format!("/problems/{slug}"),
        "{told}"
    );
    let words = problem(reply)["detail"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(words.split_whitespace().count() >= 3, "no words: {told}");
}

/// A refusal by a rule, a schema or a switch: a tool result that says `DENY:` and carries its
/// problem.
#[track_caller]
pub(crate) fn assert_denied(reply: &Reply, slug: &str) {
    let told = reply.told();
    assert_eq!(reply.status, 200, "{told}");
    assert!(reply.is_tool_error(), "{told}");
    assert!(reply.words().starts_with("DENY:"), "{told}");
    let kind = reply.meta(portcullis_e2e::mcp::PROBLEM)["type"].clone();
    assert_eq!(kind, format!("/problems/{slug}"), "{told}");
    assert!(
        reply.structured().is_null(),
        "a refusal has no result: {told}"
    );
}

/// A tool call that worked.
#[track_caller]
pub(crate) fn assert_result(reply: &Reply) -> Value {
    let told = reply.told();
    assert_eq!(reply.status, 200, "{told}");
    assert!(!reply.is_tool_error(), "{told}");
    let result = reply.structured();
    assert!(result.is_object(), "{told}");
    result
}

/// The problem document of an answer over MCP or plain HTTP.
pub(crate) fn problem(reply: &Reply) -> Value {
    let over_mcp = reply.at("/error/data");
    if over_mcp.is_object() {
        over_mcp
    } else {
        reply.json()
    }
}

/// An answer without what is different each time: receipt, trace, request id, time, rates.
pub(crate) fn comparable(reply: &Reply) -> String {
    let mut headers: Vec<_> = reply
        .headers
        .iter()
        .filter(|(name, _)| {
            !["date", "ratelimit", "x-request-id", "traceparent"].contains(&name.as_str())
        })
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    headers.sort();
    let body = match serde_json::from_slice(&reply.body) {
        Ok(mut json) => {
            strip(&mut json);
            Value::to_string(&json)
        }
        Err(_not_json) => reply.text(),
    };
    format!("{}\n{}\n{body}", reply.status, headers.join("\n"))
}

/// Takes away the members that name one call.
fn strip(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for name in ["receipt", "dev.portcullis/receipt", "trace_id"] {
                members.remove(name);
            }
            members.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The ids of every order of a tenant in one pool's database, as the database has them.
pub(crate) async fn orders_of(platform: &Platform, tenant: &str, pool: &str) -> BTreeSet<String> {
    let owner = platform.owner(tenant).unwrap();
    let id = owner
        .get(&format!("/tenants/{tenant}"))
        .await
        .unwrap()
        .at("/id");
    let digits = id.as_str().unwrap().trim_start_matches("tnt_").to_owned();
    let sql = format!("select id from orders where replace(tenant_id::text, '-', '') = '{digits}'");
    let rows = platform.database(pool).query(&sql).unwrap();
    rows.lines().map(str::to_owned).collect()
}

/// The ids of the orders in an export.
pub(crate) fn ids(result: &Value) -> BTreeSet<String> {
    let rows = result["rows"].as_array().unwrap().iter();
    rows.map(|row| row["orderId"].as_str().unwrap().to_owned())
        .collect()
}

/// A trace id that no other test uses.
pub(crate) fn fresh_trace() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("e2e{:013x}{:016x}", std::process::id(), number)
}
