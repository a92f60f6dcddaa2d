//! Drives the running platform from outside: starts `portcullis up` on a data directory of its own,
//! talks to it through its public ports, and breaks the things that it stands on.
//!
//! What a test sees is what a client sees: of the platform's crates, only the bare servers that the
//! benchmark compares with use any, and the attack on the outbound client. The tests are in `tests/e2e`; `bench` and the programs in `bin`
//! measure the same binary.

pub mod agent;
pub mod attack;
pub mod bench;
pub mod binary;
pub mod bridge;
pub mod collector;
pub mod container;
pub mod database;
pub mod dns;
pub mod doorman;
pub mod faults;
pub mod folder;
pub mod forge;
pub mod http;
pub mod management;
pub mod mcp;
pub mod network;
pub mod node;
pub mod operator;
pub mod platform;
pub mod processes;
pub mod proxy;
pub mod python;
pub mod raw;
pub mod replica;
pub mod shell;
pub mod upstream;
pub mod wait;
pub mod web;

pub use agent::{Agent, Grants};
pub use collector::Collector;
pub use http::{Http, Reply};
pub use management::Management;
pub use mcp::{Era, McpClient};
pub use platform::{Options, Platform};
pub use replica::Replica;
