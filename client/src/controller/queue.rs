//! A work queue with one lane per cluster.
//!
//! Each lane has its own concurrency limit, so that items of a cluster that hangs do not delay those of other
//! clusters. An item is in the queue at most once, and never runs twice at the same time.

mod item;
mod lane;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

pub(super) use self::item::{Completion, Item};
use self::lane::{Lane, Schedule, Timer};

/// Items by due time. Only one task may call [`Queue::next`].
pub(super) struct Queue<T: Item> {
    state: Mutex<State<T>>,
    changed: Notify,
}

struct State<T: Item> {
    lanes: HashMap<T::Lane, Lane<T>>,
    /// Lanes with runnable items, each once, served round-robin.
    runnable: VecDeque<T::Lane>,
    timers: BTreeMap<Timer, T>,
    /// The number of the latest push or completion. Orders the items of a lane, and makes timers unique.
    last_number: u64,
    limit: usize,
}

enum Next<T> {
    /// A due item, and its number of consecutive failures.
    Due(T, u32),
    /// No item is due before this time.
    At(Instant),
    Empty,
}

/// The number of items in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Depth {
    pub(super) waiting: usize,
    pub(super) running: usize,
}

impl<T: Item> Queue<T> {
    /// `limit` is the number of items of a lane that may run at the same time. 0: no limit.
    pub(super) fn new(limit: usize) -> Self {
        let state = State {
            lanes: HashMap::new(),
            runnable: VecDeque::new(),
            timers: BTreeMap::new(),
            last_number: 0,
            limit,
        };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    pub(super) fn set_limit(&self, limit: usize) {
        self.state().limit = limit;
    }

    /// Creates, pauses or resumes a lane. Items of a paused lane wait.
    pub(super) fn open(&self, lane: &T::Lane, is_paused: bool) {
        self.state().open(lane, is_paused);
        self.changed.notify_one();
    }

    /// Drops the waiting items of a lane, and ignores later pushes to it.
    pub(super) fn close(&self, lane: &T::Lane) {
        self.state().close(lane);
    }

    pub(super) fn close_where(&self, predicate: impl Fn(&T::Lane) -> bool) {
        let mut state = self.state();
        let lanes: Vec<_> = state.lanes.keys().filter(|lane| predicate(lane)).cloned().collect();
        for lane in lanes {
            state.close(&lane);
        }
    }

    /// Makes an item due now, or once it completes if it is running. Ignored if its lane is not open.
    pub(super) fn push(&self, item: T) {
        if self.state().push(item) {
            self.changed.notify_one();
        }
    }

    /// Like [`Queue::push`], but opens the lane. It is removed once it has no items.
    pub(super) fn push_to_temporary_lane(&self, item: T) {
        let mut state = self.state();
        let lane = state.lanes.entry(item.lane().clone()).or_default();
        lane.is_open = true;
        lane.is_temporary = true;
        state.push(item);
        drop(state);
        self.changed.notify_one();
    }

    /// Removes an item and its failure count.
    pub(super) fn forget(&self, item: &T) {
        self.state().forget(item);
    }

    /// Waits for the next due item, and returns it with its number of consecutive failures. The item counts as
    /// running until [`Queue::complete`].
    pub(super) async fn next(&self) -> (T, u32) {
        loop {
            let changed = self.changed.notified();
            let next = self.state().pop(Instant::now());
            match next {
                Next::Due(item, failures) => return (item, failures),
                Next::At(time) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(time) => {}
                },
                Next::Empty => changed.await,
            }
        }
    }

    pub(super) fn complete(&self, item: &T, completion: Completion) {
        self.state().complete(item, completion);
        self.changed.notify_one();
    }

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
    fn open(&mut self, name: &T::Lane, is_paused: bool) {
        let lane = self.lanes.entry(name.clone()).or_default();
        lane.is_open = true;
        lane.is_paused = is_paused;
        lane.enqueue_if_runnable(name, self.limit, &mut self.runnable);
    }

    fn close(&mut self, name: &T::Lane) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        for timer in lane.close() {
            self.timers.remove(&timer);
        }
        // The lane remembers running items, so that they do not run twice if it is opened again.
        if lane.running == 0 {
            self.lanes.remove(name);
        }
    }

    fn push(&mut self, item: T) -> bool {
        let Some(lane) = self.lanes.get_mut(item.lane()).filter(|lane| lane.is_open) else { return false };
        self.last_number += 1;
        let name = item.lane().clone();
        if let Some(timer) = lane.push(item, self.last_number) {
            self.timers.remove(&timer);
        }
        lane.enqueue_if_runnable(&name, self.limit, &mut self.runnable);
        true
    }

    fn forget(&mut self, item: &T) {
        let Some(lane) = self.lanes.get_mut(item.lane()) else { return };
        if let Some(timer) = lane.forget(item) {
            self.timers.remove(&timer);
        }
        if lane.is_unused() {
            self.lanes.remove(item.lane());
        }
    }

    fn pop(&mut self, now: Instant) -> Next<T> {
        while let Some(timer) = self.timers.first_entry().filter(|timer| timer.key().0 <= now) {
            let item = timer.remove();
            self.push(item);
        }
        while let Some(name) = self.runnable.pop_front() {
            let Some(lane) = self.lanes.get_mut(&name) else { continue };
            lane.is_enqueued = false;
            let popped = lane.pop(self.limit);
            lane.enqueue_if_runnable(&name, self.limit, &mut self.runnable);
            if let Some((item, failures)) = popped {
                return Next::Due(item, failures);
            }
        }
        self.timers.first_key_value().map_or(Next::Empty, |(timer, _)| Next::At(timer.0))
    }

    fn complete(&mut self, item: &T, completion: Completion) {
        let name = item.lane();
        let Some(lane) = self.lanes.get_mut(name) else { return };
        self.last_number += 1;
        match lane.complete(item, completion, self.last_number) {
            Schedule::At(timer) => drop(self.timers.insert(timer, item.clone())),
            _ if lane.is_unused() || (!lane.is_open && lane.running == 0) => {
                self.lanes.remove(name);
                return;
            }
            _ => {}
        }
        lane.enqueue_if_runnable(name, self.limit, &mut self.runnable);
    }
}

#[cfg(test)]
mod tests;
