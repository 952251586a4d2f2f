//! Accepts connections.

use std::net::IpAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tracing::warn;

/// Pause after an error. Errors such as too many open files would recur immediately.
const PAUSE: Duration = Duration::from_secs(1);

/// Accepts the next connection, and returns the client's address, too. Retries after errors. `purpose` says in the log
/// what the connections are for. May be cancelled.
pub async fn accept(listener: &TcpListener, purpose: &str) -> (TcpStream, IpAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return (stream, address.ip().to_canonical()),
            Err(error) => {
                warn!(%error, "can't accept a connection for {purpose}");
                sleep(PAUSE).await;
            }
        }
    }
}
