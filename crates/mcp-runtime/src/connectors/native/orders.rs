//! `orders.export` and `orders.get`, on the orders of one regional pool.

use portcullis_domain::{Jurisdiction, Pool};
use portcullis_redaction::{FieldRule, Mode};
use portcullis_store::orders::OrderRow;
use serde_json::{Map, Number, Value, json};
use time::Date;
use time::macros::format_description;

use crate::catalog::Violation;
use crate::connectors::{
    Connector, Effects, Invocation, ToolError, ToolFuture, ToolOutput, ToolRef,
};

/// The most rows that an export returns.
const MAX_ROWS: u32 = 10_000;

const DATE: &[time::format_description::BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]");

/// The tools on orders.
#[derive(Debug)]
pub struct Orders;

impl Connector for Orders {
    fn tools(&self) -> Vec<String> {
        vec!["orders.export".to_owned(), "orders.get".to_owned()]
    }

    fn effects(&self) -> Effects {
        Effects::Transactional
    }

    fn check(&self, tool: ToolRef<'_>, arguments: &Map<String, Value>) -> Result<(), Violation> {
        if tool.name != "orders.export" {
            return Ok(());
        }
        match (date(arguments.get("from")), date(arguments.get("to"))) {
            (Some(from), Some(to)) if from <= to => Ok(()),
            (Some(_), Some(_)) => Err(violation("to", "must not be before `from`")),
            (None, _) => Err(violation(
                "from",
                "must be a day of the calendar, YYYY-MM-DD",
            )),
            (_, None) => Err(violation("to", "must be a day of the calendar, YYYY-MM-DD")),
        }
    }

    fn obligations(&self, _tool: ToolRef<'_>, arguments: &Value) -> Vec<FieldRule> {
        let masked = arguments.get("mask").and_then(Value::as_array);
        masked
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(|field| FieldRule {
                field: field.to_owned(),
                mode: Mode::Mask,
            })
            .collect()
    }

    fn region(&self, _tool: ToolRef<'_>, arguments: &Value) -> Option<Jurisdiction> {
        arguments.get("region")?.as_str()?.parse().ok()
    }

    fn invoke<'a>(&'a self, invocation: Invocation<'a>) -> ToolFuture<'a> {
        Box::pin(async move {
            match invocation.tool.name {
                "orders.export" => export(invocation).await,
                "orders.get" => get(invocation).await,
                _ => Err(ToolError::NoConnector),
            }
        })
    }
}

async fn export(invocation: Invocation<'_>) -> Result<ToolOutput, ToolError> {
    let arguments = invocation.arguments;
    let (Some(from), Some(to)) = (date(arguments.get("from")), date(arguments.get("to"))) else {
        return Err(ToolError::NoConnector);
    };
    let mut tx = invocation
        .region
        .begin(invocation.tenant)
        .await
        .map_err(ToolError::Store)?;
    // One more than is returned tells whether there were more.
    let limit = MAX_ROWS.saturating_add(1);
    let orders = portcullis_store::orders::in_range(&mut tx, from, to, limit)
        .await
        .map_err(ToolError::Store)?;
    tx.commit().await.map_err(ToolError::Store)?;
    let most = usize::try_from(MAX_ROWS).unwrap_or(usize::MAX);
    let truncated = orders.len() > most;
    let rows: Vec<_> = orders.into_iter().take(most).map(row).collect();
    Ok(ToolOutput::read(json!({
        "range": { "from": arguments.get("from"), "to": arguments.get("to") },
        "region": region(invocation.region.pool()),
        "count": rows.len(),
        "truncated": truncated,
        "rows": rows,
    })))
}

async fn get(invocation: Invocation<'_>) -> Result<ToolOutput, ToolError> {
    let id = invocation
        .arguments
        .get("orderId")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let order = portcullis_store::orders::by_id(invocation.region, invocation.tenant, id)
        .await
        .map_err(ToolError::Store)?;
    Ok(ToolOutput::read(match order {
        Some(order) => json!({ "found": true, "order": row(order) }),
        None => json!({ "found": false }),
    }))
}

fn row(order: OrderRow) -> Value {
    let mut row = Map::with_capacity(10);
    let mut text = |name: &str, value: String| row.insert(name.to_owned(), Value::String(value));
    text("orderId", order.id);
    text("customerId", order.customer_id);
    text("customerName", order.customer_name);
    text("email", order.email);
    text("phone", order.phone);
    text("currency", order.currency);
    text("status", order.status);
    text("placedOn", order.placed_on.format(DATE).unwrap_or_default());
    if !order.note.is_empty() {
        text("note", order.note);
    }
    row.insert("total".to_owned(), Value::Number(amount(order.total_cents)));
    Value::Object(row)
}

/// Cents as a decimal number of the currency's unit. The text has at most two decimals, so the
/// nearest double prints as the same text again.
fn amount(cents: i64) -> Number {
    let text = format!("{}.{:02}", cents / 100, cents.unsigned_abs() % 100);
    text.parse::<f64>()
        .ok()
        .and_then(Number::from_f64)
        .unwrap_or_else(|| Number::from(0))
}

const fn region(pool: Pool) -> &'static str {
    pool.jurisdiction().as_str()
}

fn date(value: Option<&Value>) -> Option<Date> {
    Date::parse(value?.as_str()?, DATE).ok()
}

fn violation(field: &str, rule: &str) -> Violation {
    Violation {
        field: field.to_owned(),
        rule: rule.to_owned(),
        keyword: "portcullis-range".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORT: ToolRef<'static> = ToolRef {
        name: "orders.export",
        connector: crate::connectors::NATIVE,
        config: None,
        reach: None,
    };

    #[test]
    fn amounts_keep_their_cents() {
        assert_eq!(amount(3_050).to_string(), "30.5");
        assert_eq!(amount(1).to_string(), "0.01");
        assert_eq!(amount(1_800).to_string(), "18.0");
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_refused() {
        let arguments = json!({"from": "2025-08-31", "to": "2025-08-25"});
        let error = Orders
            .check(EXPORT, arguments.as_object().unwrap())
            .unwrap_err();
        assert_eq!(error.to_string(), "to: must not be before `from`");
    }

    #[test]
    fn what_the_caller_masks_becomes_an_obligation() {
        let rules = Orders.obligations(EXPORT, &json!({"mask": ["phone"]}));
        assert_eq!(rules.len(), 1);
        assert_eq!(rules[0].field, "phone");
    }
}
