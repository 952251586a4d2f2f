//! What is worked on when.
//!
//! Items wait in lanes, each with a limit of its own: however many of a cluster that hangs are due, they hold
//! back none of another. An item is in the queue once, and is never worked on twice at a time.

mod lane;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use self::lane::{Lane, Turn};

/// What waits in a queue.
pub(super) trait Item: Clone + Eq + Hash {
    /// What has a lane.
    type Lane: Clone + Eq + Hash;

    /// The lane that it waits in.
    fn lane(&self) -> &Self::Lane;
}

/// Items, by when they are due. For one task that takes them.
pub(super) struct Queue<T: Item> {
    state: Mutex<State<T>>,
    changed: Notify,
}

struct State<T: Item> {
    lanes: HashMap<T::Lane, Lane<T>>,
    /// Lanes with something to work on now, each once: they take turns.
    turns: VecDeque<T::Lane>,
    /// What is due later; the number keeps those of one moment apart.
    timers: BTreeMap<(Instant, u64), T>,
    /// Counts those who asked for a turn.
    asked: u64,
    limit: usize,
}

/// What came of working on an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// All is well, until then at least.
    Well(Option<Duration>),
    /// It failed.
    Failed(Option<Duration>),
    /// It was dropped on the way, and is due again.
    Dropped,
}

enum Next<T> {
    /// This one, which failed so many times in a row.
    Due(T, u32),
    At(Instant),
    Nothing,
}

/// What a lane holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Depth {
    pub(super) waiting: usize,
    pub(super) running: usize,
}

impl<T: Item> Queue<T> {
    /// An empty queue, whose lanes work on so many items at a time; 0 is no limit.
    pub(super) fn new(limit: usize) -> Self {
        let state =
            State { lanes: HashMap::new(), turns: VecDeque::new(), timers: BTreeMap::new(), asked: 0, limit };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    pub(super) fn set_limit(&self, limit: usize) {
        self.state().limit = limit;
    }

    /// Has a lane take items. None of them is worked on while it is held.
    pub(super) fn open(&self, lane: &T::Lane, is_held: bool) {
        self.state().open(lane, is_held);
        self.changed.notify_one();
    }

    /// Drops all that waits in a lane, and takes nothing for it any more.
    pub(super) fn close(&self, lane: &T::Lane) {
        self.state().close(lane);
    }

    /// Closes those lanes.
    pub(super) fn close_where(&self, is_meant: impl Fn(&T::Lane) -> bool) {
        let mut state = self.state();
        let meant: Vec<_> = state.lanes.keys().filter(|lane| is_meant(lane)).cloned().collect();
        for lane in meant {
            state.close(&lane);
        }
    }

    /// Has an item worked on at once; or again, if it is being worked on. Without its lane, it is dropped.
    pub(super) fn push(&self, item: T) {
        if self.state().push(item) {
            self.changed.notify_one();
        }
    }

    /// Forgets all about an item, which is not there any more.
    pub(super) fn forget(&self, item: &T) {
        self.state().forget(item);
    }

    /// The next item that is due, and how many times in a row it has failed. It counts as running until
    /// [`Queue::end`].
    pub(super) async fn next(&self) -> (T, u32) {
        loop {
            let changed = self.changed.notified();
            let next = self.state().take(Instant::now());
            match next {
                Next::Due(item, failures) => return (item, failures),
                Next::At(time) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(time) => {}
                },
                Next::Nothing => changed.await,
            }
        }
    }

    /// Ends the run of an item.
    pub(super) fn end(&self, item: &T, ended: Ended) {
        self.state().end(item, ended);
        self.changed.notify_one();
    }

    /// What each lane holds.
    pub(super) fn depths(&self) -> Vec<(T::Lane, Depth)> {
        let state = self.state();
        let depth = |lane: &Lane<T>| Depth { waiting: lane.ready.len(), running: lane.running };
        state.lanes.iter().map(|(name, lane)| (name.clone(), depth(lane))).collect()
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Item> State<T> {
    fn open(&mut self, name: &T::Lane, is_held: bool) {
        let lane = self.lanes.entry(name.clone()).or_default();
        lane.is_open = true;
        lane.is_held = is_held;
        lane.take_turn(name, self.limit, &mut self.turns);
    }

    fn close(&mut self, name: &T::Lane) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        for timer in lane.close() {
            self.timers.remove(&timer);
        }
        // What still runs keeps its place, so that it does not run twice when the lane is opened again.
        if lane.running == 0 {
            self.lanes.remove(name);
        }
    }

    fn push(&mut self, item: T) -> bool {
        let Some(lane) = self.lanes.get_mut(item.lane()).filter(|lane| lane.is_open) else { return false };
        self.asked += 1;
        let name = item.lane().clone();
        if let Some(timer) = lane.push(item, self.asked) {
            self.timers.remove(&timer);
        }
        lane.take_turn(&name, self.limit, &mut self.turns);
        true
    }

    fn forget(&mut self, item: &T) {
        let Some(lane) = self.lanes.get_mut(item.lane()) else { return };
        if let Some(timer) = lane.forget(item) {
            self.timers.remove(&timer);
        }
    }

    fn take(&mut self, now: Instant) -> Next<T> {
        while let Some(timer) = self.timers.first_entry().filter(|timer| timer.key().0 <= now) {
            let item = timer.remove();
            self.push(item);
        }
        while let Some(name) = self.turns.pop_front() {
            let Some(lane) = self.lanes.get_mut(&name) else { continue };
            lane.has_turn = false;
            let taken = lane.take(self.limit);
            lane.take_turn(&name, self.limit, &mut self.turns);
            if let Some((item, failures)) = taken {
                return Next::Due(item, failures);
            }
        }
        self.timers.first_key_value().map_or(Next::Nothing, |(timer, _)| Next::At(timer.0))
    }

    fn end(&mut self, item: &T, ended: Ended) {
        let name = item.lane();
        let Some(lane) = self.lanes.get_mut(name) else { return };
        self.asked += 1;
        match lane.end(item, ended, self.asked) {
            Turn::At(timer) => drop(self.timers.insert(timer, item.clone())),
            _ if !lane.is_open && lane.running == 0 => {
                self.lanes.remove(name);
                return;
            }
            _ => {}
        }
        lane.take_turn(name, self.limit, &mut self.turns);
    }
}

#[cfg(test)]
mod tests;
