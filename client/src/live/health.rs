//! The health of a cluster, judged by its responses to all members.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The health of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// It was not checked yet.
    #[default]
    Unknown,
    /// It responds.
    Ready,
    /// It responds, but refuses the credential (401): expired, revoked, or issued by another cluster.
    Unauthorized,
    /// It is unreachable, does not respond, or reports that it is not ready. Or there is no credential to send.
    Unavailable {
        /// The result of the health check.
        problem: Arc<str>,
        /// Whether it does not respond at all. Requests then fail at once instead of waiting. Health checks continue
        /// every few seconds.
        is_unresponsive: bool,
    },
}

impl Health {
    /// Whether it is [`Health::Ready`].
    pub fn is_ready(&self) -> bool {
        *self == Self::Ready
    }

    /// Whether it is [`Health::Unavailable`].
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Whether it does not respond at all.
    pub fn is_unresponsive(&self) -> bool {
        matches!(self, Self::Unavailable { is_unresponsive: true, .. })
    }
}

/// What the result of a request proves about a cluster's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    Responded,
    Unauthorized,
    /// The cluster may be unavailable, or only this request failed: a health check is due.
    Inconclusive,
}

/// What is known about a cluster. Its members share it.
#[derive(Debug, Default)]
pub(crate) struct ClusterHealth {
    facts: Mutex<Facts>,
    changed: Notify,
}

/// What the responses to all members prove about their cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// [`Health::Unavailable`], if the cluster is.
    pub(crate) unavailable: Option<Health>,
    /// When it last responded to a member.
    pub(crate) last_response: Option<Instant>,
    /// Whether the result of a request makes a health check due.
    pub(crate) is_check_due: bool,
}

impl ClusterHealth {
    pub(crate) fn facts(&self) -> Facts {
        self.lock().clone()
    }

    pub(crate) fn set_unavailable(&self, health: Health) {
        self.lock().unavailable = Some(health);
    }

    /// A health check begins. Requests that fail from now on make another one due.
    pub(crate) fn check_begins(&self) {
        self.lock().is_check_due = false;
    }

    /// Wakes the task that checks the health.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Waits until the facts or the members have changed.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn responded(&self) {
        let mut facts = self.lock();
        facts.last_response = Some(Instant::now());
        if facts.unavailable.take().is_some() {
            self.wake();
        }
    }

    fn request_check(&self) {
        if !std::mem::replace(&mut self.lock().is_check_due, true) {
            self.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The health of a member: that of its cluster if it is unavailable, otherwise what the member's own requests prove.
#[derive(Clone, Debug, Default)]
pub(crate) struct HealthState(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    health: watch::Sender<Health>,
    sources: Mutex<Sources>,
}

#[derive(Debug, Default)]
struct Sources {
    cluster: Arc<ClusterHealth>,
    own: Health,
}

impl HealthState {
    /// Begins anew with this cluster.
    pub(crate) fn join(&self, cluster: Arc<ClusterHealth>) {
        let mut sources = self.sources();
        *sources = Sources { cluster, own: Health::Unknown };
        self.publish(&sources);
    }

    /// Nothing checks the health any more, so clients that are still in use must not fail because of it.
    pub(crate) fn leave(&self) {
        self.join(Arc::default());
    }

    /// Sets the result of the member's own requests.
    pub(crate) fn set(&self, own: Health) {
        let mut sources = self.sources();
        if matches!(own, Health::Ready | Health::Unauthorized) {
            sources.cluster.responded();
        }
        sources.own = own;
        self.publish(&sources);
    }

    pub(crate) fn record(&self, evidence: Evidence) {
        match evidence {
            Evidence::Responded => self.set(Health::Ready),
            Evidence::Unauthorized => self.set(Health::Unauthorized),
            Evidence::Inconclusive => self.sources().cluster.request_check(),
        }
    }

    pub(crate) fn health(&self) -> Health {
        self.0.health.borrow().clone()
    }

    /// The result of the member's own requests.
    pub(crate) fn own(&self) -> Health {
        self.sources().own.clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Health> {
        self.0.health.subscribe()
    }

    /// Takes over what another member found out about the cluster.
    pub(crate) fn refresh(&self) {
        self.publish(&self.sources());
    }

    /// Waits until the cluster is considered unresponsive. Returns the problem.
    pub(crate) async fn becomes_unresponsive(self) -> Arc<str> {
        let mut health = self.watch();
        loop {
            if let Health::Unavailable { problem, is_unresponsive: true } = &*health.borrow_and_update() {
                return problem.clone();
            }
            // The sender lives as long as `self`.
            let _ = health.changed().await;
        }
    }

    fn publish(&self, sources: &Sources) {
        let facts = sources.cluster.lock();
        let health = facts.unavailable.as_ref().unwrap_or(&sources.own);
        self.0.health.send_if_modified(|known| {
            let is_changed = *known != *health;
            if is_changed {
                known.clone_from(health);
            }
            is_changed
        });
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.0.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
