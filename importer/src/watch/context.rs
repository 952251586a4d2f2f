//! What all watches share.

use std::sync::Arc;

use mcsa_runtime::lease::Fence;
use tokio::sync::Notify;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::model::key::ObjectKey;
use crate::queue::Queue;
use crate::reconcile::history::Histories;

/// What the watches fill.
pub struct Watched {
    /// What the watches have seen.
    pub cache: Arc<Cache>,
    /// The imports that are due.
    pub queue: Arc<Queue>,
    /// What is remembered of imports with something amiss.
    pub histories: Arc<Histories>,
    /// Whether this replica may write, in sources as well.
    pub fence: Fence,
    /// The wall clock.
    pub clock: Clock,
    /// Counts what happens.
    pub metrics: Metrics,
    /// Whether each watch has told all that there is, but for those that lack a right and may.
    pub is_synced: tokio::sync::watch::Sender<bool>,
    /// Told when somebody asks about a link.
    pub asked: Notify,
}

impl Watched {
    /// Has imports worked on at once. Those that are gone need no turn: nothing is left of them.
    pub fn hurry(&self, keys: Vec<ObjectKey>) {
        for key in keys {
            match self.cache.import(&key) {
                Some(known) => self.queue.hurry(key, &known.import.spec.cluster_name),
                None => {
                    self.queue.forget(&key);
                    self.histories.forget(&key);
                }
            }
        }
    }
}
