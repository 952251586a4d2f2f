//! The work queue.
//!
//! Each source has a lane with its own limit: imports of a source that hangs do not delay those of others. In
//! a lane, changed imports come before those that are due by the clock, whose tokens are still valid for a
//! while. An import never has two reconciliations at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::model::key::ObjectKey;

/// Maximum number of concurrent reconciliations for one source.
pub const LANE_LIMIT: usize = 8;

/// Imports, by due time.
#[derive(Debug)]
pub struct Queue {
    clock: Clock,
    state: Mutex<State>,
    changed: Notify,
}

/// When an import is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// At once, in order of enqueueing.
    Now(u64),
    /// At this time.
    At(Timestamp),
}

#[derive(Debug, Default)]
struct State {
    lanes: HashMap<String, Lane>,
    entries: HashMap<ObjectKey, Entry>,
    /// Counter that orders `Due::Now`.
    enqueued: u64,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: BTreeSet<(Due, ObjectKey)>,
    running: BTreeMap<ObjectKey, Instant>,
}

#[derive(Debug)]
struct Entry {
    lane: String,
    /// When it is due; while it runs, when it is due again.
    due: Option<Due>,
    /// The lane in which it runs.
    running: Option<String>,
}

impl Queue {
    pub fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default(), changed: Notify::new() }
    }

    /// Enqueues `key` for immediate reconciliation, in the lane of its source.
    pub fn enqueue(&self, key: ObjectKey, lane: &str) {
        let mut state = self.state();
        state.enqueued += 1;
        let due = Due::Now(state.enqueued);
        state.schedule(key, lane, due);
        drop(state);
        self.changed.notify_one();
    }

    /// Removes `key`.
    pub fn forget(&self, key: &ObjectKey) {
        self.state().forget(key);
    }

    /// Waits for the next due import. It counts as running until [`Queue::done`].
    pub async fn next(&self) -> ObjectKey {
        loop {
            let changed = self.changed.notified();
            let next = self.state().pop(self.clock.now());
            match next {
                Head::Ready(key) => return key,
                Head::At(time) => tokio::select! {
                    () = changed => {}
                    () = self.clock.sleep_until(time) => {}
                },
                Head::Empty => changed.await,
            }
        }
    }

    /// Ends the run of `key`, and requeues it for `next`, or earlier if it changed meanwhile.
    pub fn done(&self, key: &ObjectKey, next: Option<Timestamp>) {
        self.state().done(key, next);
        self.changed.notify_one();
    }

    /// Duration of the longest current run.
    pub fn oldest_run(&self) -> Option<Duration> {
        let state = self.state();
        state.lanes.values().flat_map(|lane| lane.running.values()).map(Instant::elapsed).max()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }
}

enum Head {
    Ready(ObjectKey),
    At(Timestamp),
    Empty,
}

impl State {
    fn schedule(&mut self, key: ObjectKey, lane: &str, due: Due) {
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry {
            lane: lane.to_owned(),
            due: None,
            running: None,
        });
        let first = entry.due.map_or(due, |known| known.min(due));
        if entry.running.is_none() {
            if let (Some(known), Some(old)) = (entry.due, self.lanes.get_mut(&entry.lane)) {
                old.waiting.remove(&(known, key.clone()));
                if old.is_empty() {
                    self.lanes.remove(&entry.lane);
                }
            }
            self.lanes.entry(lane.to_owned()).or_default().waiting.insert((first, key));
        }
        entry.due = Some(first);
        if entry.lane != lane {
            entry.lane = lane.to_owned();
        }
    }

    fn forget(&mut self, key: &ObjectKey) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let due = entry.due.take();
        if entry.running.is_some() {
            return;
        }
        if let (Some(due), Some(lane)) = (due, self.lanes.get_mut(&entry.lane)) {
            lane.waiting.remove(&(due, key.clone()));
            if lane.is_empty() {
                self.lanes.remove(&entry.lane);
            }
        }
        self.entries.remove(key);
    }

    fn pop(&mut self, now: Timestamp) -> Head {
        let open = self.lanes.iter().filter(|(_, lane)| lane.running.len() < LANE_LIMIT);
        let first = open.filter_map(|(name, lane)| Some((lane.waiting.first()?.0, name))).min();
        let Some((due, name)) = first.map(|(due, name)| (due, name.clone())) else { return Head::Empty };
        match due {
            Due::At(time) if time > now => return Head::At(time),
            _ => {}
        }
        let Some(lane) = self.lanes.get_mut(&name) else { return Head::Empty };
        let Some((_, key)) = lane.waiting.pop_first() else { return Head::Empty };
        lane.running.insert(key.clone(), Instant::now());
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.due = None;
            entry.running = Some(name);
        }
        Head::Ready(key)
    }

    fn done(&mut self, key: &ObjectKey, next: Option<Timestamp>) {
        let Some(mut entry) = self.entries.remove(key) else { return };
        if let Some(name) = entry.running.take()
            && let Some(lane) = self.lanes.get_mut(&name)
        {
            lane.running.remove(key);
            if lane.is_empty() {
                self.lanes.remove(&name);
            }
        }
        let again = [entry.due, next.map(Due::At)].into_iter().flatten().min();
        if let Some(due) = again {
            self.schedule(key.clone(), &entry.lane, due);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("default", name)
    }

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn at(second: i64) -> Due {
        Due::At(time(second))
    }

    fn take(state: &mut State, now: i64) -> Option<String> {
        match state.pop(time(now)) {
            Head::Ready(key) => Some(key.name().to_owned()),
            _ => None,
        }
    }

    #[test]
    fn imports_are_taken_in_order_of_due_time() {
        let mut state = State::default();
        state.schedule(key("late"), "c2", at(20));
        state.schedule(key("early"), "c3", at(10));
        assert_eq!(take(&mut state, 9), None);
        assert_eq!(take(&mut state, 30).as_deref(), Some("early"));
        assert_eq!(take(&mut state, 30).as_deref(), Some("late"));
    }

    #[test]
    fn earliest_due_time_wins() {
        let mut state = State::default();
        state.schedule(key("a"), "c2", at(20));
        state.schedule(key("a"), "c2", at(10));
        state.schedule(key("a"), "c2", at(30));
        assert_eq!(take(&mut state, 10).as_deref(), Some("a"));
        assert_eq!(take(&mut state, 99), None);
    }

    #[test]
    fn changed_imports_are_taken_before_overdue_ones() {
        let mut state = State::default();
        state.schedule(key("overdue"), "c2", at(1));
        state.schedule(key("second"), "c3", Due::Now(2));
        state.schedule(key("first"), "c2", Due::Now(1));
        state.schedule(key("overdue-too"), "c3", at(0));
        let order: Vec<_> = std::iter::from_fn(|| take(&mut state, 9)).collect();
        assert_eq!(order, ["first", "second", "overdue-too", "overdue"]);
    }

    #[test]
    fn change_during_a_run_is_queued_until_it_ends() {
        let mut state = State::default();
        state.schedule(key("a"), "c2", at(1));
        assert_eq!(take(&mut state, 1).as_deref(), Some("a"));
        state.schedule(key("a"), "c2", at(2));
        assert_eq!(take(&mut state, 9), None);
        state.done(&key("a"), Some(time(100)));
        assert_eq!(take(&mut state, 9).as_deref(), Some("a"));
    }

    #[test]
    fn full_lane_does_not_delay_others() {
        let mut state = State::default();
        for i in 0..LANE_LIMIT + 5 {
            state.schedule(key(&format!("hangs-{i}")), "c2", at(1));
        }
        state.schedule(key("other"), "c3", at(2));
        for _ in 0..LANE_LIMIT {
            assert!(take(&mut state, 9).is_some_and(|name| name.starts_with("hangs")));
        }
        assert_eq!(take(&mut state, 9).as_deref(), Some("other"));
        assert_eq!(take(&mut state, 9), None);
        state.done(&key("hangs-0"), None);
        assert!(take(&mut state, 9).is_some_and(|name| name.starts_with("hangs")));
    }

    #[test]
    fn forgotten_import_is_removed_from_all_lanes() {
        let mut state = State::default();
        state.schedule(key("waits"), "c2", at(9));
        state.forget(&key("waits"));
        state.schedule(key("runs"), "c2", at(1));
        assert_eq!(take(&mut state, 1).as_deref(), Some("runs"));
        state.schedule(key("runs"), "c2", at(2));
        state.forget(&key("runs"));
        state.done(&key("runs"), None);
        assert!(state.lanes.is_empty() && state.entries.is_empty());
    }

    #[test]
    fn waiting_and_running_imports_can_change_lanes() {
        let mut state = State::default();
        state.schedule(key("a"), "c2", at(5));
        state.schedule(key("a"), "c3", at(6));
        assert_eq!(take(&mut state, 9).as_deref(), Some("a"));
        state.schedule(key("a"), "c4", at(7));
        state.done(&key("a"), None);
        assert_eq!(take(&mut state, 9).as_deref(), Some("a"));
        state.done(&key("a"), None);
        assert!(state.lanes.is_empty() && state.entries.is_empty());
    }
}
