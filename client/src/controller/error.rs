//! What goes wrong in a controller.

use std::sync::Arc;

use kube::runtime::watcher;

use super::key::Key;

/// What goes wrong in a controller. It goes on, and tries again, whatever it is.
///
/// An object that is gone by the time that it would be reconciled is no error, and yields nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E: std::error::Error + 'static> {
    /// `reconcile` failed; what is done about it is up to `error_policy`.
    #[error("reconciling {1}: {0}")]
    ReconcilerFailed(#[source] E, Key),
    /// `reconcile` or `error_policy` panicked. It is tried again, by back-off.
    #[error("reconciling {key} panicked: {message}")]
    Panicked {
        /// The object.
        key: Key,
        /// The panic's message.
        message: String,
    },
    /// A watch failed, or is refused. It is tried again, by back-off.
    #[error("watching {kind} in cluster {cluster}: {source}")]
    Watch {
        /// The cluster.
        cluster: Arc<str>,
        /// The kind that is watched.
        kind: Arc<str>,
        /// What is wrong.
        source: watcher::Error,
    },
    /// The mapper of a `watches` panicked on this object, which had nothing reconciled.
    #[error("mapping {kind} {key} to what it concerns panicked: {message}")]
    MapperPanicked {
        /// The kind that is watched.
        kind: Arc<str>,
        /// The object.
        key: Key,
        /// The panic's message.
        message: String,
    },
    /// The finalizer could not be added, or what belongs to the object could not be deleted yet. It is tried
    /// again, by back-off.
    #[error("finalizing {key}: in cluster {cluster}: {problem}")]
    Finalizer {
        /// The object.
        key: Key,
        /// The cluster that stands in the way.
        cluster: Arc<str>,
        /// What is wrong there.
        problem: Problem,
    },
    /// An orphan was found, and could not be deleted. It is tried again, by back-off.
    #[error("deleting the orphan {kind} {key}: {problem}")]
    Collect {
        /// The orphan's kind.
        kind: Arc<str>,
        /// The orphan.
        key: Key,
        /// What is wrong.
        problem: Problem,
    },
}

/// Why a cluster did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It refused, or could not be reached.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// It is known not to answer, and was not asked.
    #[error("it is away: {0}")]
    Away(Arc<str>),
    /// It did not answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Deadline(std::time::Duration),
}

/// What goes wrong apart from reconciliations.
#[derive(Debug)]
pub(super) enum Trouble {
    Watch { cluster: Arc<str>, kind: Arc<str>, source: watcher::Error },
    MapperPanicked { kind: Arc<str>, key: Key, message: String },
    Collect { kind: Arc<str>, key: Key, problem: Problem },
}

impl<E: std::error::Error + 'static> From<Trouble> for Error<E> {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Watch { cluster, kind, source } => Self::Watch { cluster, kind, source },
            Trouble::MapperPanicked { kind, key, message } => Self::MapperPanicked { kind, key, message },
            Trouble::Collect { kind, key, problem } => Self::Collect { kind, key, problem },
        }
    }
}

/// What a panic said.
pub(super) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
