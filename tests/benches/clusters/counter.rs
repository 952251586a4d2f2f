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

/// Longer than the bench runs. Most controllers requeue at an interval, so these do, too.
const REQUEUE_INTERVAL: Duration = Duration::from_secs(60 * 60);

pub struct Counter {
    laps: u64,
    reconciliations: AtomicU64,
    /// Each pod was reconciled in the version of the list.
    pub listed: Milestone,
    /// Each pod was reconciled in the version after all laps.
    pub changed: Milestone,
    /// Each pod that changed once more was reconciled in the version after that.
    pub single_changed: Milestone,
}

/// Reached when this number of pods was reconciled in a certain version.
pub struct Milestone {
    pods: usize,
    observed: AtomicUsize,
    reached: Notify,
}

impl Counter {
    /// Creates a counter for pods that each change `laps` times.
    pub fn new(pods: usize, laps: u64) -> Self {
        let milestone = |pods| Milestone { pods, observed: AtomicUsize::new(0), reached: Notify::new() };
        let (listed, changed, single_changed) =
            (milestone(pods), milestone(pods), milestone(pods.div_ceil(TRICKLE)));
        Self { laps, reconciliations: AtomicU64::new(0), listed, changed, single_changed }
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
            lap if lap > self.laps => self.single_changed.count(),
            _ => {}
        }
    }
}

impl Milestone {
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
pub async fn reconcile(pod: Arc<Pod>, counter: Arc<Counter>) -> Result<Action, Infallible> {
    counter.count(&pod);
    Ok(Action::requeue(REQUEUE_INTERVAL))
}

/// The `reconcile` of our controller.
pub async fn reconcile_request(request: Request<Pod>, counter: Arc<Counter>) -> Result<Action, Infallible> {
    counter.count(&request.object);
    Ok(Action::requeue(REQUEUE_INTERVAL))
}
