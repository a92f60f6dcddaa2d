//! One run of the comparison: three servers on one database, measured in turns.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde_json::{Value, json};

use super::load::{CONNECTION, FRESH};
use super::table::{self, BASE, Line};
use crate::agent::{Agent, Grants};
use crate::binary;
use crate::http::{Http, Reply};
use crate::mcp::{MODERN, McpClient};
use crate::platform::{Options, Platform};

const FLOOR: &str = "bare axum";
const OURS: &str = "portcullis";
const RECORDS: &str = "select count(*) from records";
const REGION: &str = "portcullis_eu_west";

/// How long and how much.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
pub struct Arguments {
    /// Seconds that are counted in each round.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds before anything is counted.
    #[arg(long, default_value_t = 1.0)]
    warm_up_seconds: f64,
    /// Rounds of each server at each number of connections; the table shows medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Numbers of connections.
    #[arg(long, value_delimiter = ',', default_value = "1,16,64")]
    connections: Vec<usize>,
}

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    lines: Vec<Line>,
    settings: String,
    result: String,
}

impl Report {
    /// Whether every answer was the one that was asked for.
    pub fn is_sound(&self) -> bool {
        self.lines
            .iter()
            .all(|line| line.errors == 0 && line.rate > 0.0)
    }

    /// The whole report, as Markdown.
    pub fn text(&self) -> String {
        let table = table::markdown(&self.lines);
        format!(
            "{table}\nPostgreSQL: {}\nResult of each call: {}\n",
            self.settings, self.result
        )
    }
}

/// One server under load.
struct Contender {
    name: &'static str,
    address: SocketAddr,
    path: String,
    pid: u32,
    agent: Option<Agent>,
    // A bare server is ours to end; the platform ends itself.
    _child: Option<Ending>,
}

/// A child that ends with its value.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _waited = self.0.wait();
    }
}

/// A call that every server takes, the same way.
struct Call {
    tool: &'static str,
    /// With [`FRESH`] and [`CONNECTION`] where requests differ.
    arguments: Value,
    /// What every answer has to contain.
    expected: &'static str,
}

impl Call {
    fn read(order: &str) -> Self {
        Self {
            tool: "orders.get",
            arguments: json!({"orderId": order}),
            expected: "\"found\":true",
        }
    }

    /// Each connection sets a flag of its own, so that none waits for another's lock.
    fn write() -> Self {
        Self {
            tool: "flag.set",
            arguments: json!({
                "name": format!("bench-{CONNECTION}"), "env": "staging", "rolloutPct": 10
            }),
            expected: "\"rolloutPct\":10",
        }
    }

    /// The parameters, with an idempotency key that a bare server reads over.
    fn params(&self) -> Value {
        let meta = json!({"dev.portcullis/idempotency-key": FRESH});
        json!({"name": self.tool, "arguments": self.arguments, "_meta": meta})
    }

    /// The same for one call alone.
    fn once(&self, number: usize) -> Result<Value> {
        let key = format!("{number:0width$}", width = FRESH.len());
        let text = self.params().to_string();
        let text = text.replace(FRESH, &key).replace(CONNECTION, "once");
        serde_json::from_str(&text).context("write a call")
    }
}

/// Runs the comparison.
///
/// # Errors
/// A server does not start, or answers something else than the others.
pub async fn run(arguments: &Arguments) -> Result<Report> {
    let platform = Platform::start_with(Options::default()).await?;
    let agent = raised(&platform).await?;
    let order = platform.an_order("acme")?;
    let calls = [Call::read(&order), Call::write()];
    let (mut lines, mut results) = (Vec::new(), Vec::new());
    let first = result(&agent.caller().await?, &order).await?;
    let contenders = contenders(&platform, agent, &first).await?;
    for call in &calls {
        let result = same_result(&contenders, call).await?;
        let bytes = result.to_string().len();
        results.push(format!("{} {bytes} bytes of JSON", call.tool));
        for connections in &arguments.connections {
            lines.extend(compare(arguments, &platform, &contenders, *connections, call).await?);
        }
    }
    Ok(Report {
        lines,
        settings: settings(&platform)?,
        result: results.join(", "),
    })
}

/// What every server answers a call with. The first time makes what it changes, so only the second is
/// the same for all.
async fn same_result(contenders: &[Contender], call: &Call) -> Result<Value> {
    let mut all: Option<Value> = None;
    for number in 0..contenders.len() * 2 {
        let contender = contenders.get(number / 2).context("find a server")?;
        let reply = contender.ask(&call.once(number)?).await?;
        let result = reply.structured();
        ensure!(result.is_object(), "{}: {}", contender.name, reply.told());
        if number == 0 {
            continue;
        }
        let same = all.get_or_insert_with(|| result.clone());
        ensure!(
            *same == result,
            "{} answers something else: {}",
            contender.name,
            reply.told()
        );
    }
    all.context("find a server")
}

/// A principal and a tenant with limits that the load does not meet.
async fn raised(platform: &Platform) -> Result<Agent> {
    let limits = json!({
        "rpm": 10_000_000, "burst": 1_000_000, "concurrency": 1_000, "daily_cost_usd": 1_000_000
    });
    let owner = platform.owner("acme")?;
    let stop_rules = json!({"max_plan_depth": 12, "max_retries": 3});
    let whole = json!({"limits": limits, "stop_rules": stop_rules});
    owner.put("/tenants/acme/limits", &whole).await?;
    let grants = Grants::of(&["orders.read", "flags.write:staging"]);
    platform.agent("acme", &grants.and_limits(limits)).await
}

/// What the platform answers, which the others have to answer too.
async fn result(client: &McpClient, order: &str) -> Result<Value> {
    let reply = client.call("orders.get", json!({"orderId": order})).await?;
    let result = reply.structured();
    ensure!(
        result.pointer("/found") == Some(&Value::Bool(true)),
        "{}",
        reply.told()
    );
    Ok(result)
}

async fn contenders(platform: &Platform, agent: Agent, result: &Value) -> Result<Vec<Contender>> {
    let owner = platform.owner("acme")?;
    let tenant = owner.get("/tenants/acme").await?.at("/id");
    let tenant = tenant.as_str().context("find the tenant's id")?.to_owned();
    let shown = result
        .pointer("/order")
        .context("find the order")?
        .to_string();
    let bare = |name, program: &str| -> Result<Contender> {
        let mut child = Command::new(binary::profile_folder()?.join(program))
            .arg("--data-dir")
            .arg(platform.data())
            .args(["--tenant", &tenant, "--shown", &shown])
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("run {program}"))?;
        let pid = child.id();
        let output = child.stdout.take().context("read its address")?;
        let ending = Ending(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        Ok(Contender {
            name,
            address: line
                .trim()
                .parse()
                .with_context(|| format!("start {program}"))?,
            path: "/mcp".to_owned(),
            pid,
            agent: None,
            _child: Some(ending),
        })
    };
    Ok(vec![
        bare(FLOOR, "bench-axum")?,
        bare(BASE, "bench-rmcp")?,
        Contender {
            name: OURS,
            address: platform.address()?,
            path: "/t/acme/mcp".to_owned(),
            pid: platform.pid(),
            agent: Some(agent),
            _child: None,
        },
    ])
}

impl Contender {
    fn url(&self) -> String {
        format!("http://{}{}", self.address, self.path)
    }

    /// A token of the platform; a bare server reads none.
    async fn token(&self) -> Result<String> {
        match &self.agent {
            Some(agent) => agent.token().await,
            None => Ok("none".to_owned()),
        }
    }

    async fn ask(&self, params: &Value) -> Result<Reply> {
        let client = McpClient::new(&Http::new()?, self.url(), self.token().await?);
        client.send("tools/call", params.clone()).await
    }

    /// One round of load on this server, by a process of its own.
    async fn measure(
        &self,
        arguments: &Arguments,
        connections: usize,
        call: &Call,
    ) -> Result<Value> {
        let client = McpClient::new(&Http::new()?, self.url(), String::new());
        let asked = json!({
            "address": self.address.to_string(),
            "path": self.path,
            "headers": [
                ["authorization", format!("Bearer {}", self.token().await?)],
                ["mcp-protocol-version", MODERN],
                ["mcp-method", "tools/call"],
                ["mcp-name", call.tool],
            ],
            "body": client.body("tools/call", call.params()),
            "expected": call.expected,
            "connections": connections,
            "warm_up_seconds": arguments.warm_up_seconds,
            "seconds": arguments.seconds,
            "server_pid": self.pid,
        });
        let mut child = Command::new(binary::profile_folder()?.join("bench-load"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("run bench-load")?;
        let mut input = child.stdin.take().context("write to bench-load")?;
        input.write_all(asked.to_string().as_bytes())?;
        drop(input);
        let output = child.wait_with_output().context("wait for bench-load")?;
        ensure!(
            output.status.success(),
            "bench-load failed at {}",
            self.name
        );
        serde_json::from_slice(&output.stdout).context("read what bench-load measured")
    }
}

/// All servers at one number of connections, in turns, so that a slow moment of the machine falls on
/// each of them.
async fn compare(
    arguments: &Arguments,
    platform: &Platform,
    contenders: &[Contender],
    connections: usize,
    call: &Call,
) -> Result<Vec<Line>> {
    let mut rounds: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let mut rows = Vec::new();
    for _ in 0..arguments.rounds {
        for contender in contenders {
            let before = count(platform)?;
            let told = contender.measure(arguments, connections, call).await?;
            if contender.name == OURS {
                let whole = arguments.seconds + arguments.warm_up_seconds;
                rows.push((count(platform)? - before) / whole);
            }
            rounds.entry(contender.name).or_default().push(told);
        }
    }
    let rows = table::median(rows);
    Ok(contenders
        .iter()
        .map(|contender| {
            let told = rounds
                .get(contender.name)
                .map(Vec::as_slice)
                .unwrap_or_default();
            Line {
                call: call.tool.to_owned(),
                rows: (contender.name == OURS).then_some(rows),
                ..line(contender.name, connections, told)
            }
        })
        .collect())
}

fn count(platform: &Platform) -> Result<f64> {
    Ok(platform.database(REGION).query(RECORDS)?.parse()?)
}

fn line(server: &str, connections: usize, rounds: &[Value]) -> Line {
    let figure = |told: &Value, name: &str| told.get(name).and_then(Value::as_f64);
    let figures = |name: &str| -> Vec<f64> {
        rounds
            .iter()
            .filter_map(|told| figure(told, name))
            .collect()
    };
    let cpu = rounds
        .iter()
        .filter_map(|told| Some(figure(told, "cpu_seconds")? * 1_000.0 / figure(told, "answers")?))
        .collect();
    let errors = rounds
        .iter()
        .filter_map(|told| told.get("errors").and_then(Value::as_u64))
        .filter_map(|errors| usize::try_from(errors).ok())
        .sum();
    Line {
        call: String::new(),
        server: server.to_owned(),
        connections,
        rate: table::median(figures("rate")),
        p50_ms: table::median(figures("p50_ms")),
        p99_ms: table::median(figures("p99_ms")),
        cpu_ms: table::median(cpu),
        rows: None,
        errors,
    }
}

/// What the database server promises, as it says itself.
fn settings(platform: &Platform) -> Result<String> {
    let names = [
        "server_version",
        "fsync",
        "full_page_writes",
        "synchronous_commit",
    ];
    let mut told = Vec::new();
    for name in names {
        let value = platform.database(REGION).query(&format!("show {name}"))?;
        told.push(format!("{name} = {value}"));
    }
    Ok(told.join(", "))
}
