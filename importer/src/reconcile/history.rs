//! The history of a failing import, kept between reconciliations.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::cache::Cache;
use crate::decide::MintReason;
use crate::mint::Minted;
use crate::model::failure::{MAX_WAIT, back_off, wait_limit};
use crate::model::import::Import;
use crate::model::key::ObjectKey;

/// Number of consecutive repairs without a delay: enough for a person's edits, or for a tool that writes once.
const UNDELAYED_REPAIRS: u32 = 5;

/// Time without a repair, in addition to the wait, after which the next repair starts a new series.
const SERIES_GAP: Duration = Duration::from_secs(60);

/// Recent failures and repairs of an import.
#[derive(Debug, Default)]
pub struct History {
    failures: u32,
    status_failures: u32,
    repairs: u32,
    repaired_at: Option<Timestamp>,
    /// A minted token that could not be written yet.
    pub unpublished: Option<Minted>,
}

impl History {
    /// Whether the last attempt failed.
    pub fn has_failed(&self) -> bool {
        self.failures > 0
    }

    pub fn record_success(&mut self) {
        self.failures = 0;
        self.unpublished = None;
    }

    /// Records a failure; returns the wait, which is at least `retry_after`, up to [`MAX_WAIT`].
    pub fn record_failure(&mut self, retry_after: Duration, random: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let wait = back_off(self.failures, random);
        retry_after.clamp(wait, MAX_WAIT)
    }

    /// When a token may be minted for this reason. Limits the number of tokens if another client keeps writing the
    /// Secret or the spec.
    pub fn earliest_mint(&self, why: MintReason, now: Timestamp) -> Timestamp {
        match self.repaired_at {
            // A clock that was set back must not extend the wait.
            Some(last) if is_repair(why) && self.repairs >= UNDELAYED_REPAIRS => {
                last.min(now) + wait_limit(self.repairs - UNDELAYED_REPAIRS + 1)
            }
            _ => now,
        }
    }

    pub fn record_mint(&mut self, why: MintReason, now: Timestamp) {
        if !is_repair(why) {
            return;
        }
        self.repairs = if self.is_repairing(now) { self.repairs.saturating_add(1) } else { 1 };
        self.repaired_at = Some(now);
    }

    pub fn record_status_written(&mut self) {
        self.status_failures = 0;
    }

    /// Records that the status could not be written; returns the wait.
    pub fn record_status_failure(&mut self, random: f64) -> Duration {
        self.status_failures = self.status_failures.saturating_add(1);
        back_off(self.status_failures, random)
    }

    /// Whether there is nothing to remember.
    pub fn is_empty_at(&self, now: Timestamp) -> bool {
        self.failures == 0
            && self.status_failures == 0
            && self.unpublished.is_none()
            && !self.is_repairing(now)
    }

    /// Whether a repair now would continue the series.
    fn is_repairing(&self, now: Timestamp) -> bool {
        let gap = SERIES_GAP + wait_limit(self.repairs);
        self.repaired_at.is_some_and(|last| now.duration_since(last).unsigned_abs() < gap)
    }
}

/// Whether the reason is a change of the Secret, the spec or the service account. Such changes may recur endlessly.
fn is_repair(why: MintReason) -> bool {
    matches!(why, MintReason::Edited | MintReason::Lost | MintReason::Changed | MintReason::Recreated)
}

/// Histories by import.
#[derive(Debug)]
pub struct Histories {
    cache: Arc<Cache>,
    kept: Mutex<HashMap<ObjectKey, Kept>>,
}

#[derive(Debug)]
struct Kept {
    uid: Box<str>,
    history: History,
}

impl Histories {
    pub fn new(cache: Arc<Cache>) -> Self {
        Self { cache, kept: Mutex::default() }
    }

    /// Removes and returns the import's history.
    pub fn take(&self, import: &Import) -> History {
        let kept = self.kept().remove(&import.key).filter(|kept| kept.uid == import.uid);
        kept.map(|kept| kept.history).unwrap_or_default()
    }

    /// Keeps the history until the import is deleted.
    pub fn keep(&self, import: &Import, history: History) {
        // Check under the lock: `forget` follows a deletion from the cache, so it runs after this insert.
        let mut kept = self.kept();
        if self.cache.import(&import.key).is_some_and(|known| known.import.uid == import.uid) {
            kept.insert(import.key.clone(), Kept { uid: import.uid.clone(), history });
        }
    }

    /// Drops the history of an import that the cache no longer has.
    pub fn forget(&self, key: &ObjectKey) {
        self.kept().remove(key);
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<ObjectKey, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::ObservedImport;
    use crate::model::scope::Scope;
    use jiff::SignedDuration;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn repeated_repairs_are_delayed() {
        let mut history = History::default();
        let mut now = at(0);
        for _ in 0..UNDELAYED_REPAIRS {
            assert_eq!(history.earliest_mint(MintReason::Edited, now), now);
            history.record_mint(MintReason::Edited, now);
        }
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(
                history.earliest_mint(MintReason::Edited, now),
                now + SignedDuration::from_secs(seconds)
            );
            now = history.earliest_mint(MintReason::Edited, now);
            history.record_mint(MintReason::Edited, now);
        }
        assert_eq!(
            history.earliest_mint(MintReason::Edited, at(-99_999)),
            at(-99_999 + 300),
            "the clock was set back"
        );
        // A scheduled refresh is not a repair.
        assert_eq!(history.earliest_mint(MintReason::TimeIsUp, now), now);
        assert!(!history.is_empty_at(now));
        now += SignedDuration::from_secs(361);
        history.record_mint(MintReason::Edited, now);
        assert_eq!(history.earliest_mint(MintReason::Edited, now), now, "a quiet period ends the series");
    }

    #[test]
    fn retry_after_is_respected_within_bounds() {
        let mut history = History::default();
        assert_eq!(history.record_failure(Duration::from_secs(7), 1.0), Duration::from_secs(7));
        assert_eq!(history.record_failure(Duration::from_secs(1), 1.0), Duration::from_secs(2));
        assert_eq!(history.record_failure(Duration::MAX, 1.0), MAX_WAIT);
        assert!(history.has_failed() && !history.is_empty_at(at(0)));
        history.record_success();
        assert!(history.is_empty_at(at(0)));
    }

    #[test]
    fn history_is_kept_until_its_import_is_deleted() {
        let cache = Arc::new(Cache::default());
        let histories = Histories::new(cache.clone());
        let import = |uid: &str| {
            let metadata = json!({ "namespace": "default", "name": "a", "uid": uid });
            let spec = json!({ "clusterName": "c2", "namespace": "default", "name": "pod-lister" });
            ObservedImport::of(serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap())
        };
        let keep = || {
            let mut history = History::default();
            history.record_failure(Duration::ZERO, 1.0);
            histories.keep(&import("u").import, history);
        };
        let key = ObjectKey::new("default", "a");
        keep();
        assert!(!histories.take(&import("u").import).has_failed(), "the cache does not have the import");
        cache.observe_import(&Scope::All, Event::Apply((key.clone(), Some(import("u")))));
        keep();
        assert!(histories.take(&import("u").import).has_failed());
        keep();
        assert!(!histories.take(&import("recreated").import).has_failed());
        keep();
        histories.forget(&key);
        assert!(!histories.take(&import("u").import).has_failed());
    }
}
