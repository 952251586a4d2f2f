//! Liveness and readiness, for the kubelet's probes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cache::Cache;
use crate::queue::Queue;

/// How often the control loop records a heartbeat.
pub const BEAT: Duration = Duration::from_secs(5);

/// A loop without a heartbeat for this long is stuck.
const MAX_HEARTBEAT_AGE: Duration = Duration::from_secs(60);

/// A run longer than this is stuck: the deadlines of all its calls, and the waits for them, add up to less.
const LONGEST_RUN: Duration = Duration::from_secs(600);

/// The state behind the probes.
#[derive(Clone, Debug)]
pub struct Health {
    cache: Arc<Cache>,
    queue: Arc<Queue>,
    beat: Arc<Mutex<Instant>>,
}

impl Health {
    pub fn new(cache: Arc<Cache>, queue: Arc<Queue>) -> Self {
        Self { cache, queue, beat: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Records a heartbeat of the control loop.
    pub fn beat(&self) {
        *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Whether the process works.
    ///
    /// # Errors
    /// What is stuck.
    pub fn live(&self) -> Result<(), String> {
        let age = self.beat.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        liveness(age, self.queue.oldest_run())
    }

    /// Whether imports, Secrets, links and policies are listed; followers list them, too. Ignores namespaces that the
    /// importer may not list, because a deleted namespace must not block a rollout.
    ///
    /// # Errors
    /// What is missing.
    pub fn ready(&self) -> Result<(), String> {
        if self.cache.is_synced() {
            Ok(())
        } else {
            Err("imports, Secrets, links and ImportPolicies are not listed yet".into())
        }
    }
}

fn liveness(age: Duration, oldest_run: Option<Duration>) -> Result<(), String> {
    if age > MAX_HEARTBEAT_AGE {
        return Err(format!("the control loop has been stuck for {}s", age.as_secs()));
    }
    match oldest_run {
        Some(run) if run > LONGEST_RUN => {
            Err(format!("a reconciliation has been running for {}s", run.as_secs()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::idle(5, None, true)]
    #[case::working(5, Some(100), true)]
    #[case::loop_stuck(61, None, false)]
    #[case::run_stuck(5, Some(601), false)]
    fn stuck_importer_is_not_live(#[case] age: u64, #[case] run: Option<u64>, #[case] live: bool) {
        let liveness = liveness(Duration::from_secs(age), run.map(Duration::from_secs));
        assert_eq!(liveness.is_ok(), live);
    }
}
