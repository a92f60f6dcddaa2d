//! The attack on the outbound client: cases by class, rebinding, redirects, headers, bombs and slowness,
//! a row each with what was seen.
//!
//! No row dials an address outside of this machine: the dialler is injected, or the destination is a
//! server of the attack's own.

mod answers;
mod corpus;
mod reach;
mod rebinding;
mod run;

pub use run::{Arguments, all};
