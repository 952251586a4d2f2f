//! Waits for a condition, and reports what was last observed.

use std::fmt::Display;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::{Instant, sleep, timeout_at};

/// Long enough even while the machine compiles. A passing test never waits this long.
const DEADLINE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(50);

/// Calls `probe` until it returns `Ok`, and returns its value. Panics after two minutes.
///
/// The panic message has `what` (like "the pod is gone"), the time waited, and the probe's last error, which should
/// describe what the probe observed.
pub async fn eventually<T, E: Display>(what: impl Display, probe: impl AsyncFnMut() -> Result<T, E>) -> T {
    eventually_within(DEADLINE, what, probe).await
}

/// [`eventually`] with another deadline.
pub async fn eventually_within<T, E: Display>(
    deadline: Duration,
    what: impl Display,
    probe: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    match try_eventually(deadline, what, probe).await {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

/// Awaits a future. Ctrl-C drops the future, and with it everything that it started.
pub async fn unless_interrupted<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::select! {
        result = future => result,
        _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
    }
}

/// [`eventually_within`] with an error instead of a panic.
pub async fn try_eventually<T, E: Display>(
    deadline: Duration,
    what: impl Display,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    let end = start + deadline;
    let mut last = None;
    loop {
        match timeout_at(end, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => last = Some(format!("{error:#}")),
            Err(_) => {
                let before = last.map_or_else(String::new, |error| format!("; the one before: {error}"));
                return Err(anyhow!(
                    "timed out after {deadline:?}: {what}; the last probe did not return{before}"
                ));
            }
        }
        if Instant::now() + PAUSE >= end {
            let waited = start.elapsed();
            let error = last.unwrap_or_default();
            return Err(anyhow!("timed out after {waited:.1?}: {what}; last observed: {error}"));
        }
        sleep(PAUSE).await;
    }
}
