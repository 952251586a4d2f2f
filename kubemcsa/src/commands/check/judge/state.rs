//! What the status of an import reports.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use mcsa_client::ServiceAccountImport;
use mcsa_client::api::{READY, REFRESHED};

use crate::commands::check::finding::{Finding, Subject};
use crate::commands::check::fix::FixCommands;

/// A running importer reconciles an import much sooner than this.
const GRACE_PERIOD: SignedDuration = SignedDuration::from_secs(30);

/// Reason and message of a condition that reports a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) message: String,
}

pub(crate) fn subject(import: &ServiceAccountImport) -> Subject {
    let namespace = import.namespace().unwrap_or_default();
    Subject::namespaced("ServiceAccountImport", &namespace, &import.name_any())
}

/// Why the last refresh failed, or else why the import is not ready.
pub(crate) fn failure(import: &ServiceAccountImport) -> Option<Failure> {
    let mut conditions = [REFRESHED, READY].iter().filter_map(|type_| import.condition(type_));
    let failed = conditions.find(|condition| condition.status != "True")?;
    Some(Failure { reason: failed.reason.clone(), message: failed.message.clone() })
}

/// Whether no importer has reconciled the current generation, although it is older than the grace period.
pub(crate) fn is_unobserved(import: &ServiceAccountImport, now: Timestamp) -> bool {
    let observed = import.status.as_ref().and_then(|status| status.observed_generation);
    let is_current = observed.is_some() && observed >= import.metadata.generation;
    !is_current && last_change(import).is_none_or(|time| now.duration_since(time) > GRACE_PERIOD)
}

/// When the import was last written, apart from its status.
fn last_change(import: &ServiceAccountImport) -> Option<Timestamp> {
    let writes =
        import.managed_fields().iter().filter(|entry| entry.subresource.as_deref() != Some("status"));
    let writes = writes.filter_map(|entry| entry.time.as_ref());
    let created = import.metadata.creation_timestamp.as_ref();
    writes.chain(created).map(|time| time.0).max()
}

/// Whether the source or the link fails, which affects all imports of the source.
pub(crate) fn affects_source(reason: &str) -> bool {
    matches!(
        reason,
        "ClusterNotLinked"
            | "InvalidLink"
            | "LinkUnauthorized"
            | "LinkForbidden"
            | "SourceUnreachable"
            | "SourceNotTrusted"
            | "SourceFailed"
            | "Throttled"
            | "ClusterIdentityMismatch"
    )
}

/// Whether the failure passes without any action.
pub(crate) fn is_transient(reason: &str) -> bool {
    matches!(reason, "Throttled" | "NamespaceTerminating")
}

pub(crate) fn not_reconciled(import: &ServiceAccountImport, commands: &FixCommands) -> Finding {
    let message = match &import.status {
        None => "no importer has reconciled this import yet",
        Some(_) => "no importer has reconciled the last change of this import yet",
    };
    Finding::problem(subject(import), "NotReconciled", message, commands.describe(import))
}
