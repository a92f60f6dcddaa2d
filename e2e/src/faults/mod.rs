//! Faults on purpose: duplicates, kills, switches, lost lines and restarts, on several replicas, with
//! effects counted outside of the platform. `cargo xtask faults` runs them at their full size; the
//! same scenarios are tests at a small one.

pub mod idempotency;
pub mod kills;
pub mod kills_of_flags;
pub mod lines;
pub mod load;
pub mod restarts;
pub mod run;
pub mod stage;
pub mod switches;
pub mod table;

pub use stage::{Caller, Stage};
pub use table::{Row, markdown};
