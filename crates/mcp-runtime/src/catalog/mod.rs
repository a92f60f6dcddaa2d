//! Tool definitions made ready for calls: checked when registered, compiled when first used.
//!
//! A definition that this module has not checked never reaches a caller. It fetches nothing: a
//! schema that points outside itself is refused.

mod compiled;
mod schema;
pub mod ticket;

pub use compiled::{CompiledTool, DefinitionError, Violation};
pub use schema::SchemaFault;
pub use ticket::TicketArgument;
