//! What is remembered of an import from one turn to the next: only of those with something amiss.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::cache::Cache;
use crate::decide::Why;
use crate::mint::Minted;
use crate::model::failure::{LAST_RETRY, back_off, longest_wait};
use crate::model::import::Import;
use crate::model::key::ObjectKey;

/// So many repairs in a row are made at once: a person at work, or a tool that writes once more.
const REPAIRS_AT_ONCE: u32 = 5;

/// After so long without one, a repair is no longer in a row with the last.
const QUIET: Duration = Duration::from_secs(60);

/// What happened to an import of late.
#[derive(Debug, Default)]
pub struct History {
    failures: u32,
    unreported: u32,
    repairs: u32,
    repaired_at: Option<Timestamp>,
    /// A token that was minted and could not be written yet.
    pub unpublished: Option<Minted>,
}

impl History {
    /// Whether the last try failed.
    pub fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// Notes a success.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.unpublished = None;
    }

    /// Notes a failure; returns how long to wait, at least what the API server `wished`.
    pub fn failed(&mut self, wished: Duration, random: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let wait = back_off(self.failures, random);
        wished.clamp(wait, LAST_RETRY)
    }

    /// When a token may be minted for this reason. A Secret that someone else keeps writing, or a
    /// spec that keeps changing, must not have us mint without end.
    pub fn may_mint_at(&self, why: Why, now: Timestamp) -> Timestamp {
        match self.repaired_at {
            // A clock that was set back must not make this longer.
            Some(last) if is_repair(why) && self.repairs >= REPAIRS_AT_ONCE => {
                last.min(now) + longest_wait(self.repairs - REPAIRS_AT_ONCE + 1)
            }
            _ => now,
        }
    }

    /// Notes that a token was minted.
    pub fn minted(&mut self, why: Why, now: Timestamp) {
        if !is_repair(why) {
            return;
        }
        self.repairs = if self.is_repairing(now) { self.repairs.saturating_add(1) } else { 1 };
        self.repaired_at = Some(now);
    }

    /// Notes that the status says what it should.
    pub fn was_reported(&mut self) {
        self.unreported = 0;
    }

    /// Notes that the status could not be written; returns how long to wait.
    pub fn was_not_reported(&mut self, random: f64) -> Duration {
        self.unreported = self.unreported.saturating_add(1);
        back_off(self.unreported, random)
    }

    /// Whether there is nothing to remember.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.failures == 0 && self.unreported == 0 && self.unpublished.is_none() && !self.is_repairing(now)
    }

    /// Whether a repair now would be in a row with the last.
    fn is_repairing(&self, now: Timestamp) -> bool {
        let quiet = QUIET + longest_wait(self.repairs);
        self.repaired_at.is_some_and(|last| now.duration_since(last).unsigned_abs() < quiet)
    }
}

/// Not the first token of an import, and not one whose time had come.
fn is_repair(why: Why) -> bool {
    matches!(why, Why::Edited | Why::Lost | Why::Changed | Why::Recreated)
}

/// The histories that are kept, by import.
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
        // The cache is asked under the lock: an import that is deleted meanwhile is forgotten after this.
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
    use crate::cache::SeenImport;
    use crate::model::scope::Scope;
    use jiff::SignedDuration;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn repairs_without_end_are_slowed_down() {
        let mut history = History::default();
        let mut now = at(0);
        for _ in 0..REPAIRS_AT_ONCE {
            assert_eq!(history.may_mint_at(Why::Edited, now), now);
            history.minted(Why::Edited, now);
        }
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(history.may_mint_at(Why::Edited, now), now + SignedDuration::from_secs(seconds));
            now = history.may_mint_at(Why::Edited, now);
            history.minted(Why::Edited, now);
        }
        assert_eq!(
            history.may_mint_at(Why::Edited, at(-99_999)),
            at(-99_999 + 300),
            "the clock was set back"
        );
        // What is due by the clock is not a repair.
        assert_eq!(history.may_mint_at(Why::TimeIsUp, now), now);
        assert!(!history.is_over(now));
        now += SignedDuration::from_secs(361);
        history.minted(Why::Edited, now);
        assert_eq!(history.may_mint_at(Why::Edited, now), now, "a quiet time ends the row");
    }

    #[test]
    fn what_the_api_server_wishes_counts_within_bounds() {
        let mut history = History::default();
        assert_eq!(history.failed(Duration::from_secs(7), 1.0), Duration::from_secs(7));
        assert_eq!(history.failed(Duration::from_secs(1), 1.0), Duration::from_secs(2));
        assert_eq!(history.failed(Duration::MAX, 1.0), LAST_RETRY);
        assert!(history.has_failed() && !history.is_over(at(0)));
        history.succeeded();
        assert!(history.is_over(at(0)));
    }

    #[test]
    fn history_is_kept_until_its_import_is_deleted() {
        let cache = Arc::new(Cache::default());
        let histories = Histories::new(cache.clone());
        let import = |uid: &str| {
            let metadata = json!({ "namespace": "default", "name": "a", "uid": uid });
            let spec = json!({ "clusterName": "c2", "namespace": "default", "name": "pod-lister" });
            SeenImport::of(serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap())
        };
        let keep = || {
            let mut history = History::default();
            history.failed(Duration::ZERO, 1.0);
            histories.keep(&import("u").import, history);
        };
        let key = ObjectKey::new("default", "a");
        keep();
        assert!(!histories.take(&import("u").import).has_failed(), "the cache does not have the import");
        cache.see_import(&Scope::All, Event::Apply((key.clone(), Some(import("u")))));
        keep();
        assert!(histories.take(&import("u").import).has_failed());
        keep();
        assert!(!histories.take(&import("recreated").import).has_failed());
        keep();
        histories.forget(&key);
        assert!(!histories.take(&import("u").import).has_failed());
    }
}
