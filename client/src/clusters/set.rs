//! The members, in groups that share a cluster.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tracing::{debug, error};

use super::endpoints::{self, Observed};
use super::group::{Groups, Membership};
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
#[derive(Debug)]
pub(super) struct Tasks {
    memberships: Mutex<Memberships>,
    joined: mpsc::UnboundedSender<Observed>,
    others: Mutex<Vec<AbortHandle>>,
}

#[derive(Debug, Default)]
struct Memberships {
    by_name: HashMap<Arc<str>, Membership>,
    groups: Groups,
}

impl Set {
    /// Call it within a tokio runtime.
    pub(super) fn new() -> (Self, Arc<Tasks>) {
        let (joined, observed) = mpsc::unbounded_channel();
        let tasks = Arc::new(Tasks { memberships: Mutex::default(), joined, others: Mutex::default() });
        let set = Self { members: watch::Sender::new(Members::default()), tasks: Arc::downgrade(&tasks) };
        let (changed, all) = (set.clone(), set.members.clone());
        set.spawn(endpoints::observe(observed, move |member| changed.endpoint_changed(member)));
        set.spawn(endpoints::refresh(move || all.borrow().values().cloned().collect()));
        (set, tasks)
    }

    pub(super) fn get(&self, name: &str) -> Option<Member> {
        self.members.borrow().get(name).cloned()
    }

    /// Adds a member, if its name is free.
    pub(super) fn join(&self, new: NewMember) -> Option<Member> {
        let tasks = self.tasks.upgrade()?;
        // Locked until the member is in the set, so that each member is in a group, and nothing else is.
        let mut memberships = tasks.memberships();
        let name = new.name.clone();
        if self.members.borrow().contains_key(&name) {
            return None;
        }
        let member = Member::new(new);
        if let Some(endpoint) = member.access().watch_endpoint() {
            // The receiver lives as long as `tasks`.
            let _ = tasks.joined.send((member.clone(), endpoint));
        }
        let membership = memberships.groups.join(&member);
        memberships.by_name.insert(name.clone(), membership);
        self.members.send_modify(|members| drop(Arc::make_mut(members).insert(name, member.clone())));
        Some(member)
    }

    /// Removes this member, but not a later one of the same name. Returns whether it was in the set.
    pub(super) fn leave(&self, member: &Member) -> bool {
        let Some(tasks) = self.tasks.upgrade() else { return false };
        let mut memberships = tasks.memberships();
        if !self.get(member.name()).is_some_and(|known| known == *member) {
            return false;
        }
        self.members.send_modify(|members| drop(Arc::make_mut(members).remove(member.name())));
        // Last: who waits until the member has left must not get it from the set.
        memberships.by_name.remove(member.name());
        true
    }

    /// Moves a member to the group of its new endpoint, and replaces it in the set.
    fn endpoint_changed(&self, member: &Member) {
        let Some(tasks) = self.tasks.upgrade() else { return };
        let Memberships { by_name, groups } = &mut *tasks.memberships();
        let membership = by_name.get_mut(member.name()).filter(|membership| membership.member == *member);
        let Some(membership) = membership else { return };
        debug!(cluster = &**member.name(), "address, certificate authority or default namespace changed");
        groups.update(membership);
        self.members.send_modify(|members| {
            if let Some(known) = Arc::make_mut(members).get_mut(member.name()) {
                *known = known.next_revision();
            }
        });
    }

    /// Runs a task until the set is dropped.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = self.tasks.upgrade() {
            let task = tokio::spawn(log_panic(task)).abort_handle();
            tasks.others.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        }
    }
}

/// Runs a task, and logs it if the task panics. A function that the caller passed may panic.
async fn log_panic(task: impl Future<Output = ()>) {
    if AssertUnwindSafe(task).catch_unwind().await.is_err() {
        error!("the watch of a cluster source panicked; the set keeps its members");
    }
}

impl Tasks {
    fn memberships(&self) -> MutexGuard<'_, Memberships> {
        self.memberships.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        let others = self.others.get_mut().unwrap_or_else(PoisonError::into_inner);
        others.iter().for_each(AbortHandle::abort);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use rstest::rstest;
    use tokio::time::timeout;

    use super::*;
    use crate::clusters::Health;

    /// A cluster that responds to everything but health checks.
    fn new() -> NewMember {
        let respond = |request: Request<Body>| async move {
            if request.uri().path() == "/readyz" {
                std::future::pending::<()>().await;
            }
            Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
        };
        let client = Client::new(tower::service_fn(respond), "default");
        NewMember::new("c2", client)
    }

    #[tokio::test]
    async fn leaving_does_not_remove_a_later_member_of_the_same_name() {
        let (set, _tasks) = Set::new();
        let first = set.join(new()).unwrap();
        assert!(set.join(new()).is_none());
        set.leave(&first);
        let second = set.join(new()).unwrap();
        set.leave(&first);
        assert_eq!(set.get("c2"), Some(second.clone()));
        set.leave(&second);
        assert!(set.get("c2").is_none());
    }

    #[rstest]
    #[case::member_leaves(true)]
    #[case::set_is_dropped(false)]
    #[tokio::test(start_paused = true)]
    async fn client_of_an_unresponsive_member_works_again_when_it_has_left(#[case] leaves: bool) {
        let (set, tasks) = Set::new();
        let member = set.join(new()).unwrap();
        let mut health = member.watch_health();
        health.wait_for(Health::is_unresponsive).await.unwrap();
        let client = member.client();
        let send = || client.send(Request::new(Body::empty()));
        assert!(send().await.unwrap_err().to_string().contains("unresponsive"));
        assert!(timeout(Duration::from_secs(60), member.left()).await.is_err());

        match leaves {
            true => assert!(set.leave(&member)),
            false => drop(tasks),
        }
        member.left().await;
        timeout(Duration::from_secs(60), member.wait_until_available()).await.unwrap();
        send().await.unwrap();
    }
}
