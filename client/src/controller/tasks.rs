//! What is being worked on.

use std::collections::HashMap;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

/// Items that are worked on, each by a task of its own. Dropped, all of them end.
pub(super) struct Runs<T, R> {
    tasks: JoinSet<R>,
    items: HashMap<Id, (T, AbortHandle)>,
}

impl<T, R: Send + 'static> Runs<T, R> {
    pub(super) fn start(&mut self, item: T, work: impl Future<Output = R> + Send + 'static) {
        let handle = self.tasks.spawn(work);
        self.items.insert(handle.id(), (item, handle));
    }

    /// The next whose work ends, and how. `None` without any.
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

    /// Ends the work on those items, which still come by [`Runs::next`].
    pub(super) fn abort_where(&self, is_meant: impl Fn(&T) -> bool) {
        for (item, handle) in self.items.values() {
            if is_meant(item) {
                handle.abort();
            }
        }
    }

    pub(super) fn abort_all(&self) {
        self.abort_where(|_| true);
    }
}

impl<T, R: Send + 'static> Default for Runs<T, R> {
    fn default() -> Self {
        Self { tasks: JoinSet::new(), items: HashMap::new() }
    }
}
