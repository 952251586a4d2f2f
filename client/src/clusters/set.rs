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
    health_checks: Mutex<HashMap<Arc<str>, HealthCheck>>,
    feeds: Mutex<Vec<AbortHandle>>,
}

/// The task of a member. When this is dropped, the member has left.
#[derive(Debug)]
struct HealthCheck {
    member: Member,
    task: AbortHandle,
}

impl Drop for HealthCheck {
    fn drop(&mut self) {
        self.task.abort();
        self.member.set_left();
    }
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
        health_checks.insert(name.clone(), HealthCheck { member: member.clone(), task });
        self.members.send_modify(|members| drop(Arc::make_mut(members).insert(name, member.clone())));
        Some(member)
    }

    /// Removes this member, but not a later one of the same name. Returns whether it was in the set.
    pub(super) fn leave(&self, member: &Member) -> bool {
        let Some(tasks) = self.tasks.upgrade() else { return false };
        let mut health_checks = tasks.health_checks();
        if !self.get(member.name()).is_some_and(|known| known == *member) {
            return false;
        }
        self.members.send_modify(|members| drop(Arc::make_mut(members).remove(member.name())));
        // Last: who waits until the member has left must not get it from the set.
        health_checks.remove(member.name());
        true
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
    fn health_checks(&self) -> MutexGuard<'_, HashMap<Arc<str>, HealthCheck>> {
        self.health_checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        let feeds = self.feeds.get_mut().unwrap_or_else(PoisonError::into_inner);
        feeds.iter().for_each(AbortHandle::abort);
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
