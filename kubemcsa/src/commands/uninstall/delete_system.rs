//! With `--delete-imports`: deletes the CRD and the system namespace.

use kube::ResourceExt;
use kube::api::DynamicObject;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::installed::{NOT_OURS, is_ours, warn_not_deleted};
use crate::cluster::deleter::Deleter;
use crate::cluster::{apply, object};
use crate::link::known_targets;
use crate::manifests;

/// Deletes both, and waits until they are gone. Keeps what something else needs, with a warning.
pub(crate) async fn delete(deleter: &mut Deleter, others: &[DynamicObject]) -> anyhow::Result<()> {
    if let Some(crd) = apply::read(&deleter.cluster, &manifests::crd()?).await? {
        if !is_ours(&crd) {
            // Imports of that CRD are not ours either, and some may be in the system namespace.
            warn_not_deleted(&deleter.cluster, &crd, NOT_OURS);
            return Ok(());
        }
        deleter.delete(&crd).await?;
    }
    let Some(namespace) = apply::read(&deleter.cluster, &manifests::namespace()?).await? else {
        return Ok(());
    };
    // Deleting the namespace would delete its contents.
    let other = others.iter().find(|object| object.namespace().as_deref() == Some(SYSTEM_NAMESPACE));
    let targets = known_targets::names(&deleter.cluster).await?;
    if !is_ours(&namespace) {
        warn_not_deleted(&deleter.cluster, &namespace, NOT_OURS);
    } else if let Some(other) = other {
        let reference = object::reference(other);
        let reason = format!("it contains {reference}, which doesn't belong to multicluster-service-account");
        warn_not_deleted(&deleter.cluster, &namespace, &reason);
    } else if !targets.is_empty() {
        let reason =
            format!("this cluster is also a source; it contains the identities of {}", targets.join(", "));
        warn_not_deleted(&deleter.cluster, &namespace, &reason);
    } else {
        deleter.delete(&namespace).await?;
    }
    Ok(())
}
