//! The members, and what is done for each of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::member::{Joining, Member};
use super::tend;

/// The members, by name.
pub(super) type Members = Arc<BTreeMap<Arc<str>, Member>>;

/// The members, for those who add and remove them.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) members: watch::Sender<Members>,
    tasks: Weak<Tasks>,
}

/// What runs for a set, and ends with it.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    tending: Mutex<HashMap<Arc<str>, AbortHandle>>,
    feeding: Mutex<Vec<AbortHandle>>,
}

impl Set {
    pub(super) fn new() -> (Self, Arc<Tasks>) {
        let tasks = Arc::<Tasks>::default();
        (Self { members: watch::Sender::new(Members::default()), tasks: Arc::downgrade(&tasks) }, tasks)
    }

    pub(super) fn get(&self, name: &str) -> Option<Member> {
        self.members.borrow().get(name).cloned()
    }

    /// Adds a member; whether its name was free.
    pub(super) fn join(&self, joining: Joining) -> bool {
        let (name, member) = (joining.name.clone(), Member::new(joining));
        let is_free = self.members.send_if_modified(|members| {
            let is_free = !members.contains_key(&name);
            if is_free {
                Arc::make_mut(members).insert(name.clone(), member.clone());
            }
            is_free
        });
        if is_free && let Some(tasks) = self.tasks.upgrade() {
            let task = tokio::spawn(tend::tend(member, self.members.clone()));
            tasks.tend(name, task.abort_handle());
        }
        is_free
    }

    /// Removes a member.
    pub(super) fn leave(&self, name: &str) {
        self.members.send_if_modified(|members| Arc::make_mut(members).remove(name).is_some());
        if let Some(tasks) = self.tasks.upgrade() {
            tasks.tend_no_more(name);
        }
    }

    /// Runs a task for as long as there is the set.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = self.tasks.upgrade() {
            let task = tokio::spawn(task).abort_handle();
            tasks.feeding.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        }
    }
}

impl Tasks {
    fn tend(&self, name: Arc<str>, task: AbortHandle) {
        let former = self.tending.lock().unwrap_or_else(PoisonError::into_inner).insert(name, task);
        former.inspect(AbortHandle::abort);
    }

    fn tend_no_more(&self, name: &str) {
        let task = self.tending.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        task.inspect(AbortHandle::abort);
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        let tending = self.tending.get_mut().unwrap_or_else(PoisonError::into_inner);
        let feeding = self.feeding.get_mut().unwrap_or_else(PoisonError::into_inner);
        tending.values().chain(feeding.iter()).for_each(AbortHandle::abort);
    }
}
