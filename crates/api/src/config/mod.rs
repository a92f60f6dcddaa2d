//! The configuration of one replica: one TOML file, `PORTCULLIS_*` variables over it, checked as a
//! whole before anything starts.
//!
//! It must never guess: an unknown key, an unknown variable or a value outside its rule is an error
//! that names the field, the rule and the remedy. Nothing outside this module reads the environment.

mod check;
mod environment;
mod error;
mod load;
mod sections;
#[cfg(test)]
mod tests;

pub use environment::{
    CLIENT_VARIABLES, Environment, Override, default_data_folder, overrides, search_path,
};
pub use error::{ConfigError, Violation};
pub use load::{load, parse};
pub use sections::{
    Admin, Admission, Control, Egress, Keys, LogFormat, OpenedNetwork, Otlp, OtlpProtocol, Profile,
    Region, Server, Telemetry, Tls, Tokens,
};

use std::collections::BTreeMap;

use portcullis_domain::Pool;
use serde::Deserialize;

/// What one replica is told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What may be relied on: `local` for one machine, `production` for everything else.
    pub profile: Profile,
    /// Where and how it is reached.
    pub server: Server,
    /// The listener for the operator's own tools.
    #[serde(default)]
    pub admin: Admin,
    /// The control database.
    pub control: Control,
    /// One regional database a pool.
    pub regions: BTreeMap<Pool, Region>,
    /// Where the keys are.
    pub keys: Keys,
    /// Access tokens.
    #[serde(default)]
    pub tokens: Tokens,
    /// Limits where neither a principal nor its tenant has its own.
    #[serde(default)]
    pub admission: Admission,
    /// Calls to other systems that tenants name.
    #[serde(default)]
    pub egress: Egress,
    /// What it tells its operator.
    #[serde(default)]
    pub telemetry: Telemetry,
}
