//! Calls of the API server: how many run at once, and why they fail.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use mcsa_runtime::errors::{self, foreign};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// Concurrent calls of all reviews. Each uses a connection.
const MAX_CALLS: usize = 16;

/// Concurrent calls for a namespace: a pod may name many imports that don't exist, and other namespaces must not wait
/// for all of these.
const MAX_CALLS_PER_NAMESPACE: usize = 4;

/// What to do if the CRD is missing.
pub(super) const NO_CRD: &str =
    "the ServiceAccountImport CRD is not installed: run kubemcsa install, or kubectl apply -k manifests";

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// Another attempt may succeed.
    #[error("{0}; try again")]
    Temporary(String),
    #[error("{0}; install the webhook again to restore its ClusterRole and ClusterRoleBinding")]
    Forbidden(String),
    #[error("{NO_CRD}")]
    NoCrd,
}

impl CallError {
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(self, Self::Temporary(_))
    }
}

impl From<kube::Error> for CallError {
    fn from(error: kube::Error) -> Self {
        let reason = errors::line(&error);
        match &error {
            _ if foreign::is_missing_path(&error) => Self::NoCrd,
            // A proxy may refuse requests, too.
            _ if foreign::foreign_response(&error).is_some() => Self::Temporary(reason),
            kube::Error::Api(status) if status.is_forbidden() => Self::Forbidden(reason),
            _ => Self::Temporary(reason),
        }
    }
}

/// Limits concurrent calls.
pub(super) struct Calls {
    all: Semaphore,
    /// The share of each namespace that has calls.
    shares: Mutex<HashMap<Box<str>, Weak<Semaphore>>>,
}

impl Default for Calls {
    fn default() -> Self {
        Self { all: Semaphore::new(MAX_CALLS), shares: Mutex::default() }
    }
}

impl Calls {
    /// Waits for a call on behalf of a namespace.
    pub(super) async fn run<T>(
        &self,
        namespace: &str,
        deadline: Instant,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, CallError> {
        let limited = async {
            // Neither fails: the semaphores are never closed. The namespace's own comes first, so that no more than its
            // share waits in the queue of all.
            let _share = self.share(namespace).acquire_owned().await.ok();
            let _permit = self.all.acquire().await.ok();
            call.await
        };
        match timeout_at(deadline, limited).await {
            Ok(response) => response.map_err(CallError::from),
            Err(_) => Err(CallError::Temporary("the API server did not respond in time".to_owned())),
        }
    }

    fn share(&self, namespace: &str) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(namespace).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(MAX_CALLS_PER_NAMESPACE));
        shares.insert(namespace.into(), Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use rstest::rstest;

    fn status(code: u16, reason: &str, message: &str) -> kube::Error {
        kube::Error::Api(Status::failure(message, reason).with_code(code).boxed())
    }

    /// What kube returns for a response without a `Status`.
    fn other(code: u16, body: &str) -> kube::Error {
        status(code, foreign::NO_STATUS, body)
    }

    #[rstest]
    #[case::unavailable(status(503, "ServiceUnavailable", "no etcd"), "no etcd; try again")]
    #[case::busy(status(429, "TooManyRequests", "busy"), "busy; try again")]
    #[case::expired_token(status(401, "Unauthorized", "Unauthorized"), "Unauthorized; try again")]
    #[case::forbidden(status(403, "Forbidden", "may not get"), "may not get; install the webhook again")]
    #[case::no_crd(other(404, "404 page not found\n"), "the ServiceAccountImport CRD is not installed")]
    #[case::page_of_a_proxy(other(403, "<html>"), "no Kubernetes API server answered (HTTP 403); try again")]
    fn only_temporary_errors_ask_for_another_attempt(#[case] error: kube::Error, #[case] expected: &str) {
        let error = CallError::from(error);
        assert!(error.to_string().starts_with(expected), "{error}");
        assert_eq!(error.is_temporary(), expected.ends_with("try again"));
    }

    #[tokio::test]
    async fn only_namespaces_with_calls_have_a_share() {
        let calls = Calls::default();
        for i in 0..100 {
            let deadline = Instant::now() + std::time::Duration::from_secs(60);
            let result = calls.run(&format!("n{i}"), deadline, async { Ok(i) }).await;
            assert_eq!(result, Ok(i));
        }
        assert_eq!(calls.shares.lock().unwrap().len(), 1);
    }
}
