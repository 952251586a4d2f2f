//! Finishes a home pod that is being deleted: first deletes its remote pod, then removes it.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};
use kube::core::Status;
use kube::{Api, ResourceExt};
use mcsa_client::clusters::Member;
use mcsa_client::controller::Owner;
use mcsa_runtime::deadline::with_deadline;

use crate::source::Source;

/// Where the deletion of the remote pod stands.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The remote pod is shutting down.
    Terminating(Box<Pod>),
    /// The source has answered that there is no remote pod.
    Gone,
}

/// Deletes the remote pod, if there is one, with the grace period of the home pod.
pub(crate) async fn delete_remote(
    source: &Source,
    home: &Pod,
    member: &Member,
    owner: &Owner,
) -> kube::Result<Progress> {
    let (api, name) = (source.remote_pods(member), home.name_any());
    let remote = match source.observed(member, &name, owner) {
        Some(remote) => Pod::clone(&remote),
        // The store may lag behind. Only the source's own answer proves that the pod is gone.
        None => match with_deadline(api.get(&name)).await {
            Ok(remote) if owner.owns(&remote.metadata) => remote,
            Ok(_) => return Ok(Progress::Gone),
            Err(kube::Error::Api(status)) if is_gone(&status, &name) => return Ok(Progress::Gone),
            Err(error) => return Err(error),
        },
    };
    let grace = home.metadata.deletion_grace_period_seconds;
    let ends = remote.metadata.deletion_timestamp.as_ref().and(remote.metadata.deletion_grace_period_seconds);
    // A second deletion may shorten the grace period.
    if ends.is_some_and(|ends| grace.is_none_or(|grace| ends <= grace)) {
        return Ok(Progress::Terminating(Box::new(remote)));
    }
    let grace = grace.and_then(|seconds| u32::try_from(seconds).ok());
    match with_deadline(api.delete(&name, &parameters(&remote, grace))).await {
        Ok(_) => Ok(Progress::Terminating(Box::new(remote))),
        Err(kube::Error::Api(status)) if is_gone(&status, &name) => Ok(Progress::Gone),
        // Another pod has the name now.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Progress::Gone),
        Err(error) => Err(error),
    }
}

/// Whether the source says that it has no pod of this name. Other 404s come from servers that are no API servers.
pub(crate) fn is_gone(status: &Status, name: &str) -> bool {
    let is_pod =
        status.details.as_ref().is_some_and(|details| details.name == name && details.kind == "pods");
    status.code == 404 && status.reason == "NotFound" && is_pod
}

/// Removes a home pod that is being deleted, as a kubelet does once its containers have ended.
pub(crate) async fn remove_home(api: &Api<Pod>, home: &Pod) -> kube::Result<()> {
    match with_deadline(api.delete(&home.name_any(), &parameters(home, Some(0)))).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Deletes this pod, and no other of its name.
fn parameters(pod: &Pod, grace_period_seconds: Option<u32>) -> DeleteParams {
    let preconditions = Some(Preconditions { uid: pod.uid(), resource_version: None });
    DeleteParams { grace_period_seconds, preconditions, ..Default::default() }
}
