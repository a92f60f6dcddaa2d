//! Two mutating tools that do as they are told: `counter.add`, whose effect is a row in the pool's own
//! transaction, and `remote.add`, whose effects are in another system and are counted there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis_domain::{Jurisdiction, ToolDefinition};
use portcullis_mcp_runtime::catalog::Violation;
use portcullis_mcp_runtime::connectors::{
    Connector, Effects, Invocation, NATIVE, SideEffect, ToolError, ToolFuture, ToolOutput, ToolRef,
};
use portcullis_redaction::FieldRule;
use portcullis_store::orders::{self, OrderRow};
use serde_json::{Map, Value, json};
use time::macros::date;
use tokio::sync::Notify;

pub(crate) const COUNTER: &str = "counter.add";
pub(crate) const REMOTE: &str = "remote.add";

/// Rules for the two tools, to stand before those of a policy.
pub(crate) const RULES: &str = r#"rules:
  - rule: test-writes
    when: { tool: ["counter.add", "remote.add"] }
    decision: allow
  - rule: forbidden-test-writes
    when: { tool: ["counter.add", "remote.add"], args.does: "forbidden" }
    decision: deny
    reason: "forbidden"
  - rule: test-writes-away
    when: { tool: ["counter.add", "remote.add"], args.away: true }
    route: "us-east"
"#;

/// Runs either tool.
#[derive(Debug)]
pub(crate) struct Writes {
    external: bool,
    /// How many calls were run.
    pub(crate) runs: AtomicUsize,
    /// How many effects there were in the other system.
    pub(crate) effects: AtomicUsize,
    /// The keys that the other system was sent.
    pub(crate) keys: Mutex<Vec<String>>,
    /// Told when a call that hangs has come to the place where it hangs.
    pub(crate) begun: Notify,
    /// Lets one call that hangs go on.
    pub(crate) go_on: Notify,
}

impl Writes {
    pub(crate) fn new(external: bool) -> Self {
        Self {
            external,
            runs: AtomicUsize::new(0),
            effects: AtomicUsize::new(0),
            keys: Mutex::default(),
            begun: Notify::new(),
            go_on: Notify::new(),
        }
    }

    pub(crate) fn effects(&self) -> usize {
        self.effects.load(Ordering::SeqCst)
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    async fn hang(&self) {
        self.begun.notify_one();
        self.go_on.notified().await;
    }

    async fn run(&self, invocation: Invocation<'_>) -> Result<ToolOutput, ToolError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let does = invocation.arguments["does"].as_str().unwrap();
        if does == "hangs-before" {
            self.hang().await;
        }
        let effect = if self.external {
            self.send(invocation, does)?
        } else {
            insert(invocation).await?
        };
        match does {
            "hangs-after" => self.hang().await,
            "panics" => panic!("with dana@example.com in its words"),
            "uncertain" => return Err(ToolError::OutcomeUncertain("no answer".into())),
            _ => {}
        }
        let name = &invocation.arguments["name"];
        let value = match does {
            "lies" => json!({ "name": 1 }),
            _ => json!({ "name": name, "email": "dana@example.com" }),
        };
        Ok(ToolOutput { value, effect })
    }

    fn send(&self, invocation: Invocation<'_>, does: &str) -> Result<SideEffect, ToolError> {
        if does == "unreachable" {
            return Err(ToolError::UpstreamUnreachable("no address".into()));
        }
        invocation.mark.set();
        if does == "refused" {
            return Err(ToolError::UpstreamRefused { status: 422 });
        }
        let key = invocation.upstream_key.unwrap().to_owned();
        self.keys.lock().unwrap().push(key);
        self.effects.fetch_add(1, Ordering::SeqCst);
        Ok(SideEffect::Done)
    }
}

async fn insert(invocation: Invocation<'_>) -> Result<SideEffect, ToolError> {
    let begun = invocation.region.begin(invocation.tenant).await;
    let mut tx = begun.map_err(ToolError::Store)?;
    let order = OrderRow {
        id: invocation.intent.unwrap().to_string(),
        customer_id: "cus_1".to_owned(),
        customer_name: "Customer One".to_owned(),
        email: "one@example.com".to_owned(),
        phone: String::new(),
        jurisdiction: invocation.region.pool().jurisdiction().to_string(),
        total_cents: 1,
        currency: "EUR".to_owned(),
        status: "paid".to_owned(),
        placed_on: date!(2025 - 08 - 25),
        note: String::new(),
    };
    let inserted = orders::insert(&mut tx, &[order]).await;
    assert_eq!(inserted.map_err(ToolError::Store)?, 1);
    Ok(SideEffect::Pending(Box::new(tx)))
}

impl Connector for Writes {
    fn tools(&self) -> Vec<String> {
        vec![COUNTER.to_owned()]
    }

    fn effects(&self) -> Effects {
        if self.external {
            Effects::External
        } else {
            Effects::Transactional
        }
    }

    fn check(&self, _tool: ToolRef<'_>, _arguments: &Map<String, Value>) -> Result<(), Violation> {
        Ok(())
    }

    fn obligations(&self, _tool: ToolRef<'_>, _arguments: &Value) -> Vec<FieldRule> {
        Vec::new()
    }

    fn region(&self, _tool: ToolRef<'_>, _arguments: &Value) -> Option<Jurisdiction> {
        None
    }

    /// Holds a result named `stalls` up in room 7, its effect pending.
    fn summary(&self, _tool: ToolRef<'_>, result: &Value) -> Option<String> {
        if result["name"] == "stalls" {
            let runtime = tokio::runtime::Handle::current();
            tokio::task::block_in_place(|| runtime.block_on(self.hang()));
        }
        None
    }

    fn invoke<'a>(&'a self, invocation: Invocation<'a>) -> ToolFuture<'a> {
        Box::pin(self.run(invocation))
    }
}

/// The two tools, each with its connector.
pub(crate) fn definitions() -> [(&'static str, ToolDefinition); 2] {
    [(COUNTER, NATIVE), (REMOTE, "remote")].map(|(name, connector)| {
        let definition = json!({
            "name": name,
            "title": "Add",
            "description": "Adds one.",
            "inputSchema": {
                "type": "object",
                "additionalProperties": false,
                "required": ["name", "does"],
                "properties": {
                    "name": { "type": "string" },
                    "does": { "type": "string" },
                    "away": { "type": "boolean", "default": false },
                    "idemKey": { "type": "string" },
                },
            },
            "outputSchema": {
                "type": "object",
                "additionalProperties": false,
                "required": ["name"],
                "properties": {
                    "name": { "type": "string" },
                    "email": { "type": "string", "x-data-class": "email" },
                },
            },
            "examples": [{ "title": "One", "arguments": { "name": "a", "does": "ok" } }],
            "scope": "counters.write",
            "mutating": true,
            "risk": "low",
            "data": { "classes": [], "jurisdictions": [] },
            "cost": { "micro_usd": 0, "max_micro_usd": 0 },
            "idempotent": false,
        });
        (connector, serde_json::from_value(definition).unwrap())
    })
}
