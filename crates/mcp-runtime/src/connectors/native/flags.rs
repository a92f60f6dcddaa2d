//! `flag.set` and `flag.get`, on the feature flags of one regional pool.
//!
//! Setting a flag commits nothing here: the change leaves in the transaction that it was made in, and
//! becomes true together with the call's record or not at all.

use portcullis_domain::Jurisdiction;
use portcullis_redaction::FieldRule;
use portcullis_store::flags::{self, FlagChangeRow, FlagKey, FlagRow, NewFlagChange};
use serde_json::{Map, Number, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::catalog::Violation;
use crate::connectors::{
    Connector, Effects, Invocation, SideEffect, ToolError, ToolFuture, ToolOutput, ToolRef,
};

/// How many changes of a flag are told.
const TOLD: u32 = 10;

/// The tools on feature flags.
#[derive(Debug)]
pub struct Flags;

impl Connector for Flags {
    fn tools(&self) -> Vec<String> {
        vec!["flag.set".to_owned(), "flag.get".to_owned()]
    }

    fn effects(&self) -> Effects {
        Effects::Transactional
    }

    fn check(&self, tool: ToolRef<'_>, arguments: &Map<String, Value>) -> Result<(), Violation> {
        if tool.name != "flag.set" || hundredths(arguments.get("rolloutPct")).is_some() {
            return Ok(());
        }
        Err(Violation {
            field: "rolloutPct".to_owned(),
            rule: "must have at most two decimals".to_owned(),
            keyword: "portcullis-decimals".to_owned(),
        })
    }

    fn obligations(&self, _tool: ToolRef<'_>, _arguments: &Value) -> Vec<FieldRule> {
        Vec::new()
    }

    fn region(&self, _tool: ToolRef<'_>, _arguments: &Value) -> Option<Jurisdiction> {
        None
    }

    fn summary(&self, tool: ToolRef<'_>, result: &Value) -> Option<String> {
        if tool.name != "flag.set" {
            return None;
        }
        let name = result.get("name")?.as_str()?;
        let env = result.get("env")?.as_str()?;
        let pct = result.get("rolloutPct")?.as_number()?;
        Some(format!("Flag {name} set to {pct}% in {env}"))
    }

    fn invoke<'a>(&'a self, invocation: Invocation<'a>) -> ToolFuture<'a> {
        Box::pin(async move {
            match invocation.tool.name {
                "flag.set" => set(invocation).await,
                "flag.get" => get(invocation).await,
                _ => Err(ToolError::NoConnector),
            }
        })
    }
}

async fn set(invocation: Invocation<'_>) -> Result<ToolOutput, ToolError> {
    let arguments = invocation.arguments;
    // Without a record of the intent there is no effect.
    let (Some(to), Some(record)) = (hundredths(arguments.get("rolloutPct")), invocation.intent)
    else {
        return Err(ToolError::NoConnector);
    };
    let change = NewFlagChange {
        flag: key(arguments),
        to,
        principal: invocation.principal,
        ticket: invocation.ticket,
        record,
    };
    let mut tx = invocation
        .region
        .begin(invocation.tenant)
        .await
        .map_err(ToolError::Store)?;
    let before = flags::set(&mut tx, &change, invocation.now)
        .await
        .map_err(ToolError::Store)?;
    Ok(ToolOutput {
        value: json!({
            "name": change.flag.name,
            "env": change.flag.env,
            "rolloutPct": percent(to),
            "previousPct": before.map(percent),
        }),
        effect: SideEffect::Pending(Box::new(tx)),
    })
}

async fn get(invocation: Invocation<'_>) -> Result<ToolOutput, ToolError> {
    let flag = key(invocation.arguments);
    let mut tx = invocation
        .region
        .begin(invocation.tenant)
        .await
        .map_err(ToolError::Store)?;
    let row = flags::get(&mut tx, flag).await.map_err(ToolError::Store)?;
    let changes = flags::changes(&mut tx, flag, TOLD)
        .await
        .map_err(ToolError::Store)?;
    tx.commit().await.map_err(ToolError::Store)?;
    Ok(ToolOutput::read(told(flag, row, &changes)))
}

fn told(flag: FlagKey<'_>, row: Option<FlagRow>, changes: &[FlagChangeRow]) -> Value {
    match row {
        None => json!({ "found": false, "name": flag.name, "env": flag.env }),
        Some(row) => json!({
            "found": true,
            "name": flag.name,
            "env": flag.env,
            "rolloutPct": percent(row.rollout),
            "updatedAt": stamp(row.updated_at),
            "changes": changes.iter().map(change).collect::<Vec<_>>(),
        }),
    }
}

/// A change, without who made it: its record says that to those who may know.
fn change(row: &FlagChangeRow) -> Value {
    let mut told = json!({
        "fromPct": row.from.map(percent),
        "toPct": percent(row.to),
        "changedAt": stamp(row.changed_at),
        "record": row.record,
    });
    if let (Some(ticket), Value::Object(members)) = (row.ticket, &mut told) {
        members.insert("ticket".to_owned(), json!(ticket));
    }
    told
}

fn key(arguments: &Value) -> FlagKey<'_> {
    let text = |name| arguments.get(name).and_then(Value::as_str);
    FlagKey {
        env: text("env").unwrap_or_default(),
        name: text("name").unwrap_or_default(),
    }
}

fn stamp(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

/// A percentage in hundredths, exactly; none where it has more than two decimals or is no number.
/// The shortest text that a double is read from has no exponent here, and so no more digits than were
/// meant.
fn hundredths(value: Option<&Value>) -> Option<i64> {
    let number = value?.as_f64().filter(|number| *number >= 0.0)?;
    let text = number.abs().to_string();
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    if decimals.len() > 2 {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let decimals: i64 = format!("{decimals:0<2}").parse().ok()?;
    whole.checked_mul(100)?.checked_add(decimals)
}

/// Hundredths as a percentage.
fn percent(hundredths: i64) -> Number {
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    if rest == 0 {
        return Number::from(whole);
    }
    // The text has at most two decimals, so the nearest double prints as the same text again.
    format!("{whole}.{rest:02}")
        .parse::<f64>()
        .ok()
        .and_then(Number::from_f64)
        .unwrap_or_else(|| Number::from(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_percentage_of_two_decimals_survives_the_way_there_and_back() {
        for number in 0..=10_000 {
            let value = Value::Number(percent(number));
            assert_eq!(hundredths(Some(&value)), Some(number), "{value}");
        }
        assert_eq!(percent(5_000).to_string(), "50");
        assert_eq!(percent(1).to_string(), "0.01");
    }

    #[test]
    fn one_number_is_read_alike_in_every_spelling() {
        for text in ["50", "50.0", "5e1", "0.5e2", "50.00"] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(hundredths(Some(&value)), Some(5_000), "{text}");
        }
        assert_eq!(hundredths(Some(&json!(-0.0))), Some(0));
    }

    #[test]
    fn what_cannot_be_said_in_hundredths_is_refused_and_not_rounded() {
        for value in [
            json!(0.001),
            json!(33.333),
            json!(99.999_999),
            json!(1e-300),
            json!(1e300),
            json!(-0.5),
            json!("50"),
            json!(null),
        ] {
            assert_eq!(hundredths(Some(&value)), None, "{value}");
        }
        let set = ToolRef {
            name: "flag.set",
            connector: crate::connectors::NATIVE,
            config: None,
            reach: None,
        };
        let arguments = json!({"rolloutPct": 33.333});
        let error = Flags
            .check(set, arguments.as_object().unwrap())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "rolloutPct: must have at most two decimals"
        );
    }
}
