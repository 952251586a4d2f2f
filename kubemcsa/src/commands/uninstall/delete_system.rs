//! With `--delete-imports`: deletes the CRDs and the system namespace.

use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::installed::{NOT_OURS, is_ours, warn_not_deleted};
use crate::cluster::deleter::Deleter;
use crate::cluster::{apply, contents};
use crate::link::known_targets;
use crate::manifests;

/// Deletes them, and waits until they are gone. Keeps what something else needs, with a warning.
pub(crate) async fn delete(deleter: &mut Deleter) -> anyhow::Result<()> {
    if let Some(crd) = apply::read(&deleter.cluster, &manifests::crd()?).await? {
        if !is_ours(&crd) {
            // Imports of that CRD are not ours either, and some may be in the system namespace.
            warn_not_deleted(&deleter.cluster, &crd, NOT_OURS);
            return Ok(());
        }
        deleter.delete(&crd).await?;
    }
    // Deletes the policies, too.
    let policy_crd = apply::read(&deleter.cluster, &manifests::policy_crd()?).await?;
    if let Some(crd) = policy_crd.filter(is_ours) {
        deleter.delete(&crd).await?;
    }
    let Some(namespace) = apply::read(&deleter.cluster, &manifests::namespace()?).await? else {
        return Ok(());
    };
    let targets = known_targets::names(&deleter.cluster).await?;
    // Deleting the namespace would delete its contents.
    let reason = if !is_ours(&namespace) {
        Some(NOT_OURS.to_owned())
    } else if !targets.is_empty() {
        Some(format!("this cluster is also a source; it contains the identities of {}", targets.join(", ")))
    } else {
        match contents::others(deleter, SYSTEM_NAMESPACE).await {
            Ok(others) => others.map(|others| format!("it contains {others}, which may be in use")),
            Err(error) => Some(format!("it may contain other objects ({error})")),
        }
    };
    match reason {
        Some(reason) => warn_not_deleted(&deleter.cluster, &namespace, &reason),
        None => deleter.delete(&namespace).await?,
    }
    Ok(())
}
