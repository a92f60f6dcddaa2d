//! Being asked to stop: Ctrl-C, `kill`, a terminal that closes.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A token that is cancelled when the process is asked to stop.
///
/// # Errors
/// The system gives no signals to watch.
pub fn shutdown_on_signals() -> io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let shutdown = CancellationToken::new();
    let asked = shutdown.clone();
    // It lives as long as the process; nothing waits for it.
    TaskTracker::new().spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        asked.cancel();
    });
    Ok(shutdown)
}
