//! Counts the reconciliations of pods.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::controller::Action;
use mcsa_client::controller::Request;
use tokio::sync::Notify;

use crate::replay::{LAP, TRICKLE};

/// After the bench ends. Most controllers requeue at an interval, so this one does too.
const AGAIN: Duration = Duration::from_secs(60 * 60);

pub struct Tally {
    laps: u64,
    reconciliations: AtomicU64,
    /// Each pod was reconciled as listed.
    pub listed: Mark,
    /// Each pod was reconciled in its version after all laps.
    pub changed: Mark,
    /// Each pod that changed once more was reconciled in that version.
    pub trickled: Mark,
}

/// Counts the pods that were reconciled in a certain version.
pub struct Mark {
    pods: usize,
    observed: AtomicUsize,
    reached: Notify,
}

impl Tally {
    /// For this number of pods, each with this number of changes.
    pub fn new(pods: usize, laps: u64) -> Self {
        let mark = |pods| Mark { pods, observed: AtomicUsize::new(0), reached: Notify::new() };
        let (listed, changed, trickled) = (mark(pods), mark(pods), mark(pods.div_ceil(TRICKLE)));
        Self { laps, reconciliations: AtomicU64::new(0), listed, changed, trickled }
    }

    pub fn reconciliations(&self) -> u64 {
        self.reconciliations.load(Ordering::Relaxed)
    }

    fn count(&self, pod: &Pod) {
        self.reconciliations.fetch_add(1, Ordering::Relaxed);
        let version =
            pod.metadata.resource_version.as_deref().and_then(|version| version.parse::<u64>().ok());
        match version.unwrap_or_default() / LAP {
            0 => self.listed.count(),
            lap if lap == self.laps => self.changed.count(),
            lap if lap > self.laps => self.trickled.count(),
            _ => {}
        }
    }
}

impl Mark {
    /// Waits until all pods are counted.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    fn count(&self) {
        if self.observed.fetch_add(1, Ordering::Relaxed) + 1 == self.pods {
            self.reached.notify_one();
        }
    }
}

/// The `reconcile` of kube's controller.
pub async fn reconcile(pod: Arc<Pod>, tally: Arc<Tally>) -> Result<Action, Infallible> {
    tally.count(&pod);
    Ok(Action::requeue(AGAIN))
}

/// The `reconcile` of our controller.
pub async fn reconcile_request(request: Request<Pod>, tally: Arc<Tally>) -> Result<Action, Infallible> {
    tally.count(&request.object);
    Ok(Action::requeue(AGAIN))
}
