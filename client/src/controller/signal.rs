//! Signals that end a controller.

use std::future::pending;
use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Resolves once the process has received `count` signals, SIGINT or SIGTERM.
pub(super) async fn received(count: usize) {
    let wait = async || {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        for _ in 0..count {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        io::Result::Ok(())
    };
    if let Err(error) = wait().await {
        tracing::error!(%error, "cannot handle signals: SIGINT and SIGTERM end the process without a graceful shutdown");
        pending().await
    }
}
