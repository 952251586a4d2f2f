//! The health of a cluster, judged by its answers.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The health of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// No request was sent yet.
    #[default]
    Unknown,
    /// It answers.
    Ready,
    /// It answers, but refuses the credential (401): expired, revoked, or issued by another cluster.
    Unauthorized,
    /// It is unreachable, does not answer, or reports that it is not ready.
    Away {
        /// The result of the health check.
        problem: Arc<str>,
        /// Whether it does not answer at all. Requests then fail at once instead of waiting. Health checks continue
        /// every few seconds.
        is_silent: bool,
    },
}

impl Health {
    /// Whether it answers and is ready.
    pub fn is_ready(&self) -> bool {
        *self == Self::Ready
    }

    /// Whether it is considered unreachable.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. })
    }

    /// Whether it is considered unresponsive.
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::Away { is_silent: true, .. })
    }
}

/// What the result of a request says about a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Answered,
    Unauthorized,
    /// It may be unreachable, or only one connection was cut: a health check is due.
    Doubtful,
}

/// The shared health of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Pulse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    health: watch::Sender<Health>,
    heard: Mutex<Option<Instant>>,
    doubts: Notify,
}

impl Default for Pulse {
    fn default() -> Self {
        let (health, heard, doubts) = Default::default();
        Self(Arc::new(Inner { health, heard, doubts }))
    }
}

impl Pulse {
    pub(crate) fn note(&self, health: Health) {
        if matches!(health, Health::Ready | Health::Unauthorized) {
            *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        self.0.health.send_if_modified(|known| {
            let is_news = *known != health;
            if is_news {
                *known = health;
            }
            is_news
        });
    }

    pub(crate) fn judge(&self, verdict: Verdict) {
        match verdict {
            Verdict::Answered => self.note(Health::Ready),
            Verdict::Unauthorized => self.note(Health::Unauthorized),
            Verdict::Doubtful => self.0.doubts.notify_one(),
        }
    }

    pub(crate) fn health(&self) -> Health {
        self.0.health.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Health> {
        self.0.health.subscribe()
    }

    /// When the cluster last answered.
    pub(crate) fn heard(&self) -> Option<Instant> {
        *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a request has a doubtful result.
    pub(crate) async fn doubted(&self) {
        self.0.doubts.notified().await;
    }

    /// Waits until the cluster is considered unresponsive. Returns the problem.
    pub(crate) async fn silent(self) -> Arc<str> {
        let mut health = self.watch();
        loop {
            if let Health::Away { problem, is_silent: true } = &*health.borrow_and_update() {
                return problem.clone();
            }
            // The sender lives as long as `self`.
            let _ = health.changed().await;
        }
    }
}
