//! What watches and checks share.

use std::sync::Arc;

use mcsa_runtime::lease::Fence;
use tokio::sync::Notify;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::enqueue::enqueue;
use crate::metrics::Metrics;
use crate::model::key::ObjectKey;
use crate::queue::{Place, Queue};
use crate::reconcile::history::Histories;

/// The cache and queue that the watches fill, and everything else that they use.
pub struct WatchContext {
    pub cache: Arc<Cache>,
    pub queue: Arc<Queue>,
    pub histories: Arc<Histories>,
    /// Whether this replica may write, in sources as well.
    pub fence: Fence,
    pub clock: Clock,
    pub metrics: Metrics,
    /// Whether each watch has listed its objects, except forbidden ones that may be absent.
    pub is_synced: tokio::sync::watch::Sender<bool>,
    /// Whether an import policy selects namespaces by their labels.
    pub needs_labels: tokio::sync::watch::Sender<bool>,
    /// Notified when a check of a link is requested.
    pub check_requested: Notify,
}

impl WatchContext {
    /// Enqueues imports for immediate reconciliation, and forgets deleted ones.
    pub fn enqueue(&self, keys: Vec<ObjectKey>) {
        for key in enqueue(&self.queue, &self.cache, keys) {
            self.histories.forget(&key);
            match self.cache.unreadable(&key) {
                Some(import) => {
                    let lane = self.cache.source_or_unlinked(&import.cluster_name).to_owned();
                    self.queue.enqueue(key, Place { lane, is_link: false }, None);
                }
                None => self.queue.forget(&key),
            }
        }
    }
}
