//! Items, and the results of working on them.

use std::hash::Hash;
use std::time::Duration;

pub(in crate::controller) trait Item: Clone + Eq + Hash {
    type Lane: Clone + Eq + Hash;

    fn lane(&self) -> &Self::Lane;
}

/// How the work on an item ended, and when the item is due again. `None`: only after the next push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::controller) enum Completion {
    Succeeded(Option<Duration>),
    Failed(Option<Duration>),
    /// Due again at once.
    Aborted,
}
