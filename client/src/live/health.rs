//! How a cluster is doing, as far as its answers tell.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How a cluster is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// It was not asked for anything yet.
    #[default]
    Unknown,
    /// It answers.
    Ready,
    /// It is there, and does not accept the credential (401): expired, revoked, or another cluster's.
    Unauthorized,
    /// It can't be reached, does not answer, or says itself that it is not ready.
    Away {
        /// What came of asking it.
        problem: Arc<str>,
        /// Whether it lets one wait for an answer that does not come. Requests are not sent then, so that
        /// they keep nobody waiting; the cluster is asked every few seconds whether it is back.
        is_silent: bool,
    },
}

impl Health {
    /// Whether it is worth asking.
    pub fn is_ready(&self) -> bool {
        *self == Self::Ready
    }

    /// Whether it is known not to answer.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. })
    }

    /// Whether it is known to let one wait for an answer that does not come.
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::Away { is_silent: true, .. })
    }
}

/// What a request tells of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Answered,
    Unauthorized,
    /// It may be away, or but one connection was cut: somebody should ask.
    Doubtful,
}

/// Where the health of one cluster is noted.
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

    /// When it last answered.
    pub(crate) fn heard(&self) -> Option<Instant> {
        *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until somebody has a doubt.
    pub(crate) async fn doubted(&self) {
        self.0.doubts.notified().await;
    }

    /// Waits until it is known to let one wait.
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
