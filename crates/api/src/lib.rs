//! The rooms of the binary `portcullis`: configuration, composition root, OAuth endpoints,
//! management API and command line.
//!
//! This file declares them and does nothing else; `serve` is the only place that knows every room.

mod attempts;
pub mod cli;
pub mod client_key;
pub mod config;
pub mod credential;
pub mod oauth;
pub mod platform;
pub mod serve;
pub mod up;
pub mod v1;
