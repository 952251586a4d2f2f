//! Deletes reports in a source whose pods are gone.

use std::collections::HashSet;

use kube::api::{DeleteParams, Preconditions};
use mcsa_client::controller::Owner;
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::errors;

use super::leftovers::Leftover;
use crate::source::{HOME, Source};

/// Deletes these reports while this replica leads. `home_pods`: UIDs.
pub(crate) async fn sweep(source: &Source, home_pods: &HashSet<String>) {
    if !source.fence.is_open() || !source.home.is_listed(HOME) {
        return;
    }
    let remote = source.remote.objects();
    let owners = remote.iter().filter_map(|(_, pod)| Owner::from_metadata(&pod.metadata));
    let pods = home_pods.iter().cloned().chain(owners.map(|owner| owner.uid)).collect();
    let mut refused = HashSet::new();
    for leftover in source.leftovers.without_pods(&pods) {
        if refused.contains(&leftover.member) {
            continue;
        }
        let Err(error) = delete(source, &leftover).await else { continue };
        let (cluster, report) = (&*source.cluster, &*leftover.name);
        let line = errors::line(&error);
        tracing::warn!(
            cluster,
            report,
            error = line,
            "can't delete the outputs of a step that is gone; retrying"
        );
        match error {
            // The next one may be in a namespace that allows it.
            kube::Error::Api(_) => refused.insert(leftover.member),
            _ => return,
        };
    }
}

async fn delete(source: &Source, leftover: &Leftover) -> kube::Result<()> {
    let Leftover { member, name, uid } = leftover;
    if let Some(import) = source.clusters.get(member) {
        if !source.remote.is_listed(member) {
            return Ok(());
        }
        let preconditions = Some(Preconditions { uid: uid.clone(), resource_version: None });
        let parameters = DeleteParams { preconditions, ..Default::default() };
        match with_deadline(source.remote_task_results(&import).delete(name, &parameters)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => return Err(error),
        }
    }
    source.leftovers.forget(member, name);
    Ok(())
}
