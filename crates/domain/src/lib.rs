//! The nouns that every room shares: typed ids, the clock, the caller, money, regions, tool
//! definitions, and the names of spans and attributes.
//!
//! Pure by construction: no I/O, no async, no randomness, no global state. It compiles to wasm.

pub mod attribute;
pub mod caller;
pub mod clock;
pub mod http_tool;
pub mod id;
pub mod limits;
pub mod money;
pub mod observation;
pub mod principal;
pub mod region;
pub mod replay;
pub mod scope;
pub mod switch;
pub mod tenant;
pub mod tool;
pub mod trace;

pub use caller::Caller;
pub use clock::{Clock, ManualClock};
pub use http_tool::HttpToolConfig;
pub use id::Id;
pub use limits::{Limits, StopRules};
pub use money::MicroUsd;
pub use principal::{PrincipalName, PrincipalType};
pub use region::{Jurisdiction, Pool};
pub use replay::ReplayMode;
pub use scope::{Scope, ScopeTemplate};
pub use switch::SwitchKind;
pub use tenant::TenantSlug;
pub use tool::ToolDefinition;
pub use trace::{SpanId, TraceId, TraceParent, TraceState};
