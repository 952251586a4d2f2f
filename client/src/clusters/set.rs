//! The members, and a task for each of them.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures::FutureExt;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{debug, error};

use super::member::{Joining, Member};
use super::tend;

/// The members, by name.
pub(super) type Members = Arc<BTreeMap<Arc<str>, Member>>;

/// Adds and removes members.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) members: watch::Sender<Members>,
    tasks: Weak<Tasks>,
}

/// The tasks of a set, which end with it.
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

    /// Adds a member, if its name is free.
    pub(super) fn join(&self, joining: Joining) -> Option<Member> {
        let tasks = self.tasks.upgrade()?;
        // Held throughout, so that exactly the members of the set have a task.
        let mut tending = tasks.tending();
        let name = joining.name.clone();
        if self.members.borrow().contains_key(&name) {
            return None;
        }
        let member = Member::new(joining);
        let (members, revised) = (self.members.clone(), member.clone());
        let tend = tend::tend(member.clone(), move || revise(&revised, &members));
        let task = tokio::spawn(told_of(tend, "a health check")).abort_handle();
        tending.insert(name.clone(), task);
        self.members.send_modify(|members| drop(Arc::make_mut(members).insert(name, member.clone())));
        Some(member)
    }

    /// Removes this member, but not another one that has taken its name since.
    pub(super) fn leave(&self, member: &Member) {
        let Some(tasks) = self.tasks.upgrade() else { return };
        let mut tending = tasks.tending();
        if !self.get(member.name()).is_some_and(|known| known.is_same(member)) {
            return;
        }
        if let Some(task) = tending.remove(member.name()) {
            task.abort();
        }
        self.members.send_modify(|members| drop(Arc::make_mut(members).remove(member.name())));
    }

    /// Runs a task until the set is dropped.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = self.tasks.upgrade() {
            let task = tokio::spawn(told_of(task, "a feed of clusters")).abort_handle();
            tasks.feeding.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        }
    }
}

fn revise(member: &Member, members: &watch::Sender<Members>) {
    debug!(cluster = &**member.name(), "leads elsewhere");
    members.send_if_modified(|members| {
        let Some(known) = Arc::make_mut(members).get_mut(member.name()) else { return false };
        let is_it = known.is_same(member);
        if is_it {
            *known = known.revised();
        }
        is_it
    });
}

/// Runs a task and logs its panic, which a function of the caller may cause.
async fn told_of(task: impl Future<Output = ()>, what: &str) {
    if AssertUnwindSafe(task).catch_unwind().await.is_err() {
        error!("{what} panicked; members stay as they are");
    }
}

impl Tasks {
    fn tending(&self) -> MutexGuard<'_, HashMap<Arc<str>, AbortHandle>> {
        self.tending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        let tending = self.tending.get_mut().unwrap_or_else(PoisonError::into_inner);
        let feeding = self.feeding.get_mut().unwrap_or_else(PoisonError::into_inner);
        tending.values().chain(feeding.iter()).for_each(AbortHandle::abort);
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;

    use super::*;

    #[tokio::test]
    async fn leaving_does_not_remove_a_later_member_of_the_same_name() {
        let (set, _tasks) = Set::new();
        let answer =
            |_: Request<Body>| async { Ok::<_, std::convert::Infallible>(Response::new(Body::empty())) };
        let client = Client::new(tower::service_fn(answer), "default");
        let joining =
            || Joining { name: "c2".into(), access: client.clone().into(), is_local: false, uid: None };
        let first = set.join(joining()).unwrap();
        assert!(set.join(joining()).is_none());
        set.leave(&first);
        let second = set.join(joining()).unwrap();
        set.leave(&first);
        assert!(set.get("c2").unwrap().is_same(&second));
        set.leave(&second);
        assert!(set.get("c2").is_none());
    }
}
