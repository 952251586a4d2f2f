//! The history of a failing import, kept between reconciliations.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::cache::Cache;
use crate::clock::after;
use crate::decide::MintReason;
use crate::mint::Minted;
use crate::model::failure::{Failure, MAX_WAIT, back_off, wait_limit};
use crate::model::import::Import;
use crate::model::key::ObjectKey;

/// Number of consecutive repairs without a delay: enough for a person's edits, or for a tool that writes once.
const UNDELAYED_REPAIRS: u32 = 5;

/// Number of consecutive attempts before the end of the back-off without a delay: enough for a person who fixes what
/// is wrong.
const UNDELAYED_EARLY_ATTEMPTS: u32 = 1;

/// Time without a repetition, in addition to the wait, that ends a series.
const SERIES_GAP: Duration = Duration::from_secs(60);

/// Recent failures and repairs of an import.
#[derive(Debug, Default)]
pub struct History {
    failures: u32,
    /// The end of the back-off.
    retry_at: Option<Timestamp>,
    /// Whether an attempt failed since the last success that the status shows.
    has_own_failure: bool,
    status_failures: u32,
    /// Attempts before the end of the back-off, because of an event.
    early_attempts: Series,
    repairs: Series,
    /// A minted token that could not be written yet.
    pub unpublished: Option<Minted>,
}

impl History {
    /// Whether the last attempt failed.
    pub fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// Records an attempt. An event may bring it about before the end of the back-off: it may have fixed the failure.
    /// But a client that causes one event after another must not cause as many calls, so these attempts are limited.
    ///
    /// # Errors
    /// When the next attempt may be made, if not now.
    pub fn record_attempt(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        // A clock that was set back must not extend the wait.
        let Some(retry_at) = self.retry_at.filter(|time| *time > now && *time <= after(now, MAX_WAIT)) else {
            return Ok(());
        };
        let earliest = self.early_attempts.earliest(UNDELAYED_EARLY_ATTEMPTS, now);
        if earliest > now {
            return Err(earliest.min(retry_at));
        }
        self.early_attempts.record(now);
        Ok(())
    }

    /// Whether an attempt failed since the last success that the status shows. An import that only waited for its
    /// source made no attempt.
    pub fn has_own_failure(&self) -> bool {
        self.has_own_failure
    }

    /// Records how a reconciliation ended, and whether the status shows it.
    pub fn record_outcome(&mut self, failure: Option<&Failure>, is_reported: bool) {
        match failure {
            Some(failure) if failure.waits_for_source() => {}
            Some(_) => self.has_own_failure = true,
            None => self.has_own_failure &= !is_reported,
        }
    }

    pub fn record_success(&mut self) {
        (self.failures, self.retry_at) = (0, None);
        self.unpublished = None;
    }

    /// Records a failure; returns when to retry: after at least `retry_after`, up to [`MAX_WAIT`].
    pub fn record_failure(&mut self, retry_after: Duration, now: Timestamp, random: f64) -> Timestamp {
        self.failures = self.failures.saturating_add(1);
        let wait = back_off(self.failures, random);
        let retry_at = after(now, retry_after.clamp(wait, MAX_WAIT));
        self.retry_at = Some(retry_at);
        retry_at
    }

    /// When a token may be minted for this reason. Limits the number of tokens if another client keeps writing the
    /// Secret or the spec.
    pub fn earliest_mint(&self, why: MintReason, now: Timestamp) -> Timestamp {
        if is_repair(why) { self.repairs.earliest(UNDELAYED_REPAIRS, now) } else { now }
    }

    pub fn record_mint(&mut self, why: MintReason, now: Timestamp) {
        if is_repair(why) {
            self.repairs.record(now);
        }
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
            && !self.has_own_failure
            && self.status_failures == 0
            && self.unpublished.is_none()
            && !self.early_attempts.continues(now)
            && !self.repairs.continues(now)
    }
}

/// What others can make the importer repeat. Repetitions are delayed like retries.
#[derive(Debug, Default)]
struct Series {
    count: u32,
    last: Option<Timestamp>,
}

impl Series {
    /// When the next repetition is allowed, if this number is allowed without a delay.
    fn earliest(&self, undelayed: u32, now: Timestamp) -> Timestamp {
        match self.last {
            // A clock that was set back must not extend the wait.
            Some(last) if self.count >= undelayed => last.min(now) + wait_limit(self.count - undelayed + 1),
            _ => now,
        }
    }

    fn record(&mut self, now: Timestamp) {
        self.count = if self.continues(now) { self.count.saturating_add(1) } else { 1 };
        self.last = Some(now);
    }

    /// Whether a repetition now would continue the series.
    fn continues(&self, now: Timestamp) -> bool {
        let gap = SERIES_GAP + wait_limit(self.count);
        self.last.is_some_and(|last| now.duration_since(last).unsigned_abs() < gap)
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
    use crate::model::failure::{Reason, Retry};
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
        let mut fail = |retry_after| history.record_failure(retry_after, at(0), 1.0);
        assert_eq!(fail(Duration::from_secs(7)), at(7));
        assert_eq!(fail(Duration::from_secs(1)), at(2));
        assert_eq!(fail(Duration::MAX), after(at(0), MAX_WAIT));
        assert!(history.has_failed() && !history.is_empty_at(at(0)));
        history.record_success();
        assert!(history.is_empty_at(at(0)));
    }

    /// The times of attempts from 0 to `until` if an event comes every `step` milliseconds, and all attempts fail.
    fn attempts(history: &mut History, step: usize, until: i64) -> Vec<Timestamp> {
        let milliseconds = (0..until * 1000).step_by(step);
        let times = milliseconds.map(|time| Timestamp::from_millisecond(time).unwrap());
        times
            .filter(|now| {
                let is_admitted = history.record_attempt(*now).is_ok();
                if is_admitted {
                    history.record_failure(Duration::ZERO, *now, 1.0);
                }
                is_admitted
            })
            .collect()
    }

    #[test]
    fn many_events_of_a_failing_import_cause_few_attempts() {
        let mut history = History::default();
        // The second is the reaction to the first event, without a delay.
        let expected =
            [0, 50, 1050, 3050, 7050, 15_050, 31_050, 63_050, 127_050, 255_050, 511_050, 811_050, 811_100];
        let expected = expected.map(|time| Timestamp::from_millisecond(time).unwrap());
        assert_eq!(attempts(&mut history, 50, 900), expected);
        // A success in between does not end the series, but a quiet time does.
        let fail = |history: &mut History, now| history.record_failure(Duration::MAX, now, 1.0);
        let now = at(900);
        history.record_success();
        assert_eq!(history.record_attempt(now), Ok(()), "it has not failed since");
        let retry_at = fail(&mut history, now);
        assert_eq!(history.record_attempt(now), Err(at(1111) + SignedDuration::from_millis(100)));
        assert!(!history.is_empty_at(now));
        assert_eq!(history.record_attempt(retry_at), Ok(()), "the end of the back-off");
        let now = retry_at + SignedDuration::from_secs(600);
        fail(&mut history, now);
        assert_eq!(history.record_attempt(now), Ok(()), "the first event after a quiet time");
    }

    #[test]
    fn clock_that_is_set_back_does_not_extend_the_back_off() {
        let mut history = History::default();
        history.record_failure(Duration::MAX, at(10_000), 1.0);
        assert_eq!(history.record_attempt(at(10_000)), Ok(()));
        assert_eq!(history.record_attempt(at(10_000)), Err(at(10_001)));
        assert_eq!(history.record_attempt(at(0)), Ok(()));
    }

    #[test]
    fn own_failure_is_remembered_until_a_success_is_reported() {
        let failed = |retry| Failure { retry, ..Failure::new(Reason::SourceUnreachable, "no response") };
        let waits = failed(Retry::BreakerOpen(at(1)));
        let own = [Retry::BackOff(Duration::ZERO), Retry::NotBefore(at(1))];
        for own in own.map(failed) {
            let mut history = History::default();
            history.record_outcome(Some(&waits), true);
            assert!(!history.has_own_failure() && history.is_empty_at(at(0)));
            history.record_outcome(Some(&own), true);
            history.record_outcome(Some(&waits), true);
            history.record_outcome(None, false);
            assert!(history.has_own_failure() && !history.is_empty_at(at(0)));
            history.record_outcome(None, true);
            assert!(!history.has_own_failure() && history.is_empty_at(at(0)));
        }
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
            history.record_failure(Duration::ZERO, at(0), 1.0);
            histories.keep(&import("u").import, history);
        };
        let key = ObjectKey::new("default", "a");
        keep();
        assert!(!histories.take(&import("u").import).has_failed(), "the cache does not have the import");
        cache.observe_import(&Scope::All, Event::Apply((key.clone(), Ok(import("u")))));
        keep();
        assert!(histories.take(&import("u").import).has_failed());
        keep();
        assert!(!histories.take(&import("recreated").import).has_failed());
        keep();
        histories.forget(&key);
        assert!(!histories.take(&import("u").import).has_failed());
    }
}
