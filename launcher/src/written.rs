//! What was written to home pods, until the watch shows it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use std::time::Duration;
use tokio::time::Instant;

/// Changes that are not urgent are written at most once in this time.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// The home pods as the API server returned them after the latest write, by UID.
///
/// The watch lags behind: a status that is compared with an old pod would be written twice.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pods: Mutex<HashMap<String, (Pod, Instant)>>,
}

impl Written {
    /// The latest known state of a home pod: as written, if the watch has not shown a later one.
    pub(crate) fn latest(&self, observed: &Pod) -> Pod {
        let written = self.lock().get(&observed.uid().unwrap_or_default()).map(|(pod, _)| pod.clone());
        written.filter(|pod| version(pod) > version(observed)).unwrap_or_else(|| observed.clone())
    }

    /// Records what the API server returned.
    pub(crate) fn record(&self, pod: Pod) {
        if let Some(uid) = pod.uid() {
            self.lock().insert(uid, (pod, Instant::now()));
        }
    }

    /// How long a change that is not urgent must wait.
    pub(crate) fn pause(&self, home: &Pod) -> Option<Duration> {
        let at = self.lock().get(&home.uid().unwrap_or_default()).map(|(_, at)| *at)?;
        INTERVAL.checked_sub(at.elapsed()).filter(|pause| !pause.is_zero())
    }

    pub(crate) fn forget(&self, home: &Pod) {
        self.lock().remove(&home.uid().unwrap_or_default());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Pod, Instant)>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resource versions of one kind increase with each write, and are comparable
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>).
fn version(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}
