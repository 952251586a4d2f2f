//! The last states of remote pods that end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;

/// The last observed states of remote pods that are being deleted, by UID.
///
/// A watch reports the exit codes of a pod and, right afterwards, that the pod is gone: the store may lose it before
/// its last status is mirrored.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastStates {
    pods: Arc<Mutex<HashMap<String, Pod>>>,
}

impl LastStates {
    /// Records the state of a remote pod.
    pub(crate) fn observe(&self, remote: &Pod) {
        if let (Some(_), Some(uid)) = (&remote.metadata.deletion_timestamp, &remote.metadata.uid) {
            self.lock().insert(uid.clone(), remote.clone());
        }
    }

    /// The last state of a pod that was being deleted.
    pub(crate) fn get(&self, uid: &str) -> Option<Pod> {
        self.lock().get(uid).cloned()
    }

    /// Forgets a pod whose last status was mirrored.
    pub(crate) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Pod>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
