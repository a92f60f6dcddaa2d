//! Closes the calls whose replica died: each second, in every region, whichever replica has the turn.
//! It must find expired claims by id alone; what they say is read under their tenant by the runtime.

use std::sync::Arc;
use std::time::Duration;

use portcullis_domain::Pool;
use portcullis_mcp_runtime::gate::Gate;
use portcullis_mcp_runtime::reaper;
use portcullis_store::sweeper::RegionSweeper;
use portcullis_store::{ConnectError, StoreError};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::chain;

/// How often expired claims are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait for a database that is away.
const AWAY: Duration = Duration::from_secs(2);
/// The most claims that are closed in one turn; the next turn takes the others.
const CLAIMS: u32 = 500;

/// Why a look ended early.
#[derive(Debug, thiserror::Error)]
enum ReapError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Closes expired claims of one region until `stop`.
pub(super) async fn reap(
    gate: Arc<Gate>,
    (pool, login): (Pool, SecretString),
    stop: CancellationToken,
) {
    let sessions = async {
        loop {
            if let Err(error) = session(&gate, pool, login.clone()).await {
                warn!(pool = pool.as_str(), %error, "expired claims wait to be closed");
            }
            tokio::time::sleep(AWAY).await;
        }
    };
    // A claim that is cut off here is closed by the next one whose turn it is.
    stop.run_until_cancelled(sessions).await;
}

async fn session(gate: &Gate, pool: Pool, login: SecretString) -> Result<(), ReapError> {
    let sweeper = RegionSweeper::connect(pool, login).await?;
    loop {
        if let Some(expired) = sweeper.expired_claims(CLAIMS).await? {
            for (tenant, claim) in &expired.ids {
                if let Err(error) = reaper::close(gate, pool, *tenant, *claim).await {
                    warn!(%claim, error = %chain(&error), "a claim could not be closed");
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}
