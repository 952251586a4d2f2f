//! What an import says of itself, and what to do about it.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use mcsa_client::ServiceAccountImport;
use mcsa_client::api::{READY, REFRESHED};
use mcsa_client::contract::SYSTEM_NAMESPACE;

use crate::check::finding::Subject;
use crate::check::mend::Mend;
use crate::linked::Linked;

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

/// The mend for an import that says this.
pub fn mend_of(reason: &str, import: &ServiceAccountImport, link: Option<&Linked>, mend: &Mend) -> String {
    let spec = &import.spec;
    let namespace = import.namespace().unwrap_or_default();
    match reason {
        "ClusterNotLinked" | "InvalidLink" => mend.bootstrap_elsewhere(&spec.cluster_name, link),
        "LinkUnauthorized" | "SourceNotTrusted" => mend.bootstrap(&spec.cluster_name, link),
        // The service account of a link is bootstrap's to make, and so are its rights.
        "Forbidden" | "ServiceAccountNotFound" | "BoundSecretNotFound" if import.is_link() => {
            mend.bootstrap(&spec.cluster_name, link)
        }
        "SourceUnreachable" => mend.bootstrap_at_another_address(&spec.cluster_name, link),
        "SourceFailed" | "Throttled" => Mend::in_source(&["get", "--raw", "/readyz?verbose"]),
        "ClusterIdentityMismatch" => {
            let name = link.and_then(|link| link.import.as_ref()).map(ResourceExt::name_any);
            let name = name.unwrap_or_else(|| spec.cluster_name.clone());
            mend.in_namespace(SYSTEM_NAMESPACE, &["delete", "serviceaccountimport", &name])
        }
        "Forbidden" => mend.allow(link, &spec.namespace, &spec.name),
        "ServiceAccountNotFound" => {
            Mend::in_source(&["-n", &spec.namespace, "create", "serviceaccount", &spec.name])
        }
        "BoundSecretNotFound" => {
            let secret = spec.bound_secret.as_deref().unwrap_or_default();
            Mend::in_source(&["-n", &spec.namespace, "create", "secret", "generic", secret])
        }
        "SecretNameConflict" => mend.in_namespace(&namespace, &["describe", "secret", &import.secret_name()]),
        "QuotaExceeded" => mend.in_namespace(&namespace, &["describe", "resourcequota"]),
        _ => mend.describe(import),
    }
}
