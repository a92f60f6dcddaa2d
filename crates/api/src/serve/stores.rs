//! The databases of a replica, opened as the roles that serve and checked before anything is served.

use std::collections::BTreeMap;

use portcullis_domain::{Clock, Pool};
use portcullis_store::connect::{ConnectOptions, Posture};
use portcullis_store::{ControlStore, RegionStore, migrate};
use tracing::warn;

use super::error::ServeError;
use crate::config::{Config, Profile};
use crate::platform::SystemClock;

/// How many connections of each pool are open before the replica says that it is ready.
const WARM: u32 = 4;

/// The databases of a replica.
#[derive(Debug, Clone)]
pub struct Stores {
    /// The control database.
    pub control: ControlStore,
    /// The regional databases.
    pub regions: BTreeMap<Pool, RegionStore>,
}

impl Stores {
    /// Opens every database. The store refuses roles that bypass row-level security and databases
    /// of another pool; this refuses servers that forget what they acknowledged.
    ///
    /// # Errors
    /// A database cannot be reached or may not be used.
    pub async fn connect(config: &Config) -> Result<Self, ServeError> {
        let options = |max_connections| ConnectOptions {
            max_connections,
            min_connections: max_connections.min(WARM),
            ..ConnectOptions::default()
        };
        let app = config.control.app()?;
        let control = ControlStore::connect(app, options(config.control.max_connections)).await?;
        durable(config.profile, "control", control.posture().await?)?;
        let mut regions = BTreeMap::new();
        for (pool, region) in &config.regions {
            let options = options(region.max_connections);
            let (app, recorder) = (region.app()?, region.recorder()?);
            let store = RegionStore::connect(*pool, app, recorder, options).await?;
            durable(config.profile, pool.as_str(), store.posture().await?)?;
            regions.insert(*pool, store);
        }
        Ok(Self { control, regions })
    }
}

fn durable(profile: Profile, database: &str, posture: Posture) -> Result<(), ServeError> {
    if posture.durable() {
        return Ok(());
    }
    match profile {
        Profile::Production => Err(ServeError::NotDurable {
            database: database.to_owned(),
        }),
        Profile::Local => {
            warn!(
                database,
                "fsync, full_page_writes or synchronous_commit is off: a crash loses records"
            );
            Ok(())
        }
    }
}

/// Brings every database of the configuration to this version.
///
/// # Errors
/// The configuration names no role that migrates, or a migration fails.
pub async fn migrate(config: &Config) -> Result<(), ServeError> {
    let missing = |field: String| ServeError::NoOwner { field };
    let owner = config.control.owner()?;
    let owner = owner.ok_or_else(|| missing("control.owner_url".to_owned()))?;
    migrate::control(&owner).await?;
    for (pool, region) in &config.regions {
        let owner = region.owner()?;
        let owner = owner.ok_or_else(|| missing(format!("regions.{pool}.owner_url")))?;
        migrate::region(&owner, *pool, SystemClock.now()).await?;
    }
    Ok(())
}
