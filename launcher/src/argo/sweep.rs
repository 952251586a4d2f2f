//! Deletes reports in a source whose pods are gone.

use std::collections::HashSet;

use kube::api::{DeleteParams, Preconditions};
use mcsa_client::controller::Owner;
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::errors;

use crate::source::{HOME, Source};

/// Deletes these reports while this replica leads. `home_pods`: UIDs.
pub(crate) async fn sweep(source: &Source, home_pods: &HashSet<String>) {
    if !source.fence.is_open() || !source.home.is_listed(HOME) {
        return;
    }
    let remote = source.remote.objects();
    let owners = remote.iter().filter_map(|(_, pod)| Owner::from_metadata(&pod.metadata));
    let pods = home_pods.iter().cloned().chain(owners.map(|owner| owner.uid)).collect();
    for ((member, report), unowned) in source.leftovers.without_pods(&pods) {
        let Some(import) = source.clusters.get(&member) else {
            source.leftovers.forget(&member, &report);
            continue;
        };
        if !source.remote.is_listed(&member) {
            continue;
        }
        let preconditions = Some(Preconditions { uid: unowned.uid, resource_version: None });
        let parameters = DeleteParams { preconditions, ..Default::default() };
        let deleted = with_deadline(source.remote_task_results(&import).delete(&report, &parameters)).await;
        match deleted {
            Ok(_) => source.leftovers.forget(&member, &report),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                source.leftovers.forget(&member, &report);
            }
            Err(error) => {
                let (cluster, error) = (&*source.cluster, errors::line(&error));
                tracing::warn!(
                    cluster,
                    report,
                    error,
                    "can't delete the outputs of a step that is gone; retrying"
                );
                return;
            }
        }
    }
}
