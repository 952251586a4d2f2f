//! Waiting for a condition, with a memory of what was seen last.

use std::fmt::Display;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::{Instant, sleep, timeout_at};

/// Long enough for a machine that compiles beside the tests; a test that passes never waits for it.
const DEADLINE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(50);

/// Tries `probe` until it is `Ok`, and gives its value; panics after two minutes.
///
/// The panic says what was awaited, for how long, and the probe's last error: let the probe's error
/// say what it saw.
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

/// Does a work to its end, unless somebody presses Ctrl-C: then it is dropped, and with it what it started.
pub async fn unless_interrupted<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::select! {
        result = work => result,
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
            Ok(Err(seen)) => last = Some(format!("{seen:#}")),
            Err(_) => {
                let before = last.map_or_else(String::new, |seen| format!("; the one before saw: {seen}"));
                return Err(anyhow!("waited {deadline:?} for {what}; the last try did not return{before}"));
            }
        }
        if Instant::now() + PAUSE >= end {
            let tried = start.elapsed();
            let seen = last.unwrap_or_default();
            return Err(anyhow!("waited {tried:.1?} for {what}; last seen: {seen}"));
        }
        sleep(PAUSE).await;
    }
}
