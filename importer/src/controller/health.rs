//! Whether the importer does its work, for the kubelet's probes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cache::Cache;
use crate::queue::Queue;

/// How often the loop shows that it turns.
pub const BEAT: Duration = Duration::from_secs(5);

/// A loop that has not turned for so long does not turn any more.
const SILENCE: Duration = Duration::from_secs(60);

/// The deadlines of all calls of one reconciliation together end long before.
const LONGEST_RUN: Duration = Duration::from_secs(300);

/// Answers the probes.
#[derive(Clone, Debug)]
pub struct Health {
    cache: Arc<Cache>,
    queue: Arc<Queue>,
    beat: Arc<Mutex<Instant>>,
}

impl Health {
    /// Of the controller that works with these.
    pub fn new(cache: Arc<Cache>, queue: Arc<Queue>) -> Self {
        Self { cache, queue, beat: Arc::new(Mutex::new(Instant::now())) }
    }

    /// The loop turns.
    pub fn beat(&self) {
        *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Whether the process is worth keeping.
    ///
    /// # Errors
    /// What is stuck.
    pub fn live(&self) -> Result<(), String> {
        let silent = self.beat.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        verdict(silent, self.queue.oldest_run())
    }

    /// Whether it knows all imports, Secrets and links; one that stands by does, too. Namespaces that it is
    /// confined to and has no right to are not waited for: one that was deleted must stop no roll-out.
    ///
    /// # Errors
    /// When it does not.
    pub fn ready(&self) -> Result<(), String> {
        if self.cache.is_synced() {
            Ok(())
        } else {
            Err("imports, Secrets and links are not listed yet".into())
        }
    }
}

fn verdict(silent: Duration, oldest_run: Option<Duration>) -> Result<(), String> {
    if silent > SILENCE {
        return Err(format!("the controller has not turned for {} s", silent.as_secs()));
    }
    match oldest_run {
        Some(run) if run > LONGEST_RUN => {
            Err(format!("a reconciliation has been running for {} s", run.as_secs()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::turning(5, None, true)]
    #[case::working(5, Some(100), true)]
    #[case::silent(61, None, false)]
    #[case::stuck(5, Some(301), false)]
    fn what_is_stuck_is_not_live(#[case] silent: u64, #[case] run: Option<u64>, #[case] live: bool) {
        let verdict = verdict(Duration::from_secs(silent), run.map(Duration::from_secs));
        assert_eq!(verdict.is_ok(), live);
    }
}
