//! The health of a cluster, judged by its responses.

use std::sync::{Arc, Mutex, PoisonError};

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
    /// It is unreachable, does not respond, or reports that it is not ready.
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

/// The shared health of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct HealthState(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    health: watch::Sender<Health>,
    last_response: Mutex<Option<Instant>>,
    check_due: Notify,
}

impl Default for HealthState {
    fn default() -> Self {
        let (health, last_response, check_due) = Default::default();
        Self(Arc::new(Inner { health, last_response, check_due }))
    }
}

impl HealthState {
    pub(crate) fn set(&self, health: Health) {
        if matches!(health, Health::Ready | Health::Unauthorized) {
            *self.0.last_response.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        self.0.health.send_if_modified(|known| {
            let is_changed = *known != health;
            if is_changed {
                *known = health;
            }
            is_changed
        });
    }

    pub(crate) fn record(&self, evidence: Evidence) {
        match evidence {
            Evidence::Responded => self.set(Health::Ready),
            Evidence::Unauthorized => self.set(Health::Unauthorized),
            Evidence::Inconclusive => self.0.check_due.notify_one(),
        }
    }

    pub(crate) fn health(&self) -> Health {
        self.0.health.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Health> {
        self.0.health.subscribe()
    }

    /// When the cluster last responded.
    pub(crate) fn last_response(&self) -> Option<Instant> {
        *self.0.last_response.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the result of a request makes a health check due.
    pub(crate) async fn check_due(&self) {
        self.0.check_due.notified().await;
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
}
