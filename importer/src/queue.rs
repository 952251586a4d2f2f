//! Which import is worked on when.
//!
//! Imports wait in lanes, one for each source, and each lane has its own limit: however many
//! imports of a source that hangs are due, they hold back none of another source. In a lane, what
//! changed comes before what is due by the clock, which has time left. An import is never worked on
//! twice at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::model::key::ObjectKey;

/// How many imports of one source are worked on at a time.
pub const LANE_LIMIT: usize = 8;

/// Imports, by the time when they are due.
#[derive(Debug)]
pub struct Queue {
    clock: Clock,
    state: Mutex<State>,
    changed: Notify,
}

/// When an import's turn is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// At once, as the first who asked so.
    Now(u64),
    /// When it is this time.
    At(Timestamp),
}

#[derive(Debug, Default)]
struct State {
    lanes: HashMap<String, Lane>,
    places: HashMap<ObjectKey, Place>,
    /// Counts those who asked for a turn at once.
    asked: u64,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: BTreeSet<(Turn, ObjectKey)>,
    running: BTreeMap<ObjectKey, Instant>,
}

#[derive(Debug)]
struct Place {
    lane: String,
    /// When its turn is: in the lane, or, while it runs, again.
    turn: Option<Turn>,
    /// The lane that its run counts in.
    running: Option<String>,
}

impl Queue {
    /// An empty queue.
    pub fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default(), changed: Notify::new() }
    }

    /// Has `key` worked on at once, in the lane of its source.
    pub fn hurry(&self, key: ObjectKey, lane: &str) {
        let mut state = self.state();
        state.asked += 1;
        let turn = Turn::Now(state.asked);
        state.schedule(key, lane, turn);
        drop(state);
        self.changed.notify_one();
    }

    /// Has `key` worked on no more.
    pub fn forget(&self, key: &ObjectKey) {
        self.state().forget(key);
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

    /// Since when the import runs that has been running for the longest time.
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

enum Next {
    Due(ObjectKey),
    At(Timestamp),
    Nothing,
}

impl State {
    fn schedule(&mut self, key: ObjectKey, lane: &str, turn: Turn) {
        let place = self.places.entry(key.clone()).or_insert_with(|| Place {
            lane: lane.to_owned(),
            turn: None,
            running: None,
        });
        let first = place.turn.map_or(turn, |known| known.min(turn));
        if place.running.is_none() {
            if let (Some(known), Some(old)) = (place.turn, self.lanes.get_mut(&place.lane)) {
                old.waiting.remove(&(known, key.clone()));
                if old.is_empty() {
                    self.lanes.remove(&place.lane);
                }
            }
            self.lanes.entry(lane.to_owned()).or_default().waiting.insert((first, key));
        }
        place.turn = Some(first);
        if place.lane != lane {
            place.lane = lane.to_owned();
        }
    }

    fn forget(&mut self, key: &ObjectKey) {
        let Some(place) = self.places.get_mut(key) else { return };
        let turn = place.turn.take();
        if place.running.is_some() {
            return;
        }
        if let (Some(turn), Some(lane)) = (turn, self.lanes.get_mut(&place.lane)) {
            lane.waiting.remove(&(turn, key.clone()));
            if lane.is_empty() {
                self.lanes.remove(&place.lane);
            }
        }
        self.places.remove(key);
    }

    fn take(&mut self, now: Timestamp) -> Next {
        let open = self.lanes.iter().filter(|(_, lane)| lane.running.len() < LANE_LIMIT);
        let first = open.filter_map(|(name, lane)| Some((lane.waiting.first()?.0, name))).min();
        let Some((turn, name)) = first.map(|(turn, name)| (turn, name.clone())) else { return Next::Nothing };
        match turn {
            Turn::At(time) if time > now => return Next::At(time),
            _ => {}
        }
        let Some(lane) = self.lanes.get_mut(&name) else { return Next::Nothing };
        let Some((_, key)) = lane.waiting.pop_first() else { return Next::Nothing };
        lane.running.insert(key.clone(), Instant::now());
        if let Some(place) = self.places.get_mut(&key) {
            place.turn = None;
            place.running = Some(name);
        }
        Next::Due(key)
    }

    fn done(&mut self, key: &ObjectKey, next: Option<Timestamp>) {
        let Some(mut place) = self.places.remove(key) else { return };
        if let Some(name) = place.running.take()
            && let Some(lane) = self.lanes.get_mut(&name)
        {
            lane.running.remove(key);
            if lane.is_empty() {
                self.lanes.remove(&name);
            }
        }
        let again = [place.turn, next.map(Turn::At)].into_iter().flatten().min();
        if let Some(turn) = again {
            self.schedule(key.clone(), &place.lane, turn);
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

    fn at(second: i64) -> Turn {
        Turn::At(time(second))
    }

    fn take(state: &mut State, now: i64) -> Option<String> {
        match state.take(time(now)) {
            Next::Due(key) => Some(key.name().to_owned()),
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
    fn what_changed_comes_before_what_is_overdue() {
        let mut state = State::default();
        state.schedule(key("overdue"), "c2", at(1));
        state.schedule(key("second"), "c3", Turn::Now(2));
        state.schedule(key("first"), "c2", Turn::Now(1));
        state.schedule(key("overdue-too"), "c3", at(0));
        let turns: Vec<_> = std::iter::from_fn(|| take(&mut state, 9)).collect();
        assert_eq!(turns, ["first", "second", "overdue-too", "overdue"]);
    }

    #[test]
    fn an_import_never_runs_twice_at_a_time_and_a_change_meanwhile_is_not_lost() {
        let mut state = State::default();
        state.schedule(key("a"), "c2", at(1));
        assert_eq!(take(&mut state, 1).as_deref(), Some("a"));
        state.schedule(key("a"), "c2", at(2));
        assert_eq!(take(&mut state, 9), None);
        state.done(&key("a"), Some(time(100)));
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
    fn nothing_is_left_of_what_is_forgotten() {
        let mut state = State::default();
        state.schedule(key("waits"), "c2", at(9));
        state.forget(&key("waits"));
        state.schedule(key("runs"), "c2", at(1));
        assert_eq!(take(&mut state, 1).as_deref(), Some("runs"));
        state.schedule(key("runs"), "c2", at(2));
        state.forget(&key("runs"));
        state.done(&key("runs"), None);
        assert!(state.lanes.is_empty() && state.places.is_empty());
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
