//! The members, and a health check for each of them.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures::FutureExt;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{debug, error};

use super::health_check;
use super::member::{Member, NewMember};

/// The members, by name.
pub(super) type Members = Arc<BTreeMap<Arc<str>, Member>>;

/// Adds and removes members.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) members: watch::Sender<Members>,
    tasks: Weak<Tasks>,
}

/// The tasks of a set. They end when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    health_checks: Mutex<HashMap<Arc<str>, AbortHandle>>,
    feeds: Mutex<Vec<AbortHandle>>,
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
    pub(super) fn join(&self, new: NewMember) -> Option<Member> {
        let tasks = self.tasks.upgrade()?;
        // Locked until the member is in the set, so that each member has a health check, and nothing else has one.
        let mut health_checks = tasks.health_checks();
        let name = new.name.clone();
        if self.members.borrow().contains_key(&name) {
            return None;
        }
        let member = Member::new(new);
        let (members, checked) = (self.members.clone(), member.clone());
        let health_check = health_check::run(member.clone(), move || revise(&checked, &members));
        let task = tokio::spawn(log_panic(health_check, "a health check")).abort_handle();
        health_checks.insert(name.clone(), task);
        self.members.send_modify(|members| drop(Arc::make_mut(members).insert(name, member.clone())));
        Some(member)
    }

    /// Removes this member, but not a later one of the same name.
    pub(super) fn leave(&self, member: &Member) {
        let Some(tasks) = self.tasks.upgrade() else { return };
        let mut health_checks = tasks.health_checks();
        if !self.get(member.name()).is_some_and(|known| known == *member) {
            return;
        }
        if let Some(task) = health_checks.remove(member.name()) {
            task.abort();
        }
        self.members.send_modify(|members| drop(Arc::make_mut(members).remove(member.name())));
    }

    /// Runs a task until the set is dropped.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = self.tasks.upgrade() {
            let task = tokio::spawn(log_panic(task, "the watch of a cluster source")).abort_handle();
            tasks.feeds.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        }
    }
}

/// Replaces a member in the set after a change of its address.
fn revise(member: &Member, members: &watch::Sender<Members>) {
    debug!(cluster = &**member.name(), "address, certificate authority or default namespace changed");
    members.send_if_modified(|members| {
        let Some(known) = Arc::make_mut(members).get_mut(member.name()) else { return false };
        let is_same = known == member;
        if is_same {
            *known = known.next_revision();
        }
        is_same
    });
}

/// Runs a task, and logs it if the task panics. A function that the caller passed may panic.
async fn log_panic(task: impl Future<Output = ()>, what: &str) {
    if AssertUnwindSafe(task).catch_unwind().await.is_err() {
        error!("{what} panicked; the set keeps its members");
    }
}

impl Tasks {
    fn health_checks(&self) -> MutexGuard<'_, HashMap<Arc<str>, AbortHandle>> {
        self.health_checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        let health_checks = self.health_checks.get_mut().unwrap_or_else(PoisonError::into_inner);
        let feeds = self.feeds.get_mut().unwrap_or_else(PoisonError::into_inner);
        health_checks.values().chain(feeds.iter()).for_each(AbortHandle::abort);
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
        let response =
            |_: Request<Body>| async { Ok::<_, std::convert::Infallible>(Response::new(Body::empty())) };
        let client = Client::new(tower::service_fn(response), "default");
        let new = || NewMember {
            name: "c2".into(),
            access: client.clone().into(),
            is_local: false,
            verified_uid: None,
        };
        let first = set.join(new()).unwrap();
        assert!(set.join(new()).is_none());
        set.leave(&first);
        let second = set.join(new()).unwrap();
        set.leave(&first);
        assert_eq!(set.get("c2"), Some(second.clone()));
        set.leave(&second);
        assert!(set.get("c2").is_none());
    }
}
