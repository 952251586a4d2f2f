//! Which import is worked on when.
//!
//! Imports wait in lanes, one for each source, and each lane has its own limit: however many
//! imports of a source that hangs are due, they hold back none of another source. An import is
//! never worked on twice at a time.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::cache::ObjectKey;
use crate::clock::Clock;

/// How many imports of one source are worked on at a time.
const LANE_LIMIT: usize = 8;

/// Imports, by the time when they are due.
#[derive(Debug)]
pub struct Queue {
    clock: Clock,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    lanes: HashMap<String, Lane>,
    places: HashMap<ObjectKey, Place>,
}

#[derive(Debug, Default)]
struct Lane {
    due: BTreeSet<(Timestamp, ObjectKey)>,
    running: usize,
}

#[derive(Debug)]
struct Place {
    lane: String,
    /// When it is due: in the lane, or, while it runs, again.
    due: Option<Timestamp>,
    /// The lane that its run counts in.
    running: Option<String>,
}

impl Queue {
    /// An empty queue.
    pub fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default(), changed: Notify::new() }
    }

    /// Has `key` worked on at `time` in the lane of its source, or earlier if it already is to be.
    pub fn schedule(&self, key: ObjectKey, lane: &str, time: Timestamp) {
        self.state().schedule(key, lane, time);
        self.changed.notify_one();
    }

    /// The next import that is due. It counts as running until [`Queue::done`].
    pub async fn next(&self) -> ObjectKey {
        loop {
            let changed = self.changed.notified();
            let next = self.state().take(self.clock.now());
            match next {
                Next::Due(key) => return key,
                Next::At(time) => tokio::select! {
                    () = changed => {}
                    () = self.clock.sleep_until(time) => {}
                },
                Next::Nothing => changed.await,
            }
        }
    }

    /// Ends the run of `key`, to be worked on again at `next`, or earlier if it changed meanwhile.
    pub fn done(&self, key: &ObjectKey, next: Option<Timestamp>) {
        self.state().done(key, next);
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.running == 0 && self.due.is_empty()
    }
}

enum Next {
    Due(ObjectKey),
    At(Timestamp),
    Nothing,
}

impl State {
    fn schedule(&mut self, key: ObjectKey, lane: &str, time: Timestamp) {
        let place = self.places.entry(key.clone()).or_insert_with(|| Place {
            lane: lane.to_owned(),
            due: None,
            running: None,
        });
        let earliest = place.due.map_or(time, |due| due.min(time));
        if place.running.is_none() {
            if let (Some(due), Some(old)) = (place.due, self.lanes.get_mut(&place.lane)) {
                old.due.remove(&(due, key.clone()));
                if old.is_empty() {
                    self.lanes.remove(&place.lane);
                }
            }
            self.lanes.entry(lane.to_owned()).or_default().due.insert((earliest, key));
        }
        place.due = Some(earliest);
        if place.lane != lane {
            place.lane = lane.to_owned();
        }
    }

    fn take(&mut self, now: Timestamp) -> Next {
        let open = self.lanes.iter().filter(|(_, lane)| lane.running < LANE_LIMIT);
        let first = open.filter_map(|(name, lane)| Some((lane.due.first()?.0, name))).min();
        let Some((time, name)) = first.map(|(time, name)| (time, name.clone())) else { return Next::Nothing };
        if time > now {
            return Next::At(time);
        }
        let Some(lane) = self.lanes.get_mut(&name) else { return Next::Nothing };
        let Some((_, key)) = lane.due.pop_first() else { return Next::Nothing };
        lane.running += 1;
        if let Some(place) = self.places.get_mut(&key) {
            place.due = None;
            place.running = Some(name);
        }
        Next::Due(key)
    }

    fn done(&mut self, key: &ObjectKey, next: Option<Timestamp>) {
        let Some(mut place) = self.places.remove(key) else { return };
        if let Some(name) = place.running.take()
            && let Some(lane) = self.lanes.get_mut(&name)
        {
            lane.running -= 1;
            if lane.is_empty() {
                self.lanes.remove(&name);
            }
        }
        let again = [place.due, next].into_iter().flatten().min();
        if let Some(time) = again {
            self.schedule(key.clone(), &place.lane, time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey { namespace: "default".into(), name: name.into() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn take(state: &mut State, now: i64) -> Option<String> {
        match state.take(at(now)) {
            Next::Due(key) => Some(key.name),
            _ => None,
        }
    }

    #[test]
    fn the_earliest_comes_first_and_only_when_it_is_due() {
        let mut state = State::default();
        state.schedule(key("late"), "c2", at(20));
        state.schedule(key("early"), "c3", at(10));
        assert_eq!(take(&mut state, 9), None);
        assert_eq!(take(&mut state, 30).as_deref(), Some("early"));
        assert_eq!(take(&mut state, 30).as_deref(), Some("late"));
    }

    #[test]
    fn the_earlier_of_two_times_counts() {
        let mut state = State::default();
        state.schedule(key("a"), "c2", at(20));
        state.schedule(key("a"), "c2", at(10));
        state.schedule(key("a"), "c2", at(30));
        assert_eq!(take(&mut state, 10).as_deref(), Some("a"));
        assert_eq!(take(&mut state, 99), None);
    }

    #[test]
    fn an_import_never_runs_twice_at_a_time_and_a_change_meanwhile_is_not_lost() {
        let mut state = State::default();
        state.schedule(key("a"), "c2", at(1));
        assert_eq!(take(&mut state, 1).as_deref(), Some("a"));
        state.schedule(key("a"), "c2", at(2));
        assert_eq!(take(&mut state, 9), None);
        state.done(&key("a"), Some(at(100)));
        assert_eq!(take(&mut state, 9).as_deref(), Some("a"));
    }

    #[test]
    fn a_full_lane_holds_back_no_other() {
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
    fn an_import_can_change_lanes_waiting_or_running() {
        let mut state = State::default();
        state.schedule(key("a"), "c2", at(5));
        state.schedule(key("a"), "c3", at(6));
        assert_eq!(take(&mut state, 9).as_deref(), Some("a"));
        state.schedule(key("a"), "c4", at(7));
        state.done(&key("a"), None);
        assert_eq!(take(&mut state, 9).as_deref(), Some("a"));
        state.done(&key("a"), None);
        assert!(state.lanes.is_empty() && state.places.is_empty());
    }
}
