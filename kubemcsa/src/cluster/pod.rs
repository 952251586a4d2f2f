//! Reads volumes and owners of pods.

use k8s_openapi::api::core::v1::Volume;
use kube::Resource;

/// Names of the Secrets in a volume.
pub(crate) fn secrets(volume: &Volume) -> impl Iterator<Item = String> {
    let whole = volume.secret.iter().filter_map(|secret| secret.secret_name.clone());
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    whole.chain(sources.filter_map(|source| Some(source.secret.as_ref()?.name.clone())))
}

/// Kind and name of the controller.
pub(crate) fn controller(object: &impl Resource) -> Option<(String, String)> {
    let owners = object.meta().owner_references.iter().flatten();
    let owner = owners.into_iter().find(|owner| owner.controller == Some(true))?;
    Some((owner.kind.clone(), owner.name.clone()))
}
