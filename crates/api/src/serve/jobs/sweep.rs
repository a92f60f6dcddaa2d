//! The sweeper's named jobs, once a minute. Every replica does them; each is harmless twice. They must
//! see nothing but what is old enough to go.

use std::sync::Arc;
use std::time::Duration;

use portcullis_domain::Pool;
use portcullis_mcp_runtime::gate::Gate;
use portcullis_store::sweeper::{ControlSweeper, RegionSweeper};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::Config;
use crate::serve::error::ServeError;

/// How often the sweeper goes round.
const ROUND: Duration = Duration::from_mins(1);
/// The most rows that one statement of the sweeper removes.
const ROWS: u32 = 5_000;

/// Where the sweeper works.
#[derive(Debug)]
pub(in crate::serve) struct Sweeper {
    control: SecretString,
    regions: Vec<(Pool, SecretString)>,
}

impl Sweeper {
    /// Reads its logins.
    pub(in crate::serve) fn new(config: &Config) -> Result<Self, ServeError> {
        let regions = config
            .regions
            .iter()
            .map(|(pool, region)| Ok((*pool, region.sweeper()?)));
        Ok(Self {
            control: config.control.sweeper()?,
            regions: regions.collect::<Result<_, ServeError>>()?,
        })
    }

    /// Its login at the control database.
    pub(super) fn control(&self) -> SecretString {
        self.control.clone()
    }

    /// Its logins at the regional databases.
    pub(super) fn regions(&self) -> Vec<(Pool, SecretString)> {
        self.regions.clone()
    }

    /// One round. A database that is away is visited in the next one. Connections are opened anew
    /// each time: a pool that rests for a minute is worth nothing.
    async fn round(&self, gate: &Gate) {
        note("control", self.sweep_control().await);
        for (pool, url) in &self.regions {
            note(pool.as_str(), sweep_region(*pool, url, gate).await);
        }
    }

    async fn sweep_control(&self) -> Result<(), ServeError> {
        let sweeper = ControlSweeper::connect(self.control.clone()).await?;
        // Each statement removes a bounded number, so none holds its locks for long.
        while sweeper.remove_expired_bindings(ROWS).await? >= u64::from(ROWS) {}
        while sweeper.remove_old_changes(ROWS).await? >= u64::from(ROWS) {}
        while sweeper.remove_old_replies(ROWS).await? >= u64::from(ROWS) {}
        Ok(())
    }
}

fn note(database: &str, swept: Result<(), ServeError>) {
    if let Err(error) = swept {
        warn!(database, %error, "not swept this time");
    }
}

async fn sweep_region(pool: Pool, url: &SecretString, gate: &Gate) -> Result<(), ServeError> {
    let sweeper = RegionSweeper::connect(pool, url.clone()).await?;
    sweeper.ensure_partitions(gate.clock.now()).await?;
    while sweeper.remove_completed_claims(ROWS).await? >= u64::from(ROWS) {}
    while sweeper.remove_old_answers(ROWS).await? >= u64::from(ROWS) {}
    Ok(())
}

/// Goes round until `stop`.
pub(super) async fn sweep(gate: Arc<Gate>, sweeper: Sweeper, stop: CancellationToken) {
    let rounds = async {
        loop {
            sweeper.round(&gate).await;
            tokio::time::sleep(ROUND).await;
        }
    };
    // A round that is cut off has removed whole rows or none.
    stop.run_until_cancelled(rounds).await;
}
