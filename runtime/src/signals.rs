//! Termination signals.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM (sent by the kubelet) or SIGINT (Ctrl-C), and returns its name.
///
/// Catches signals from the call on, not from the first poll on, so that none is lost while the process starts.
///
/// # Errors
/// If the signal handlers can't be installed.
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
