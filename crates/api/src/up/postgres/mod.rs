//! A private PostgreSQL: its binaries, its installation where we may, one cluster of our own.
//!
//! It must never touch a cluster that is not in our data folder, and never listen on a network.

mod binaries;
mod cluster;
mod install;
mod leftover;

pub(super) use binaries::Binaries;
pub(super) use cluster::{Cluster, SUPERUSER};
