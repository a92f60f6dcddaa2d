//! The load of `cargo xtask bench` as a process of its own, so that the platform's processor time
//! and the client's are never mixed up. Reads what to send from standard input as JSON, prints what
//! it measured as JSON.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use portcullis_e2e::bench::load::{self, Load};
use portcullis_e2e::bench::process;
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<()> {
    let asked: Value = serde_json::from_reader(std::io::stdin()).context("read what to do")?;
    let text = |name: &str| {
        asked
            .get(name)
            .and_then(Value::as_str)
            .context("read a text")
    };
    let seconds = |name: &str| {
        let value = asked.get(name).and_then(Value::as_f64);
        value
            .map(Duration::from_secs_f64)
            .context("read a duration")
    };
    let address = text("address")?.parse()?;
    let headers: Vec<(String, String)> =
        serde_json::from_value(asked.get("headers").cloned().unwrap_or_default())?;
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let body = asked.get("body").context("read the body")?;
    let connections = asked.get("connections").and_then(Value::as_u64);
    let load = Load {
        address,
        request: load::request(text("path")?, address, &headers, body),
        expected: text("expected")?.to_owned(),
        connections: usize::try_from(connections.context("read the connections")?)?,
        warm_up: seconds("warm_up_seconds")?,
        duration: seconds("seconds")?,
    };
    let server = asked.get("server_pid").and_then(Value::as_u64);
    let server = u32::try_from(server.context("read the server's process id")?)?;
    let mut before = None;
    let measured = load.run(|| before = process::cpu_time(server).ok()).await?;
    let used = process::cpu_time(server)?.saturating_sub(before.unwrap_or_default());
    let mut told = measured.json();
    if let Value::Object(members) = &mut told {
        members.insert("cpu_seconds".to_owned(), used.as_secs_f64().into());
    }
    writeln!(std::io::stdout(), "{told}")?;
    Ok(())
}
