//! The work queue.
//!
//! Each source has a lane with its own limit: imports of a source that hangs do not delay those of others. In a
//! lane, links come first, because other imports need them. All others come in order of their deadlines: the refresh
//! time of an import that is due, the time of the event for an import that changed. So neither delays the other
//! forever. An import never has two reconciliations at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::model::key::ObjectKey;

/// Maximum number of concurrent reconciliations for one source.
pub const LANE_LIMIT: usize = 8;

/// Maximum number of concurrent reconciliations for all sources together. Each lane may always run one.
const TOTAL_LIMIT: usize = 64;

/// Imports, by deadline.
#[derive(Debug)]
pub struct Queue {
    clock: Clock,
    state: Mutex<State>,
    changed: Notify,
}

/// Where an import waits.
#[derive(Clone, Debug)]
pub struct Place {
    pub lane: String,
    /// Whether it comes before all imports that are not links.
    pub is_link: bool,
}

/// The order of imports: by time, then in order of enqueueing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Deadline {
    time: Timestamp,
    number: u64,
}

/// When an import is due.
#[derive(Clone, Copy, Debug)]
struct Due {
    deadline: Deadline,
    /// Whether it may run even if the deadline is in the future, because the clock was set back since.
    is_ready: bool,
}

#[derive(Debug, Default)]
struct State {
    lanes: HashMap<String, Lane>,
    entries: HashMap<ObjectKey, Entry>,
    /// Counts what was scheduled, for `Deadline::number`.
    scheduled: u64,
}

#[derive(Debug, Default)]
struct Lane {
    ready_links: BTreeSet<(Deadline, ObjectKey)>,
    ready_imports: BTreeSet<(Deadline, ObjectKey)>,
    /// Not ready before their deadlines.
    later: BTreeSet<(Deadline, ObjectKey)>,
    running: BTreeMap<ObjectKey, Instant>,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    /// When it is due; while it runs, when it is due again.
    due: Option<Due>,
    /// The lane in which it runs.
    running: Option<String>,
}

impl Queue {
    pub fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default(), changed: Notify::new() }
    }

    /// Enqueues `key` for immediate reconciliation. Its deadline is now, or earlier if its refresh is overdue.
    pub fn enqueue(&self, key: ObjectKey, place: Place, refresh_at: Option<Timestamp>) {
        let now = self.clock.now();
        let deadline = refresh_at.map_or(now, |time| time.min(now));
        self.state().enqueue(key, place, deadline);
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

impl Due {
    /// The earlier deadline. An event does not postpone a refresh that is overdue.
    fn merge(self, other: Self) -> Self {
        Self { deadline: self.deadline.min(other.deadline), is_ready: self.is_ready || other.is_ready }
    }
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.running.is_empty()
            && self.ready_links.is_empty()
            && self.ready_imports.is_empty()
            && self.later.is_empty()
    }

    /// Where an import waits that is due then.
    fn waiting(&mut self, is_link: bool, due: Due) -> &mut BTreeSet<(Deadline, ObjectKey)> {
        match (due.is_ready, is_link) {
            (true, true) => &mut self.ready_links,
            (true, false) => &mut self.ready_imports,
            (false, _) => &mut self.later,
        }
    }

    /// Whether it may run another import, if this number is running in all lanes.
    fn has_free_run(&self, total: usize) -> bool {
        self.running.is_empty() || (self.running.len() < LANE_LIMIT && total < TOTAL_LIMIT)
    }

    /// The order among lanes of the next ready import; `None` if none is ready. The lane with the fewest runs comes
    /// first, so that a few lanes can't take all runs.
    fn order(&self) -> Option<(usize, bool, Deadline)> {
        let first = |set: &BTreeSet<(Deadline, ObjectKey)>| set.first().map(|(deadline, _)| *deadline);
        let link = first(&self.ready_links).map(|deadline| (self.running.len(), false, deadline));
        link.or_else(|| first(&self.ready_imports).map(|deadline| (self.running.len(), true, deadline)))
    }

    fn pop_ready(&mut self) -> Option<ObjectKey> {
        let (_, key) = self.ready_links.pop_first().or_else(|| self.ready_imports.pop_first())?;
        Some(key)
    }
}

enum Head {
    Ready(ObjectKey),
    At(Timestamp),
    Empty,
}

impl State {
    fn enqueue(&mut self, key: ObjectKey, place: Place, time: Timestamp) {
        let deadline = self.deadline(time);
        self.schedule(key, place, Due { deadline, is_ready: true });
    }

    fn deadline(&mut self, time: Timestamp) -> Deadline {
        self.scheduled += 1;
        Deadline { time, number: self.scheduled }
    }

    fn schedule(&mut self, key: ObjectKey, place: Place, due: Due) {
        let Some(entry) = self.entries.get_mut(&key) else {
            let lane = self.lanes.entry(place.lane.clone()).or_default();
            lane.waiting(place.is_link, due).insert((due.deadline, key.clone()));
            self.entries.insert(key, Entry { place, due: Some(due), running: None });
            return;
        };
        let first = entry.due.map_or(due, |known| known.merge(due));
        let known = entry.due.replace(first);
        let before = std::mem::replace(&mut entry.place, place.clone());
        if entry.running.is_some() {
            return;
        }
        if let Some(known) = known {
            self.remove(&key, &before, known);
        }
        let lane = self.lanes.entry(place.lane).or_default();
        lane.waiting(place.is_link, first).insert((first.deadline, key));
    }

    /// Removes a waiting import from its lane.
    fn remove(&mut self, key: &ObjectKey, place: &Place, due: Due) {
        let Some(lane) = self.lanes.get_mut(&place.lane) else { return };
        lane.waiting(place.is_link, due).remove(&(due.deadline, key.clone()));
        if lane.is_empty() {
            self.lanes.remove(&place.lane);
        }
    }

    fn forget(&mut self, key: &ObjectKey) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let due = entry.due.take();
        if entry.running.is_some() {
            return;
        }
        let Some(Entry { place, .. }) = self.entries.remove(key) else { return };
        if let Some(due) = due {
            self.remove(key, &place, due);
        }
    }

    /// Makes imports ready whose deadlines have come.
    fn promote(&mut self, now: Timestamp) {
        for lane in self.lanes.values_mut() {
            while lane.later.first().is_some_and(|(deadline, _)| deadline.time <= now) {
                let Some((deadline, key)) = lane.later.pop_first() else { break };
                let Some(entry) = self.entries.get_mut(&key) else { continue };
                let due = Due { deadline, is_ready: true };
                entry.due = Some(due);
                lane.waiting(entry.place.is_link, due).insert((deadline, key));
            }
        }
    }

    fn pop(&mut self, now: Timestamp) -> Head {
        self.promote(now);
        let total: usize = self.lanes.values().map(|lane| lane.running.len()).sum();
        let free: Vec<(&String, &Lane)> =
            self.lanes.iter().filter(|(_, lane)| lane.has_free_run(total)).collect();
        let ready = free.iter().filter_map(|(name, lane)| Some((lane.order()?, *name))).min();
        let Some(name) = ready.map(|(_, name)| name.clone()) else {
            let next = free.iter().filter_map(|(_, lane)| Some(lane.later.first()?.0.time)).min();
            return next.map_or(Head::Empty, Head::At);
        };
        let Some(lane) = self.lanes.get_mut(&name) else { return Head::Empty };
        let Some(key) = lane.pop_ready() else { return Head::Empty };
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
        let next = next.map(|time| Due { deadline: self.deadline(time), is_ready: false });
        if let Some(due) = [entry.due, next].into_iter().flatten().reduce(Due::merge) {
            self.schedule(key.clone(), entry.place, due);
        }
    }
}

#[cfg(test)]
mod tests;
