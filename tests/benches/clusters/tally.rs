//! What reconciliations have seen.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::controller::Action;
use mcsa_client::controller::Request;
use tokio::sync::Notify;

use crate::replay::{LAP, TRICKLE};

/// Later than the bench ends; what is reconciled at an interval is the rule among controllers.
const AGAIN: Duration = Duration::from_secs(60 * 60);

/// How far it is.
pub struct Tally {
    laps: u64,
    reconciliations: AtomicU64,
    /// Each pod was reconciled as it was listed.
    pub listed: Mark,
    /// Each was reconciled as it was after all laps.
    pub changed: Mark,
    /// And so were those that changed once more, one by one.
    pub trickled: Mark,
}

/// So many pods that are reconciled in a certain state.
pub struct Mark {
    pods: usize,
    seen: AtomicUsize,
    reached: Notify,
}

impl Tally {
    /// Of so many pods, each of which changes so many times, and some once more.
    pub fn new(pods: usize, laps: u64) -> Self {
        let mark = |pods| Mark { pods, seen: AtomicUsize::new(0), reached: Notify::new() };
        let (listed, changed, trickled) = (mark(pods), mark(pods), mark(pods.div_ceil(TRICKLE)));
        Self { laps, reconciliations: AtomicU64::new(0), listed, changed, trickled }
    }

    /// How many reconciliations there were.
    pub fn reconciliations(&self) -> u64 {
        self.reconciliations.load(Ordering::Relaxed)
    }

    fn note(&self, pod: &Pod) {
        self.reconciliations.fetch_add(1, Ordering::Relaxed);
        let version =
            pod.metadata.resource_version.as_deref().and_then(|version| version.parse::<u64>().ok());
        match version.unwrap_or_default() / LAP {
            0 => self.listed.note(),
            lap if lap == self.laps => self.changed.note(),
            lap if lap > self.laps => self.trickled.note(),
            _ => {}
        }
    }
}

impl Mark {
    /// Waits until all of them were.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    fn note(&self) {
        if self.seen.fetch_add(1, Ordering::Relaxed) + 1 == self.pods {
            self.reached.notify_one();
        }
    }
}

/// For kube's controller.
pub async fn reconcile(pod: Arc<Pod>, tally: Arc<Tally>) -> Result<Action, Infallible> {
    tally.note(&pod);
    Ok(Action::requeue(AGAIN))
}

/// For ours.
pub async fn reconcile_request(request: Request<Pod>, tally: Arc<Tally>) -> Result<Action, Infallible> {
    tally.note(&request.object);
    Ok(Action::requeue(AGAIN))
}
