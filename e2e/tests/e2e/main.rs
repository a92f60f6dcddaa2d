//! The running binary through its public ports: what the issue asks to be seen, and every trap of
//! the MCP endpoint.
//!
//! One program, so that tests which disturb nobody share one platform. A test that breaks something
//! starts its own.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

mod answers;
mod bearer;
mod bridge;
mod changes;
mod clients;
mod command_line;
mod conformance;
mod connect;
mod crash;
mod credentials;
mod dashboards;
mod doctor;
mod doors;
mod edge;
mod egress;
mod exactly_once;
mod faults;
mod flags;
mod flips;
mod foreign;
mod hygiene;
mod lifecycle;
mod listing;
mod lost_commits;
mod metadata;
mod outside;
mod owasp;
mod policies;
mod quickstart;
mod reaper;
mod receipts;
mod regions;
mod replicas;
mod runbook;
mod scan;
mod switches;
mod telemetry;
mod typescript;
