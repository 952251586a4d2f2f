//! How a cluster is doing, as far as its answers tell.

use std::sync::Arc;

use tokio::sync::watch;

/// How a cluster is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It was not asked for anything yet.
    #[default]
    Unknown,
    /// It answered the last request.
    Ready,
    /// It is there, and does not accept the credential (401): expired, revoked, or another cluster's.
    Unauthorized,
    /// It can't be reached, or does not answer.
    Away {
        /// What was tried, and what came of it.
        problem: Arc<str>,
    },
}

impl Health {
    /// Whether it is worth asking.
    pub fn is_ready(&self) -> bool {
        *self == Self::Ready
    }
}

/// Where the health of one cluster is noted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulse(watch::Sender<Health>);

impl Pulse {
    #[allow(dead_code)]
    pub(crate) fn note(&self, health: Health) {
        self.0.send_if_modified(|known| {
            let is_news = *known != health;
            if is_news {
                *known = health;
            }
            is_news
        });
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Health> {
        self.0.subscribe()
    }
}
