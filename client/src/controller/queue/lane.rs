//! The items of one lane.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::{Ended, Item};

/// A moment, and a number that keeps those of one moment apart.
pub(super) type Timer = (Instant, u64);

/// Longer than any program runs, and short enough to be added to any time.
const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// None: it is remembered because it runs, or for its failures.
    None,
    /// As the one who asked so.
    Ready(u64),
    /// When it is this time.
    At(Timer),
    /// As soon as its run has ended.
    Again,
}

#[derive(Debug)]
struct Place {
    turn: Turn,
    failures: u32,
    is_running: bool,
    /// It runs, and what comes of it is of no interest.
    is_forgotten: bool,
}

pub(super) struct Lane<T> {
    places: HashMap<T, Place>,
    pub(super) ready: BTreeMap<u64, T>,
    pub(super) running: usize,
    pub(super) is_open: bool,
    pub(super) is_held: bool,
    pub(super) has_turn: bool,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self {
            places: HashMap::new(),
            ready: BTreeMap::new(),
            running: 0,
            is_open: false,
            is_held: false,
            has_turn: false,
        }
    }
}

impl<T: Item> Lane<T> {
    fn is_runnable(&self, limit: usize) -> bool {
        let has_room = limit == 0 || self.running < limit;
        self.is_open && !self.is_held && has_room && !self.ready.is_empty()
    }

    /// Queues up for a turn if there is something to do in it.
    pub(super) fn take_turn(&mut self, name: &T::Lane, limit: usize, turns: &mut VecDeque<T::Lane>) {
        if !self.has_turn && self.is_runnable(limit) {
            self.has_turn = true;
            turns.push_back(name.clone());
        }
    }

    /// Gives the timer that is of no use any more.
    pub(super) fn push(&mut self, item: T, number: u64) -> Option<Timer> {
        let place = self.places.entry(item.clone()).or_insert(Place {
            turn: Turn::None,
            failures: 0,
            is_running: false,
            is_forgotten: false,
        });
        if place.is_running {
            place.turn = Turn::Again;
            return None;
        }
        match place.turn {
            Turn::Ready(_) => None,
            before => {
                place.turn = Turn::Ready(number);
                self.ready.insert(number, item);
                if let Turn::At(timer) = before { Some(timer) } else { None }
            }
        }
    }

    pub(super) fn take(&mut self, limit: usize) -> Option<(T, u32)> {
        if !self.is_runnable(limit) {
            return None;
        }
        let (_, item) = self.ready.pop_first()?;
        let place = self.places.get_mut(&item)?;
        place.turn = Turn::None;
        place.is_running = true;
        self.running += 1;
        Some((item, place.failures))
    }

    /// Gives the turn that it has next.
    pub(super) fn end(&mut self, item: &T, ended: Ended, number: u64) -> Turn {
        let Some(place) = self.places.get_mut(item).filter(|place| place.is_running) else {
            return Turn::None;
        };
        self.running -= 1;
        place.is_running = false;
        let delay = if std::mem::take(&mut place.is_forgotten) {
            None
        } else {
            match ended {
                Ended::Well(delay) => {
                    place.failures = 0;
                    delay
                }
                Ended::Failed(delay) => {
                    place.failures = place.failures.saturating_add(1);
                    delay
                }
                Ended::Dropped => {
                    place.turn = Turn::Again;
                    None
                }
            }
        };
        place.turn = match (place.turn, delay) {
            _ if !self.is_open => Turn::None,
            (Turn::Again, _) => {
                self.ready.insert(number, item.clone());
                Turn::Ready(number)
            }
            (_, Some(delay)) => {
                let now = Instant::now();
                Turn::At((now.checked_add(delay).unwrap_or(now + FOREVER), number))
            }
            (_, None) => Turn::None,
        };
        let turn = place.turn;
        if turn == Turn::None && (place.failures == 0 || !self.is_open) {
            self.places.remove(item);
        }
        turn
    }

    /// Gives the timer that is of no use any more.
    pub(super) fn forget(&mut self, item: &T) -> Option<Timer> {
        let place = self.places.get_mut(item)?;
        let turn = std::mem::replace(&mut place.turn, Turn::None);
        if place.is_running {
            place.failures = 0;
            place.is_forgotten = true;
        } else {
            self.places.remove(item);
        }
        match turn {
            Turn::Ready(number) => drop(self.ready.remove(&number)),
            Turn::At(timer) => return Some(timer),
            Turn::None | Turn::Again => {}
        }
        None
    }

    /// Gives the timers that are of no use any more.
    pub(super) fn close(&mut self) -> Vec<Timer> {
        self.is_open = false;
        self.ready.clear();
        let mut timers = Vec::new();
        self.places.retain(|_, place| {
            if let Turn::At(timer) = place.turn {
                timers.push(timer);
            }
            place.turn = Turn::None;
            place.failures = 0;
            place.is_forgotten = true;
            place.is_running
        });
        timers
    }
}
