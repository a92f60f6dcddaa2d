//! One tool call, from bytes to answer.
//!
//! The rooms stand in `rooms/`, one file each, in the order of a call; a room can be entered only
//! through the one before it. Nothing here writes SQL, and nothing here answers before the record
//! of the call is durable.

pub mod catalog;
pub mod challenge;
pub mod changes;
pub mod connectors;
pub mod gate;
pub mod reaper;
pub mod refusals;
pub mod rooms;
pub mod seam;
pub mod snapshot;
pub mod switchboard;
pub mod token;

/// An error with everything that caused it, for the log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
