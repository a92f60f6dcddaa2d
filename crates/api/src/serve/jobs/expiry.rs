//! Writes down the end of kill switches whose time is over. Calls are let through without it.

use std::sync::Arc;
use std::time::Duration;

use portcullis_mcp_runtime::gate::Gate;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::v1::switches::expiry;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

/// Goes round until `stop`.
pub(super) async fn expire(gate: Arc<Gate>, stop: CancellationToken) {
    let rounds = async {
        loop {
            if let Err(error) = expiry::round(&gate.control, gate.clock.now()).await {
                warn!(%error, "ends of switches are written down later");
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    // Each end is one transaction: what is cut off has not happened.
    stop.run_until_cancelled(rounds).await;
}
