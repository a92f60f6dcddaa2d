//! A replica that follows the epoch, and switches that are dropped and lifted in its database.

use std::sync::Arc;

use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, Response, StatusCode};
use portcullis_domain::SwitchKind;
use portcullis_mcp_runtime::snapshot;
use portcullis_store::epoch::{self, Raised};
use portcullis_store::replicas::{self, Standing};
use portcullis_store::switches::{self, NewSwitch, SwitchRow};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::platform::{Agent, Platform, answer, id, send};

/// A replica that follows the epoch.
pub(crate) struct Following {
    stop: DropGuard,
    tasks: TaskTracker,
}

impl Following {
    /// Stops in good order.
    pub(crate) async fn end(self) {
        drop(self.stop);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Platform {
    /// Follows the epoch, as a serving replica does, until the guard is dropped.
    pub(crate) async fn follow(&self) -> Following {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (gate, stopped) = (Arc::clone(&self.gate), stop.clone());
        tasks.spawn(async move { snapshot::watch(&gate, stopped).await });
        self.gate.snapshots.first_confirmation().await;
        Following {
            stop: stop.drop_guard(),
            tasks,
        }
    }

    /// Drops a switch, the platform's where its kind says so, and waits until it is acknowledged.
    pub(crate) async fn drop_switch(&self, kind: SwitchKind, target: Option<&str>) -> SwitchRow {
        self.drop_until(kind, target, None).await
    }

    /// The same with a time at which it ends.
    pub(crate) async fn drop_until(
        &self,
        kind: SwitchKind,
        target: Option<&str>,
        expires_at: Option<time::OffsetDateTime>,
    ) -> SwitchRow {
        let now = self.gate.clock.now();
        let new = NewSwitch {
            id: id(),
            tenant: None,
            kind,
            target,
            reason: "odd exports were seen",
            dropped_by: "user:operator",
            expires_at,
        };
        let (row, raised) = if kind == SwitchKind::PlatformReadOnly {
            let mut tx = self.gate.control.platform().await.unwrap();
            let row = switches::create((&mut tx).into(), new, now).await.unwrap();
            let raised = switches::raise((&mut tx).into(), &row, now).await.unwrap();
            tx.commit().await.unwrap();
            (row, raised)
        } else {
            let mut tx = self.gate.control.begin(self.tenant).await.unwrap();
            let row = switches::create((&mut tx).into(), new, now).await.unwrap();
            let raised = switches::raise((&mut tx).into(), &row, now).await.unwrap();
            tx.commit().await.unwrap();
            (row, raised)
        };
        self.acknowledged(raised).await;
        row
    }

    /// Lifts a switch that the tenant dropped, and waits until that is acknowledged.
    pub(crate) async fn lift(&self, row: &SwitchRow) {
        let now = self.gate.clock.now();
        let mut tx = self.gate.control.begin(self.tenant).await.unwrap();
        let lifted = switches::lift((&mut tx).into(), row.id, "user:operator", "it is over", now);
        let lifted = lifted.await.unwrap();
        let raised = switches::raise((&mut tx).into(), &lifted, now)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        self.acknowledged(raised).await;
    }

    /// Raises the epoch for a drill, and waits until that is acknowledged.
    pub(crate) async fn drill(&self) {
        let now = self.gate.clock.now();
        let mut tx = self.gate.control.platform().await.unwrap();
        let raised = epoch::raise((&mut tx).into(), replicas::DRILL, now);
        let raised = raised.await.unwrap();
        tx.commit().await.unwrap();
        self.acknowledged(raised).await;
    }

    /// Waits until the one replica has confirmed a change: silence is no confirmation.
    async fn acknowledged(&self, raised: Raised) {
        loop {
            let mut tx = self.gate.control.platform().await.unwrap();
            let standings = replicas::standings(&mut tx, raised, replicas::PATIENCE)
                .await
                .unwrap();
            tx.commit().await.unwrap();
            let [(_, standing)] = standings.as_slice() else {
                panic!("not one replica: {standings:?}");
            };
            match standing {
                Standing::Confirmed { .. } => return,
                Standing::Awaited { .. } => tokio::task::yield_now().await,
                Standing::RefusesItself => panic!("the replica is silent"),
            }
        }
    }

    /// How many replicas are on the list of those that serve.
    pub(crate) async fn replicas(&self) -> usize {
        let mut tx = self.gate.control.platform().await.unwrap();
        let (_, listed) = replicas::list(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        listed.len()
    }

    /// Sends an MCP request.
    pub(crate) async fn rpc(&self, method: &str, params: Value) -> (StatusCode, Value) {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let request = self
            .request(Agent::One, "/t/acme/mcp")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25")
            .body(Body::from(body.to_string()));
        send(&self.router, request.unwrap()).await
    }

    /// Calls `orders.get` without confirming the epoch for this call's sake.
    pub(crate) async fn call_as_it_is(&self, what: &str) -> Response<Body> {
        let request = Request::post("/t/acme/tools/orders.get")
            .header(AUTHORIZATION, format!("Bearer {}", self.tokens[0]))
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(json!({ "orderId": what }).to_string()));
        answer(&self.router, request.unwrap()).await
    }
}
