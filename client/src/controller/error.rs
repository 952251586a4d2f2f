//! Errors of a controller.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use kube::runtime::watcher;

use super::key::Key;

/// An error of a controller. The controller retries, and keeps running.
///
/// An object that is gone before its reconciliation starts is not an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E: std::error::Error + 'static> {
    /// `reconcile` failed. `error_policy` decides when to retry.
    #[error("reconciling {1}: {0}")]
    ReconcilerFailed(#[source] E, Key),
    /// `reconcile` or `error_policy` panicked. Retried with back-off.
    #[error("reconciling {key} panicked: {message}")]
    Panicked {
        /// The object.
        key: Key,
        /// The panic's message.
        message: String,
    },
    /// A watch failed or was refused. Retried with back-off.
    #[error("watching {kind} in cluster {cluster}: {source}")]
    Watch {
        /// The cluster.
        cluster: Arc<str>,
        /// The watched kind.
        kind: Arc<str>,
        /// The cause.
        source: watcher::Error,
    },
    /// The function of `modify` or the mapper of a `watches` panicked on this object. The object is skipped: the store
    /// keeps the previous version, and no object is reconciled for it. Listed and tried again with back-off.
    #[error("handling {kind} {key} panicked: {message}")]
    HandlerPanicked {
        /// The watched kind.
        kind: Arc<str>,
        /// The object.
        key: Key,
        /// The panic's message.
        message: String,
    },
    /// A watch panicked, for example because deserializing an object panicked. Started again with back-off.
    #[error("watching {kind} in cluster {cluster} panicked: {message}")]
    WatchPanicked {
        /// The cluster.
        cluster: Arc<str>,
        /// The watched kind.
        kind: Arc<str>,
        /// The panic's message.
        message: String,
    },
    /// A function that chooses members or namespaces panicked on this member. Nothing is watched in it. Called again
    /// with back-off.
    #[error("choosing what to watch in cluster {cluster} panicked: {message}")]
    ChoicePanicked {
        /// The cluster.
        cluster: Arc<str>,
        /// The panic's message.
        message: String,
    },
    /// A stream of `reconcile_on` or `reconcile_all_on` panicked. It is not polled again.
    #[error("a stream that triggers reconciliations panicked, and has ended: {message}")]
    TriggerPanicked {
        /// The panic's message.
        message: String,
    },
    /// The finalizer could not be added, or children of the object could not be deleted yet. Retried with back-off.
    #[error("finalizing {key}: in cluster {cluster}: {problem}")]
    Finalizer {
        /// The object.
        key: Key,
        /// The cluster where it failed.
        cluster: Arc<str>,
        /// The cause.
        problem: Problem,
    },
    /// An orphan could not be deleted. Retried with back-off.
    #[error("deleting orphan {kind} {key}: {problem}")]
    Collect {
        /// The orphan's kind.
        kind: Arc<str>,
        /// The orphan.
        key: Key,
        /// The cause.
        problem: Problem,
    },
}

/// Why a request to a cluster failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The cluster refused the request, or could not be reached.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// The cluster is [unavailable](crate::clusters::Health::Unavailable). No request was sent.
    #[error("the cluster is unavailable: {0}")]
    Unavailable(Arc<str>),
    /// The cluster did not respond in time.
    #[error("no response within {}s", .0.as_secs())]
    Deadline(std::time::Duration),
    /// The cluster's UID is another one than before. Its address points to another cluster.
    #[error("another cluster responded: the UID of its namespace kube-system is another one")]
    AnotherCluster,
    /// Clusters may be missing from the set (see
    /// [`Clusters::wait_until_synced`](crate::clusters::Clusters::wait_until_synced)).
    #[error("the set of clusters is incomplete: imports are not listed yet")]
    NotSynced,
}

/// Errors outside reconciliations.
#[derive(Debug)]
pub(super) enum BackgroundError {
    Watch { cluster: Arc<str>, kind: Arc<str>, source: watcher::Error },
    HandlerPanicked { kind: Arc<str>, key: Key, message: String },
    WatchPanicked { cluster: Arc<str>, kind: Arc<str>, message: String },
    ChoicePanicked { cluster: Arc<str>, message: String },
    TriggerPanicked { message: String },
    Collect { kind: Arc<str>, key: Key, problem: Problem },
}

impl<E: std::error::Error + 'static> From<BackgroundError> for Error<E> {
    fn from(error: BackgroundError) -> Self {
        match error {
            BackgroundError::Watch { cluster, kind, source } => Self::Watch { cluster, kind, source },
            BackgroundError::HandlerPanicked { kind, key, message } => {
                Self::HandlerPanicked { kind, key, message }
            }
            BackgroundError::WatchPanicked { cluster, kind, message } => {
                Self::WatchPanicked { cluster, kind, message }
            }
            BackgroundError::ChoicePanicked { cluster, message } => Self::ChoicePanicked { cluster, message },
            BackgroundError::TriggerPanicked { message } => Self::TriggerPanicked { message },
            BackgroundError::Collect { kind, key, problem } => Self::Collect { kind, key, problem },
        }
    }
}

/// Calls a function of the caller. Returns the message of a panic.
pub(super) fn catch_panic<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| panic_message(panic.as_ref()))
}

pub(super) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
