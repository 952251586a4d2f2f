//! Tasks, each for an item.

use std::collections::HashMap;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

/// One task per item. All tasks are aborted when this is dropped.
pub(super) struct Tasks<T, R> {
    tasks: JoinSet<R>,
    items: HashMap<Id, (T, AbortHandle)>,
}

impl<T, R: Send + 'static> Tasks<T, R> {
    pub(super) fn start(&mut self, item: T, work: impl Future<Output = R> + Send + 'static) {
        let handle = self.tasks.spawn(work);
        self.items.insert(handle.id(), (item, handle));
    }

    /// Waits for a task to end. `None`: no task is running.
    pub(super) async fn next(&mut self) -> Option<(T, Result<R, JoinError>)> {
        let (id, result) = match self.tasks.join_next_with_id().await? {
            Ok((id, result)) => (id, Ok(result)),
            Err(error) => (error.id(), Err(error)),
        };
        let (item, _) = self.items.remove(&id)?;
        Some((item, result))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Aborts the tasks of matching items. [`Tasks::next`] still returns them.
    pub(super) fn abort_where(&self, predicate: impl Fn(&T) -> bool) {
        for (item, handle) in self.items.values() {
            if predicate(item) {
                handle.abort();
            }
        }
    }

    pub(super) fn abort_all(&self) {
        self.abort_where(|_| true);
    }
}

impl<T, R: Send + 'static> Default for Tasks<T, R> {
    fn default() -> Self {
        Self { tasks: JoinSet::new(), items: HashMap::new() }
    }
}
