//! The rows of the playbook's OWASP table that exist by now, a file each. A test is named after its row;
//! `docs/owasp.md` lists them, and `cargo xtask test` says which have no test yet.

mod bola;
mod broken_auth;
mod excess_exposure;
mod injection;
mod inventory;
mod lack_of_limits;
mod logging;
mod mass_assignment;
mod misconfiguration;
