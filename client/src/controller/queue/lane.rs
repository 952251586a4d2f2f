//! The items of one lane.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::item::{Completion, Item};

/// A due time, and a number that makes it unique.
pub(super) type Timer = (Instant, u64);

/// Replaces delays that overflow [`Instant`].
const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schedule {
    /// Not scheduled: running, or kept for its failure count.
    None,
    /// Due now. The number is the key in [`Lane::ready`].
    Ready(u64),
    At(Timer),
    /// Due once it completes.
    AfterRun,
}

#[derive(Debug)]
struct Entry {
    schedule: Schedule,
    failures: u32,
    is_running: bool,
    /// Ignore how the current run completes.
    is_forgotten: bool,
}

pub(super) struct Lane<T> {
    entries: HashMap<T, Entry>,
    pub(super) ready: BTreeMap<u64, T>,
    pub(super) running: usize,
    pub(super) is_open: bool,
    pub(super) is_paused: bool,
    /// Whether the lane is removed once it has no items.
    pub(super) is_temporary: bool,
    /// Whether the queue's list of runnable lanes has this lane.
    pub(super) is_enqueued: bool,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            ready: BTreeMap::new(),
            running: 0,
            is_open: false,
            is_paused: false,
            is_temporary: false,
            is_enqueued: false,
        }
    }
}

impl<T: Item> Lane<T> {
    fn is_runnable(&self, limit: usize) -> bool {
        let has_room = limit == 0 || self.running < limit;
        self.is_open && !self.is_paused && has_room && !self.ready.is_empty()
    }

    pub(super) fn is_unused(&self) -> bool {
        self.is_temporary && self.entries.is_empty()
    }

    pub(super) fn enqueue_if_runnable(
        &mut self,
        name: &T::Lane,
        limit: usize,
        runnable: &mut VecDeque<T::Lane>,
    ) {
        if !self.is_enqueued && self.is_runnable(limit) {
            self.is_enqueued = true;
            runnable.push_back(name.clone());
        }
    }

    /// Returns the timer to cancel.
    pub(super) fn push(&mut self, item: T, number: u64) -> Option<Timer> {
        let entry = self.entries.entry(item.clone()).or_insert(Entry {
            schedule: Schedule::None,
            failures: 0,
            is_running: false,
            is_forgotten: false,
        });
        if entry.is_running {
            entry.schedule = Schedule::AfterRun;
            return None;
        }
        match entry.schedule {
            Schedule::Ready(_) => None,
            before => {
                entry.schedule = Schedule::Ready(number);
                self.ready.insert(number, item);
                if let Schedule::At(timer) = before { Some(timer) } else { None }
            }
        }
    }

    pub(super) fn pop(&mut self, limit: usize) -> Option<(T, u32)> {
        if !self.is_runnable(limit) {
            return None;
        }
        let (_, item) = self.ready.pop_first()?;
        let entry = self.entries.get_mut(&item)?;
        entry.schedule = Schedule::None;
        entry.is_running = true;
        self.running += 1;
        Some((item, entry.failures))
    }

    /// Returns when the item is due next.
    pub(super) fn complete(&mut self, item: &T, completion: Completion, number: u64) -> Schedule {
        let Some(entry) = self.entries.get_mut(item).filter(|entry| entry.is_running) else {
            return Schedule::None;
        };
        self.running -= 1;
        entry.is_running = false;
        let delay = if std::mem::take(&mut entry.is_forgotten) {
            None
        } else {
            match completion {
                Completion::Succeeded(delay) => {
                    entry.failures = 0;
                    delay
                }
                Completion::Failed(delay) => {
                    entry.failures = entry.failures.saturating_add(1);
                    delay
                }
                Completion::Aborted => {
                    entry.schedule = Schedule::AfterRun;
                    None
                }
            }
        };
        entry.schedule = match (entry.schedule, delay) {
            _ if !self.is_open => Schedule::None,
            (Schedule::AfterRun, _) => {
                self.ready.insert(number, item.clone());
                Schedule::Ready(number)
            }
            (_, Some(delay)) => {
                let now = Instant::now();
                Schedule::At((now.checked_add(delay).unwrap_or(now + FOREVER), number))
            }
            (_, None) => Schedule::None,
        };
        let schedule = entry.schedule;
        if schedule == Schedule::None && (entry.failures == 0 || !self.is_open) {
            self.entries.remove(item);
        }
        schedule
    }

    /// Returns the timer to cancel.
    pub(super) fn forget(&mut self, item: &T) -> Option<Timer> {
        let entry = self.entries.get_mut(item)?;
        let schedule = std::mem::replace(&mut entry.schedule, Schedule::None);
        if entry.is_running {
            entry.failures = 0;
            entry.is_forgotten = true;
        } else {
            self.entries.remove(item);
        }
        match schedule {
            Schedule::Ready(number) => drop(self.ready.remove(&number)),
            Schedule::At(timer) => return Some(timer),
            Schedule::None | Schedule::AfterRun => {}
        }
        None
    }

    /// Returns the timers to cancel.
    pub(super) fn close(&mut self) -> Vec<Timer> {
        self.is_open = false;
        self.ready.clear();
        let mut timers = Vec::new();
        self.entries.retain(|_, entry| {
            if let Schedule::At(timer) = entry.schedule {
                timers.push(timer);
            }
            entry.schedule = Schedule::None;
            entry.failures = 0;
            entry.is_forgotten = true;
            entry.is_running
        });
        timers
    }
}
