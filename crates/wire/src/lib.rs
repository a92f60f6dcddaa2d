//! JSON that the runtime, the management API and the console share: problem documents and the
//! resources of `/api/v1`. Types only; nothing here reads or writes anything.

pub mod api;
pub mod problem;

pub use problem::{Problem, Slug};
