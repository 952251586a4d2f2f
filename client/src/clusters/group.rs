//! Members of one cluster, and the task that checks its health.

mod state;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt;
use futures::future::{join, join_all};
use futures::stream::FuturesUnordered;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use self::state::{Entry, State};
use super::health_check::{Answer, Verdict, ask, verdict};
use super::member::Member;
use super::turns::{self, Next, Turn, check_due, next_backoff};
use crate::live::Credential;
use crate::live::health::{ClusterHealth, Health};

/// The groups of a set, by endpoint.
#[derive(Debug, Default)]
pub(super) struct Groups(HashMap<u64, Weak<Group>>);

/// Members of one cluster. Its task ends with the last of them.
#[derive(Debug)]
pub(super) struct Group {
    shared: Arc<Shared>,
    task: AbortHandle,
}

/// A member of a group. When this is dropped, the member has left the set.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) member: Member,
    group: Arc<Group>,
}

#[derive(Debug)]
struct Shared {
    /// What the configs of all members have in common. `None`: it is the group of one caller's client.
    endpoint: Option<u64>,
    cluster: Arc<ClusterHealth>,
    state: Mutex<State>,
}

impl Groups {
    /// Adds the member to the group of its endpoint.
    pub(super) fn join(&mut self, member: &Member) -> Membership {
        let group = self.get(member.access().cluster());
        group.shared.add(member);
        Membership { member: member.clone(), group }
    }

    /// Moves the member to the group of its endpoint, if that is another one.
    pub(super) fn update(&mut self, membership: &mut Membership) {
        let (member, group) = (&membership.member, self.get(membership.member.access().cluster()));
        if !Arc::ptr_eq(&group, &membership.group) {
            membership.group.shared.remove(member);
            group.shared.add(member);
            membership.group = group;
        }
    }

    fn get(&mut self, endpoint: Option<u64>) -> Arc<Group> {
        self.0.retain(|_, group| group.strong_count() > 0);
        let Some(key) = endpoint else { return Arc::new(Group::new(None)) };
        let known = self.0.get(&key).and_then(Weak::upgrade);
        let group = known.unwrap_or_else(|| Arc::new(Group::new(endpoint)));
        self.0.insert(key, Arc::downgrade(&group));
        group
    }
}

impl Group {
    fn new(endpoint: Option<u64>) -> Self {
        let state = State {
            entries: VecDeque::new(),
            last_check: Instant::now(),
            backoff: Duration::ZERO,
            was_unavailable: false,
        };
        let shared = Arc::new(Shared { endpoint, cluster: Arc::default(), state: Mutex::new(state) });
        let task = tokio::spawn(run(shared.clone())).abort_handle();
        Self { shared, task }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.group.shared.remove(&self.member);
        self.member.health_state().leave();
        self.member.set_left();
    }
}

/// Checks the health of a cluster until the task is aborted.
async fn run(shared: Arc<Shared>) {
    loop {
        match shared.next() {
            Ok(members) => drop(join_all(members.into_iter().map(|member| shared.check(member))).await),
            Err(until) => tokio::select! {
                () = sleep(until) => {}
                () = shared.cluster.changed() => {}
            },
        }
        shared.recover();
    }
}

/// Asks all at once, until the cluster responds to one of them.
async fn ask_others(members: Vec<Member>) -> Option<(Member, Answer)> {
    let ask = |member: Member| async move {
        let answer = ask(member.access()).await;
        (member, answer)
    };
    let mut answers: FuturesUnordered<_> = members.into_iter().map(ask).collect();
    let mut last = None;
    while let Some((member, answer)) = answers.next().await {
        let is_response = answer.is_response();
        last = Some((member, answer));
        if is_response {
            break;
        }
    }
    last
}

async fn sleep(until: Option<Instant>) {
    match until {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, member: &Member) {
        let mut state = self.state();
        member.health_state().join(self.cluster.clone());
        state.entries.push_back(Entry { member: member.clone(), retry: None });
        self.cluster.wake();
    }

    fn remove(&self, member: &Member) {
        self.state().entries.retain(|entry| entry.member != *member);
    }

    /// The members to ask now, or when to decide again. They move to the end of the turns.
    fn next(&self) -> Result<Vec<Member>, Option<Instant>> {
        let (mut state, facts, now) = (self.state(), self.cluster.facts(), Instant::now());
        let turn = |entry: &Entry| Turn {
            is_untried: entry.member.health_state().own() == Health::Unknown,
            retry_at: entry.retry.map(|(time, _)| time),
        };
        let turns: Vec<_> = state.entries.iter().map(turn).collect();
        let due = check_due(&facts, state.last_check, state.backoff);
        match turns::next(&turns, facts.unavailable.is_some(), due, now) {
            Next::Ask(indexes) => {
                state.last_check = now;
                Ok(state.take_turns(&indexes))
            }
            Next::Wait(until) => Err(until),
        }
    }

    /// Asks with the credential of `member`. If that fails, asks others, too: the reason may be the member's own. If the
    /// cluster does not respond, all are asked over new connections: the old ones may be dead, and all watches of a cluster
    /// end when it is considered unresponsive.
    async fn check(&self, member: Member) {
        self.cluster.check_begins();
        let (mut since, access) = (Instant::now(), member.access());
        // Its credential plugin delays the check only once.
        let is_pending =
            member.health_state().own().is_unavailable() && access.credential() == Credential::Pending;
        let mut answer = if is_pending { Answer::CredentialPending } else { ask(access).await };
        let mut other = None;
        if answer.is_failure() {
            since = Instant::now();
            let others = ask_others(self.others(&member));
            other = match answer {
                Answer::Silence => {
                    self.reconnect();
                    let other;
                    (answer, other) = join(ask(access), others).await;
                    other
                }
                _ => others.await,
            };
        }
        self.apply(since, &member, &answer, other.as_ref());
    }

    /// Other members that can prove that the cluster responds: those to which it responded before, or any one. Before the
    /// cluster becomes unavailable for all, these are all of them, since several may fail for reasons of their own.
    /// Afterwards it is one, which moves to the end of the turns.
    fn others(&self, first: &Member) -> Vec<Member> {
        let mut state = self.state();
        let can_prove = |entry: &Entry| entry.member != *first && entry.retry.is_none();
        let has_responded = |entry: &Entry| {
            can_prove(entry)
                && matches!(entry.member.health_state().own(), Health::Ready | Health::Unauthorized)
        };
        let mut indexes = state.indexes(has_responded);
        if indexes.is_empty() {
            indexes = state.indexes(can_prove);
            indexes.truncate(1);
        }
        if self.cluster.facts().unavailable.is_some() {
            indexes.truncate(1);
        }
        state.take_turns(&indexes)
    }

    /// Sends further requests of all members over new connections.
    fn reconnect(&self) {
        let members: Vec<_> = self.state().entries.iter().map(|entry| entry.member.clone()).collect();
        let now = Instant::now();
        members.iter().for_each(|member| member.access().reconnect(now));
    }

    /// Applies the answer to `member`, and that to another one. `since` is when they were asked.
    fn apply(&self, since: Instant, member: &Member, answer: &Answer, other: Option<&(Member, Answer)>) {
        let mut state = self.state();
        if member.access().cluster() != self.endpoint {
            // Another cluster may have answered. The member is about to leave this group.
            state.set_retry(member, true);
            return;
        }
        if state.entry(member).is_none() {
            return;
        }
        let has_responded = self.cluster.facts().last_response.is_some_and(|time| time > since);
        match verdict(answer, other.map(|(_, answer)| answer), has_responded) {
            Verdict::Responds => {
                state.backoff = Duration::ZERO;
                if let Some((other, answer)) = other.filter(|(_, answer)| answer.is_response()) {
                    state.set_own(other, answer);
                }
                state.set_own(member, answer);
            }
            Verdict::Inconclusive => state.set_own(member, answer),
            Verdict::Unavailable => {
                state.backoff = next_backoff(state.backoff);
                self.set_unavailable(&mut state, answer.health());
                // It is asked anew when the cluster is available again.
                if state.set_retry(member, false) {
                    member.health_state().set(Health::Unknown);
                }
            }
        }
    }

    fn set_unavailable(&self, state: &mut State, health: Health) {
        if let Health::Unavailable { problem, .. } = &health
            && !std::mem::replace(&mut state.was_unavailable, true)
        {
            warn!(cluster = state.names(), problem = &**problem, "cluster is unavailable");
        }
        self.cluster.set_unavailable(health);
        state.refresh();
    }

    /// Tells all members if the cluster responded to one of them.
    fn recover(&self) {
        let mut state = self.state();
        if state.was_unavailable && self.cluster.facts().unavailable.is_none() {
            state.was_unavailable = false;
            state.backoff = Duration::ZERO;
            state.refresh();
            info!(cluster = state.names(), "cluster is available again");
        }
    }
}
