//! Waits until the components of a cluster are ready.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::bail;
use kube::Client;
use tokio::time::timeout;

use crate::process::Process;

/// The longest wait for a component.
const LIMIT: Duration = Duration::from_secs(60);

/// The longest wait for one response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits until the API server reports that it is ready.
pub(crate) async fn wait_until_ready(processes: &[&Process], client: &Client) -> anyhow::Result<()> {
    wait_for("the API server is ready", processes, async || {
        let request = http::Request::get("/readyz").body(Vec::new())?;
        client.request_text(request).await.map_err(anyhow::Error::from)
    })
    .await
    .map(drop)
}

/// Calls `probe` until it returns `Ok`. Fails if one of the processes ends.
pub(crate) async fn wait_for<T, E: Display>(
    what: &str,
    processes: &[&Process],
    probe: impl AsyncFn() -> Result<T, E>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        let observed = match timeout(RESPONSE_TIMEOUT, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no response within {RESPONSE_TIMEOUT:?}"),
        };
        processes.iter().try_for_each(|process| process.check())?;
        if start.elapsed() > LIMIT {
            let last_log =
                processes.last().map(|process| format!("{}: {}", process.name(), process.describe_log()));
            bail!(
                "timed out after {LIMIT:?}: {what}; last observed: {observed}\n{}",
                last_log.unwrap_or_default()
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
