//! What an import says of itself.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use mcsa_client::ServiceAccountImport;
use mcsa_client::api::{READY, REFRESHED};

use crate::commands::check::finding::{Finding, Subject};
use crate::commands::check::fix::Mend;

/// An importer that is there has seen an import long before.
const SOON: SignedDuration = SignedDuration::from_secs(30);

/// Something that an import says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// One word.
    pub reason: String,
    /// What it is about.
    pub message: String,
}

/// The import, as findings name it.
pub fn subject(import: &ServiceAccountImport) -> Subject {
    let namespace = import.namespace().unwrap_or_default();
    Subject::namespaced("ServiceAccountImport", &namespace, &import.name_any())
}

/// What it says is wrong: why the last try failed, or why it is not ready.
pub fn said(import: &ServiceAccountImport) -> Option<Said> {
    let mut conditions = [REFRESHED, READY].iter().filter_map(|type_| import.condition(type_));
    let failed = conditions.find(|condition| condition.status != "True")?;
    Some(Said { reason: failed.reason.clone(), message: failed.message.clone() })
}

/// Whether no importer has seen it as it is, though it had the time to.
pub fn is_unseen(import: &ServiceAccountImport, now: Timestamp) -> bool {
    let observed = import.status.as_ref().and_then(|status| status.observed_generation);
    let is_current = observed.is_some() && observed >= import.metadata.generation;
    !is_current && changed(import).is_none_or(|time| now.duration_since(time) > SOON)
}

/// When it was last written, but for its status.
fn changed(import: &ServiceAccountImport) -> Option<Timestamp> {
    let written =
        import.managed_fields().iter().filter(|entry| entry.subresource.as_deref() != Some("status"));
    let written = written.filter_map(|entry| entry.time.as_ref());
    let created = import.metadata.creation_timestamp.as_ref();
    written.chain(created).map(|time| time.0).max()
}

/// Whether it is the source, or the link to it, that fails, and so each import of it.
pub fn is_of_the_source(reason: &str) -> bool {
    matches!(
        reason,
        "ClusterNotLinked"
            | "InvalidLink"
            | "LinkUnauthorized"
            | "SourceUnreachable"
            | "SourceNotTrusted"
            | "SourceFailed"
            | "Throttled"
            | "ClusterIdentityMismatch"
    )
}

/// Whether nothing is to be done but to wait.
pub fn is_passing(reason: &str) -> bool {
    matches!(reason, "Throttled" | "NamespaceTerminating")
}

/// That nobody takes care of it.
pub fn not_reconciled(import: &ServiceAccountImport, mend: &Mend) -> Finding {
    let message = match &import.status {
        None => "no importer has seen it yet",
        Some(_) => "no importer has seen its last change yet",
    };
    Finding::problem(subject(import), "NotReconciled", message, mend.describe(import))
}
