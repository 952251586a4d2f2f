//! When to stop.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM (the kubelet's word) or SIGINT (Ctrl-C), and names the one that came.
///
/// The signals are caught from the call on, not from the first poll on, so that one which comes
/// while the process starts is not lost.
///
/// # Errors
/// When the system lets no handler be set.
pub fn shutdown() -> io::Result<impl Future<Output = &'static str> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}
