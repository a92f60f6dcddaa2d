//! The only SQL of the project: rows and bytes in and out of the control database and the regional
//! databases, under row-level security.
//!
//! One module a noun. Every function on tenants' rows takes a [`ControlTx`] or a [`RegionTx`], which
//! exists only for one tenant, or is one statement that binds its tenant itself; what has to be read
//! before there is a tenant (the slug of a URL, the client of a token request, a service token, the
//! epoch) takes a [`PlatformTx`].
//!
//! It must never decide anything, know types of policy or evidence, hand out a connection, or read
//! the clock: times come in as arguments.

pub mod bindings;
pub mod claims;
pub mod clients;
pub mod connect;
pub mod control;
pub mod data_keys;
pub mod egress_allowlists;
pub mod epoch;
pub mod error;
pub mod flags;
pub mod grants;
pub mod limits;
pub mod migrate;
pub mod orders;
pub mod outbox;
#[cfg(feature = "bench")]
pub mod plain;
pub mod policies;
mod pooled;
pub mod principals;
pub mod records;
pub mod region;
pub mod relay;
pub mod replicas;
pub mod replies;
pub mod roles;
mod row;
pub mod service_tokens;
pub mod snapshot;
pub mod sweeper;
pub mod switches;
pub mod tenants;
pub mod tickets;
pub mod tools;
pub mod writer;

pub use bindings::Bound;
pub use connect::{ConnectError, ConnectOptions, Connections, Posture};
pub use control::{ControlStore, ControlTx, PlatformTx, Within};
pub use error::{Fault, StoreError};
pub use region::{RegionStore, RegionTx};
pub use row::Page;
pub use writer::{RecordError, RecordWriter, WriterOptions};
