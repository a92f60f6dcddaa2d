//! What the operating system gives: time, log lines, signals, files that only their owner
//! reads.
//!
//! The rest of the binary takes these as values, so that tests choose them.

mod clock;
mod logs;
mod private_file;
mod signals;

pub use clock::SystemClock;
pub use logs::{LogError, install as install_logs};
pub use private_file::{create_private, write_private};
pub use signals::shutdown_on_signals;
